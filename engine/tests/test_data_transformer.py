"""Data transformers: what is rolled out and what is replayed are transformed alike."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import alf.nest as nest
from alf.algorithms.data_transformer import (
    FrameStacker,
    FunctionalRewardTransformer,
    HindsightExperienceTransformer,
    IdentityDataTransformer,
    ImageScaleTransformer,
    ObservationNormalizer,
    RewardClipping,
    RewardNormalizer,
    RewardScaling,
    RewardShifting,
    SequentialDataTransformer,
    UntransformedTimeStep,
    create_data_transformer,
    l2_dist_close_reward_fn,
)
from alf.data_structures import Experience, StepType, TimeStep, add_batch_info
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import common
from alf.utils.normalizers import AdaptiveNormalizer, ScalarAdaptiveNormalizer

INT = TensorSpec((), torch.int32)


def time_step(observation, step_types=None, reward=None) -> TimeStep:
    n = nest.get_nest_batch_size(observation)
    step_types = [StepType.MID] * n if step_types is None else step_types
    return TimeStep(
        step_type=torch.tensor(step_types, dtype=torch.int32),
        reward=torch.zeros(n) if reward is None else torch.tensor(reward),
        discount=torch.ones(n),
        observation=observation,
        env_id=torch.arange(n, dtype=torch.int32),
    )


def buffer_for(observation_spec, num_envs: int, **kwargs) -> ReplayBuffer:
    step = TimeStep(
        step_type=INT,
        reward=TensorSpec(()),
        discount=TensorSpec(()),
        observation=observation_spec,
        env_id=INT,
    )
    return ReplayBuffer(Experience(time_step=step), num_envs, **kwargs)


def sample(buffer: ReplayBuffer, batch_size: int, length: int) -> Experience:
    experience, info = buffer.get_batch(batch_size, length)
    return add_batch_info(experience, info, buffer)


def zeros(spec, n: int):
    return nest.map_structure(lambda s: s.zeros((n,)), spec)


# ---- Frame stacking -----------------------------------------------------------------------------


def test_frames_are_stacked_by_hand():
    stacker = FrameStacker(TensorSpec((2,)), stack_size=3)
    assert stacker.transformed_observation_spec == TensorSpec((6,))
    assert stacker.stack_size == 3
    state = zeros(stacker.state_spec, 2)
    steps = [
        # (step type, frame) of both environments -> stacks
        ([0, 1], [[1, 1, 1], [10, 10, 10]]),
        ([1, 1], [[1, 1, 2], [10, 10, 11]]),
        ([1, 0], [[1, 2, 3], [12, 12, 12]]),
        ([2, 1], [[2, 3, 4], [12, 12, 13]]),
        ([0, 1], [[5, 5, 5], [12, 13, 14]]),
    ]
    for i, (step_types, expected) in enumerate(steps):
        frame = torch.tensor([[i + 1.0, -i - 1.0], [i + 10.0, -i - 10.0]])
        step, state = stacker.transform_timestep(time_step(frame, step_types), state)
        assert step.observation[:, 0::2].tolist() == expected
        assert (-step.observation[:, 1::2]).tolist() == expected
    assert state.steps.tolist() == [1, 3]


@pytest.mark.parametrize(("axis", "shape"), [(0, (6, 4, 5)), (1, (3, 8, 5)), (-1, (3, 4, 10))])
def test_frames_are_joined_along_the_axis(axis, shape):
    spec = BoundedTensorSpec((3, 4, 5), torch.uint8, minimum=0, maximum=255)
    stacker = FrameStacker(spec, stack_size=2, stack_axis=axis)
    assert stacker.transformed_observation_spec == BoundedTensorSpec(
        shape, torch.uint8, minimum=0, maximum=255
    )
    first, second = torch.randint(0, 255, (2, 1, 3, 4, 5), dtype=torch.uint8)
    state = zeros(stacker.state_spec, 1)
    _, state = stacker.transform_timestep(time_step(first, [0]), state)
    step, _ = stacker.transform_timestep(time_step(second), state)
    joined = torch.cat([first[0], second[0]], dim=axis)
    assert torch.equal(step.observation[0], joined)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=12, max_size=25),
)
def test_replayed_frames_are_those_of_the_rollout(stack_size, length, num_envs, step_types):
    spec = {"frame": TensorSpec((2,)), "rest": TensorSpec(())}
    stacker = FrameStacker(spec, stack_size=stack_size, fields=["frame"])
    buffer = buffer_for(
        spec,
        num_envs,
        max_length=10,
        num_earliest_frames_ignored=stack_size - 1,
        keep_episodic_info=True,
    )
    state = zeros(stacker.state_spec, num_envs)
    rolled_out = []
    for t, types in enumerate(step_types):
        types = types[:num_envs] if t > 0 else [0] * num_envs
        frame = torch.stack([torch.full((num_envs,), t), torch.arange(num_envs)], dim=-1).float()
        step = time_step({"frame": frame, "rest": frame[:, 0]}, types)
        buffer.add_batch(Experience(time_step=step))
        transformed, state = stacker.transform_timestep(step, state)
        rolled_out.append(transformed.observation["frame"])
    experience = sample(buffer, 12, length)
    stacked = stacker.transform_experience(experience).observation
    info = experience.batch_info
    for i in range(12):
        for t in range(length):
            expected = rolled_out[info.positions[i] + t][info.env_ids[i]]
            assert torch.equal(stacked["frame"][i, t], expected)
    assert torch.equal(stacked["rest"], experience.observation["rest"])


@pytest.mark.parametrize("bounds", [None, (-1.0, 2.0)])
def test_scalars_are_stacked_to_vectors(bounds):
    spec = TensorSpec(()) if bounds is None else BoundedTensorSpec((), torch.float32, *bounds)
    stacker = FrameStacker(spec, stack_size=3)
    assert stacker.transformed_observation_spec.shape == (3,)
    state = zeros(stacker.state_spec, 2)
    expected = [[[1, 1, 1], [5, 5, 5]], [[1, 1, 2], [5, 5, 6]], [[1, 2, 3], [7, 7, 7]]]
    for i, step_types in enumerate(([0, 0], [1, 1], [1, 0])):
        frame = torch.tensor([i + 1.0, i + 5.0])
        step, state = stacker.transform_timestep(time_step(frame, step_types), state)
        assert step.observation.tolist() == expected[i]


def test_frame_stacker_refuses_what_it_cannot_stack():
    with pytest.raises(ValueError, match="fields has to say"):
        FrameStacker({"a": TensorSpec((2,))})
    with pytest.raises(ValueError, match="stack_axis"):
        FrameStacker(TensorSpec((2,)), stack_axis=1)
    with pytest.raises(ValueError, match="no 'b'"):
        FrameStacker({"a": TensorSpec((2,))}, fields=["b"])
    with pytest.raises(ValueError, match="stack_size"):
        FrameStacker(TensorSpec((2,)), stack_size=0)


# ---- Hindsight ----------------------------------------------------------------------------------

GOAL_SPEC = {"achieved_goal": TensorSpec((1,)), "desired_goal": TensorSpec((1,))}


def goal_buffer(lengths: list[int], num_envs: int = 2) -> ReplayBuffer:
    """Episodes of these lengths; what is achieved at position p is p, desired is -1."""
    buffer = buffer_for(GOAL_SPEC, num_envs, max_length=sum(lengths), keep_episodic_info=True)
    p = 0
    for length in lengths:
        for i in range(length):
            kind = (
                StepType.FIRST if i == 0 else (StepType.LAST if i == length - 1 else StepType.MID)
            )
            achieved = torch.full((num_envs, 1), float(p))
            observation = {"achieved_goal": achieved, "desired_goal": -torch.ones(num_envs, 1)}
            step = time_step(observation, [kind] * num_envs, [-7.0] * num_envs)
            buffer.add_batch(Experience(time_step=step))
            p += 1
    return buffer


def test_goals_come_from_the_future_of_the_same_episode():
    torch.manual_seed(0)
    lengths = [4, 3, 6]
    buffer = goal_buffer(lengths)
    end_of = [3] * 4 + [6] * 3 + [12] * 6
    transformer = HindsightExperienceTransformer(GOAL_SPEC, her_proportion=1.0)
    seen: dict[int, set[int]] = {}
    for _ in range(40):
        experience = sample(buffer, 24, 2)
        result = transformer.transform_experience(experience)
        goal = result.observation["desired_goal"]
        for i, p in enumerate(experience.batch_info.positions.tolist()):
            assert goal[i, 0] == goal[i, 1]
            seen.setdefault(p, set()).add(int(goal[i, 0]))
            reward = result.reward[i].tolist()
            if p == end_of[p]:  # from one episode to the next: as it was
                assert reward == [-7.0, -7.0]
            else:
                assert reward == [-1.0, 0.0 if int(goal[i, 0]) == p + 1 else -1.0]
    for p, goals in seen.items():
        assert goals == (set(range(p + 1, end_of[p] + 1)) or {-1})
    assert set(seen) == set(range(12))


def test_future_goals_are_equally_probable():
    torch.manual_seed(0)
    buffer = goal_buffer([6], num_envs=1)
    transformer = HindsightExperienceTransformer(GOAL_SPEC, her_proportion=1.0)
    counts = torch.zeros(6)
    for _ in range(300):
        experience = sample(buffer, 50, 2)
        goal = transformer.transform_experience(experience).observation["desired_goal"]
        from_start = goal[experience.batch_info.positions == 0, 0, 0].long()
        counts += torch.bincount(from_start, minlength=6)
    assert torch.allclose(
        counts / counts.sum(), torch.tensor([0, 0.2, 0.2, 0.2, 0.2, 0.2]), atol=0.03
    )


def test_the_asked_proportion_is_relabelled_and_the_rest_is_untouched():
    torch.manual_seed(0)
    buffer = goal_buffer([50])
    transformer = HindsightExperienceTransformer(GOAL_SPEC, her_proportion=0.3)
    experience = sample(buffer, 4000, 2)
    result = transformer.transform_experience(experience)
    relabelled = result.observation["desired_goal"][:, 0, 0] != -1
    assert float(relabelled.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert (result.reward[~relabelled] == -7.0).all()
    untouched = HindsightExperienceTransformer(GOAL_SPEC, her_proportion=0.0)
    assert untouched.transform_experience(experience) is experience


def test_an_own_reward_function_gets_goals_after_relabelling():
    def distance(achieved, goal):
        return -(achieved - goal).abs().squeeze(-1)

    buffer = goal_buffer([9])
    transformer = HindsightExperienceTransformer(GOAL_SPEC, 1.0, reward_fn=distance)
    result = transformer.transform_experience(sample(buffer, 30, 2))
    observation = result.observation
    expected = observation["achieved_goal"][:, 1, 0] - observation["desired_goal"][:, 1, 0]
    assert torch.equal(result.reward[:, 1], -expected.abs())


def test_hindsight_refuses_what_it_cannot_relabel():
    buffer = goal_buffer([9])
    transformer = HindsightExperienceTransformer(GOAL_SPEC)
    with pytest.raises(ValueError, match="mini_batch_length=2"):
        transformer.transform_experience(sample(buffer, 4, 3))
    bad = HindsightExperienceTransformer(GOAL_SPEC, reward_fn=lambda a, g: a - g)
    with pytest.raises(ValueError, match="reward_fn"):
        bad.transform_experience(sample(buffer, 4, 2))
    with pytest.raises(ValueError, match="her_proportion"):
        HindsightExperienceTransformer(GOAL_SPEC, her_proportion=2)
    plain = buffer_for(GOAL_SPEC, 1)
    for _ in range(3):
        plain.add_batch(Experience(time_step=time_step(zeros(GOAL_SPEC, 1))))
    with pytest.raises(ValueError, match="keep_episodic_info"):
        transformer.transform_experience(sample(plain, 4, 2))


def test_close_is_zero_and_far_is_minus_one():
    achieved = torch.tensor([[[0.0, 0.0], [0.03, 0.03], [0.04, 0.04]]])
    assert l2_dist_close_reward_fn(achieved, torch.zeros(1, 3, 2)).tolist() == [[0.0, 0.0, -1.0]]
    numbers = l2_dist_close_reward_fn(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2), threshold=0.5)
    assert numbers.tolist() == [[0.0, -1.0]]


# ---- Observations and rewards -------------------------------------------------------------------


def test_images_are_scaled():
    spec = {"image": TensorSpec((2,), torch.uint8), "rest": TensorSpec((1,))}
    transformer = ImageScaleTransformer(spec, min=-1.0, max=2.0, fields=["image"])
    new_spec = transformer.transformed_observation_spec
    assert new_spec["image"] == BoundedTensorSpec((2,), minimum=-1.0, maximum=2.0)
    assert new_spec["rest"] == spec["rest"]
    image = torch.tensor([[0, 255]], dtype=torch.uint8)
    step, state = transformer.transform_timestep(
        time_step({"image": image, "rest": torch.ones(1, 1)}), ()
    )
    assert step.observation["image"].tolist() == [[-1.0, 2.0]]
    assert state == ()
    with pytest.raises(ValueError, match="uint8"):
        ImageScaleTransformer(TensorSpec((2,)))
    with pytest.raises(ValueError, match="fields"):
        ImageScaleTransformer(spec)


@pytest.mark.parametrize("mode", ["adaptive", "window", "em"])
@pytest.mark.parametrize("update_mode", ["replay", "rollout", "pretrain"])
def test_observations_are_normalized_by_what_was_seen_in_one_mode(mode, update_mode):
    spec = {"a": TensorSpec((2,)), "b": BoundedTensorSpec((), minimum=-9, maximum=9)}
    transformer = ObservationNormalizer(
        spec, fields=["a"], mode=mode, update_mode=update_mode, clipping=1.5
    )
    observation = {"a": torch.tensor([[0.0, 10.0], [2.0, 30.0]]), "b": torch.tensor([5.0, 6.0])}
    contexts = {
        "replay": common.replay_context,
        "rollout": common.rollout_context,
        "pretrain": common.pretrain_context,
    }
    for name, context in contexts.items():
        if name != update_mode:
            with context():
                step, _ = transformer.transform_timestep(time_step(observation), ())
            assert torch.equal(step.observation["a"], observation["a"].clamp(-1.5, 1.5))
    with contexts[update_mode]():
        step, _ = transformer.transform_timestep(time_step(observation), ())
    assert torch.allclose(step.observation["a"], torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert torch.equal(step.observation["b"], observation["b"])
    assert transformer.transformed_observation_spec == {"a": TensorSpec((2,)), "b": spec["b"]}


def test_experience_is_normalized_over_batch_and_time():
    transformer = ObservationNormalizer(TensorSpec((1,)))
    step = time_step(torch.zeros(2, 1))._replace(observation=torch.tensor([[[0.0], [4.0]]] * 3))
    with common.replay_context():
        result = transformer.transform_experience(Experience(time_step=step))
    assert torch.allclose(result.observation, torch.tensor([[[-1.0], [1.0]]] * 3))


def test_unknown_modes_and_fields_are_refused():
    with pytest.raises(ValueError, match="'adaptive', 'window' or 'em'"):
        ObservationNormalizer(TensorSpec((1,)), mode="other")
    with pytest.raises(ValueError, match="update_mode"):
        ObservationNormalizer(TensorSpec((1,)), update_mode="eval")
    with pytest.raises(ValueError, match=r"fields is 'a'; allowed: a list"):
        ObservationNormalizer({"a": TensorSpec((1,))}, fields="a")


def test_rewards_are_transformed():
    reward = torch.tensor([-2.0, 0.5, 3.0])
    assert RewardClipping()(reward).tolist() == [-1.0, 0.5, 1.0]
    assert RewardClipping(minmax=(0, 2))(reward).tolist() == [0.0, 0.5, 2.0]
    assert RewardScaling(scale=2.0)(reward).tolist() == [-4.0, 1.0, 6.0]
    assert RewardShifting(bias=1.0)(reward).tolist() == [-1.0, 1.5, 4.0]
    assert FunctionalRewardTransformer(torch.square)(reward).tolist() == [4.0, 0.25, 9.0]
    with pytest.raises(ValueError, match="minmax"):
        RewardClipping(minmax=(1, 1))


def test_reward_transformers_change_the_reward_only():
    transformer = RewardScaling(scale=3.0, observation_spec=TensorSpec((1,)))
    step = time_step(torch.ones(2, 1), reward=[1.0, 2.0])
    result, _ = transformer.transform_timestep(step, ())
    assert result.reward.tolist() == [3.0, 6.0]
    assert result._replace(reward=step.reward) == step
    experience = transformer.transform_experience(Experience(time_step=step))
    assert experience.reward.tolist() == [3.0, 6.0]


def test_reward_statistics_stop_after_the_given_number_of_calls():
    normalizer = ScalarAdaptiveNormalizer(auto_update=False)
    transformer = RewardNormalizer(normalizer=normalizer, update_max_calls=1, clip_value=3.0)
    reward = torch.tensor([0.0, 2.0])
    assert torch.equal(transformer(reward), reward)  # in no mode
    with common.replay_context():
        assert transformer(reward).tolist() == pytest.approx([-1.0, 1.0])
        assert transformer(torch.tensor([100.0])).tolist() == [3.0]
        assert transformer(reward).tolist() == pytest.approx([-1.0, 1.0])
    assert transformer.normalizer is normalizer
    assert transformer.clip_value == 3.0


def test_reward_normalizer_takes_the_rewards_of_the_environment():
    class Env:
        def reward_spec(self):
            return TensorSpec((3,))

    common.set_global_env(Env())
    try:
        transformer = RewardNormalizer()
    finally:
        common.set_global_env(None)
    assert isinstance(transformer.normalizer, AdaptiveNormalizer)
    assert transformer(torch.ones(2, 3)).shape == (2, 3)


# ---- Composition --------------------------------------------------------------------------------


def test_untransformed_time_step_is_kept():
    spec = TensorSpec((1,))
    transformer = create_data_transformer(
        [UntransformedTimeStep, partial(RewardScaling, 2.0), partial(RewardShifting, 1.0)], spec
    )
    step = time_step(torch.ones(2, 1), reward=[1.0, 2.0])
    result, _ = transformer.transform_timestep(step, zeros(transformer.state_spec, 2))
    assert result.reward.tolist() == [3.0, 5.0]
    assert result.untransformed == step
    some = UntransformedTimeStep(fields_to_keep=["reward"])
    kept = some.transform_timestep(step, ())[0].untransformed
    assert torch.equal(kept.reward, step.reward)
    assert kept.observation == ()
    with pytest.raises(ValueError, match="'rewards'"):
        UntransformedTimeStep(fields_to_keep=["rewards"])


def test_a_sequence_passes_specs_and_states_on():
    spec = TensorSpec((2,), torch.uint8)
    transformer = create_data_transformer(
        [partial(FrameStacker, stack_size=3), ImageScaleTransformer, partial(RewardScaling, 2.0)],
        spec,
    )
    assert isinstance(transformer, SequentialDataTransformer)
    assert transformer.transformed_observation_spec == BoundedTensorSpec(
        (6,), minimum=-1.0, maximum=1.0
    )
    assert transformer.stack_size == 3
    assert len(list(transformer.members())) == 3
    state = zeros(transformer.state_spec, 1)
    for value in (0, 255):
        frame = torch.full((1, 2), value, dtype=torch.uint8)
        step, state = transformer.transform_timestep(time_step(frame), state)
    assert step.observation.tolist() == [[-1, -1, -1, -1, 1, 1]]
    nest.assert_same_structure(state, transformer.state_spec)


def test_sequences_of_none_and_one():
    spec = TensorSpec((2,))
    for nothing in (None, []):
        transformer = create_data_transformer(nothing, spec)
        assert isinstance(transformer, IdentityDataTransformer)
        assert transformer.transformed_observation_spec == spec
    assert isinstance(create_data_transformer([FrameStacker], spec), FrameStacker)
    assert isinstance(create_data_transformer(FrameStacker, spec, device="cpu"), FrameStacker)
    step = time_step(torch.ones(1, 2))
    assert create_data_transformer(None, spec).transform_timestep(step, ())[0] is step


@pytest.mark.parametrize(
    "ctors",
    [
        [partial(RewardScaling, 2.0), FrameStacker],
        [ObservationNormalizer, FrameStacker],
        [FrameStacker, UntransformedTimeStep],
    ],
)
def test_orders_that_mix_raw_and_transformed_data_are_refused(ctors):
    with pytest.raises(ValueError, match=r"FrameStacker|UntransformedTimeStep"):
        SequentialDataTransformer(ctors, TensorSpec((2,)))


def test_hindsight_has_to_come_before_normalization():
    with pytest.raises(ValueError, match="before ObservationNormalizer"):
        create_data_transformer([ObservationNormalizer, HindsightExperienceTransformer], GOAL_SPEC)
    transformer = create_data_transformer(
        [HindsightExperienceTransformer, ObservationNormalizer], GOAL_SPEC
    )
    with common.replay_context():
        result = transformer.transform_experience(sample(goal_buffer([9]), 64, 2))
    achieved = result.observation["achieved_goal"]
    assert float(achieved.mean()) == pytest.approx(0.0, abs=1e-4)


def test_statistics_survive_save_and_load():
    ctors = [
        ObservationNormalizer,
        lambda observation_spec: RewardNormalizer(observation_spec, ScalarAdaptiveNormalizer()),
    ]
    first, second = (create_data_transformer(ctors, TensorSpec((2,))) for _ in range(2))
    step = time_step(torch.randn(5, 2), reward=[1.0, 2.0, 3.0, 4.0, 9.0])
    with common.replay_context():
        first.transform_experience(Experience(time_step=step))
    second.load_state_dict(first.state_dict())
    one, _ = first.transform_timestep(step, [(), ()])
    two, _ = second.transform_timestep(step, [(), ()])
    assert torch.equal(one.observation, two.observation)
    assert torch.equal(one.reward, two.reward)
