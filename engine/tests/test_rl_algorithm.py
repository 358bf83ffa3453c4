"""RLAlgorithm: what is unrolled, stored and trained, in which order, and how often."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tiny_rl import (
    ACTION_SPEC,
    OBSERVATION_SPEC,
    CountingEnv,
    TinyOffPolicy,
    TinyOnPolicy,
    make_config,
)
from torch import nn

import alf.summary as summary
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.rl_algorithm import adjust_replay_buffer_length
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep, namedtuple
from alf.nest import nest
from alf.optimizers import SGD, Adam
from alf.tensor_specs import TensorSpec
from alf.utils import common
from alf.utils.checkpoint_utils import enable_checkpoint


def off_policy(env: Any = None, **config: Any) -> TinyOffPolicy:
    return TinyOffPolicy(
        env=env or CountingEnv(), config=make_config(**config), optimizer=Adam(lr=0.01)
    )


def records(alg: Any) -> Experience:
    return alg._replay_buffer.gather_all()[0]


# ---- Unroll ---------------------------------------------------------------------------------


def test_the_buffer_holds_each_time_step_with_its_action_and_state() -> None:
    alg = off_policy(unroll_length=6, initial_collect_steps=1000)
    assert alg.train_iter() == 0
    exp = records(alg)
    # episodes of three steps, then the FIRST step of the next
    assert exp.observation[..., 1].tolist() == [[0, 1, 2, 3, 0, 1]] * 2
    assert exp.observation[..., 0].tolist() == [[0] * 6, [1] * 6]
    F, M, L = StepType.FIRST, StepType.MID, StepType.LAST
    assert exp.step_type.tolist() == [[F, M, M, L, F, M]] * 2
    # the state is the number of steps since FIRST: it was reset there
    assert exp.rollout_info.steps.tolist() == [[0, 1, 2, 3, 0, 1]] * 2
    torch.testing.assert_close(exp.action, exp.rollout_info.action)
    # the action of a step is the previous action of the next one, but across episodes
    torch.testing.assert_close(exp.prev_action[:, 1:4], exp.action[:, :3])
    assert exp.prev_action[:, 4].tolist() == [[0.0], [0.0]]
    assert exp.state == ()


def test_states_are_stored_only_if_they_are_used() -> None:
    alg = off_policy(use_rollout_state=True, unroll_length=3, initial_collect_steps=1000)
    alg._train_state_spec = alg._rollout_state_spec
    alg.train_iter()
    assert records(alg).state.tolist() == [[0, 1, 2]] * 2


def test_fractions_of_the_unroll_length_are_carried_over() -> None:
    env = CountingEnv()
    alg = off_policy(env, unroll_length=0.4, initial_collect_steps=1000)
    steps = []
    for _ in range(10):
        alg.train_iter()
        steps.append(env.num_steps)
    assert steps == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4]


def test_the_fraction_survives_a_restart() -> None:
    first = off_policy(unroll_length=0.4, initial_collect_steps=1000)
    first.train_iter()
    first.train_iter()
    env = CountingEnv()
    second = off_policy(env, unroll_length=0.4, initial_collect_steps=1000)
    second.load_state_dict(first.state_dict())
    second.train_iter()
    assert env.num_steps == 1


def test_interaction_ends_after_num_env_steps_but_training_goes_on() -> None:
    env = CountingEnv(batch_size=2)
    alg = off_policy(env, num_env_steps=6, num_iterations=100)
    trained = [alg.train_iter() for _ in range(10)]
    # resets are no environment steps: two environments need four time steps to have made six
    assert env.num_steps == 4
    assert trained[-1] == 16


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reward_which_is_not_finite_is_named(value: float) -> None:
    alg = off_policy(CountingEnv(bad_reward=(1, 2, value)))
    alg.train_iter()
    with pytest.raises(ValueError, match=f"environment 1 gave the reward {value}; .* finite"):
        alg.train_iter()
    # it was not stored
    assert torch.isfinite(records(alg).reward).all()


def test_overwritten_actions_are_those_of_the_environment() -> None:
    class Stubborn(CountingEnv):
        def step(self, action: torch.Tensor) -> TimeStep:
            return super().step(torch.full_like(action, 0.5))

    alg = TinyOffPolicy(
        env=Stubborn(),
        config=make_config(unroll_length=3, initial_collect_steps=1000),
        overwrite_policy_output=True,
    )
    alg.train_iter()
    assert records(alg).action.flatten().tolist() == [0.5] * 6


def test_unroll_gives_time_first_experience() -> None:
    alg = off_policy()
    with torch.no_grad():
        exp = alg.unroll(5)
    assert exp.step_type.shape == (5, 2)
    assert exp.observation[:, 0, 1].tolist() == [0, 1, 2, 3, 0]
    with torch.no_grad():
        # it goes on where it was
        assert alg.unroll(2).observation[:, 0, 1].tolist() == [1, 2]
    assert alg.rollout_info_spec.action == TensorSpec((1,))


def test_rollout_runs_in_rollout_and_evaluation_mode() -> None:
    seen = []

    class Spy(TinyOffPolicy):
        def rollout_step(self, inputs: Any, state: Any) -> AlgStep:
            seen.append((common.exe_mode_name(), self.training, torch.is_grad_enabled()))
            return super().rollout_step(inputs, state)

        def train_step(self, *args: Any) -> AlgStep:
            seen.append((common.exe_mode_name(), self.training, torch.is_grad_enabled()))
            return super().train_step(*args)

    alg = Spy(env=CountingEnv(), config=make_config(unroll_length=2), optimizer=SGD(lr=0.1))
    alg.train_iter()
    assert set(seen) == {("rollout", False, False), ("replay", True, True)}
    assert common.exe_mode_name() == "other"


def test_the_eight_metrics_see_every_time_step() -> None:
    alg = off_policy(unroll_length=4, initial_collect_steps=1000)
    alg.train_iter()
    results = {metric.name: metric.result() for metric in alg.get_metrics()}
    assert len(results) == 8
    assert results["NumberOfEpisodes"] == 2
    assert results["EnvironmentSteps"] == 6
    assert results["AverageReturn"] == 1 + 2 + 3
    assert results["AverageEpisodeLength"] == 3
    assert [m.name for m in alg.get_step_metrics()] == ["NumberOfEpisodes", "EnvironmentSteps"]


def test_predict_step_gives_no_info() -> None:
    alg = off_policy()
    step = alg.predict_step(CountingEnv().reset(), alg.get_initial_predict_state(2))
    assert step.info == ()
    assert step.output.shape == (2, 1)


# ---- Off-policy training --------------------------------------------------------------------


def test_after_update_follows_each_gradient_step() -> None:
    alg = off_policy(unroll_length=2)
    alg.train_iter()
    assert alg.calls == ["train_step", "update_with_gradient", "after_update"] * 2


def test_initial_collect_steps_counts_the_records_of_all_environments() -> None:
    alg = off_policy(initial_collect_steps=7)
    # two environments: 2, 4, 6, 8 records
    assert [alg.train_iter() > 0 for _ in range(5)] == [False, False, False, True, True]


def test_the_number_of_trained_samples_is_spans_times_steps() -> None:
    alg = off_policy(unroll_length=4, mini_batch_size=3, num_updates_per_train_iter=5)
    assert alg.train_iter() == 3 * 5 * 2


def test_mini_batch_size_is_the_number_of_environments_if_not_given() -> None:
    alg = off_policy(CountingEnv(batch_size=3), unroll_length=4, mini_batch_size=None)
    assert alg.train_iter() == 3 * 2 * 2


def test_last_steps_are_masked_out_of_the_loss() -> None:
    masks = []

    class Spy(TinyOffPolicy):
        def update_with_gradient(self, loss: Any, mask: Any, *args: Any, **kwargs: Any) -> Any:
            masks.append(mask)
            return super().update_with_gradient(loss, mask, *args, **kwargs)

        def after_update(self, root_inputs: TimeStep, info: Any) -> None:
            assert torch.equal(masks[-1], (~root_inputs.is_last()).float())

    for flag in (True, False):
        config = make_config(unroll_length=8, mask_out_loss_for_last_step=flag)
        alg = Spy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1))
        if not flag:
            alg.after_update = lambda *args: None
        alg.train_iter()
        assert (masks[-1] is not None) == flag


def test_summaries_of_training_are_made_for_the_last_mini_batch_only() -> None:
    made = []

    class Spy(TinyOffPolicy):
        def after_update(self, root_inputs: Any, info: Any) -> None:
            made.append(summary.is_summary_enabled())

    config = make_config(unroll_length=4, num_updates_per_train_iter=3)
    alg = Spy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1))
    summary.enable_summary()
    try:
        alg.train_iter()
        assert made == [False, False, True]
        assert summary.is_summary_enabled()
    finally:
        summary.disable_summary()


@pytest.mark.parametrize("every_mini_batch", [False, True])
def test_the_counter_counts_iterations_or_mini_batches(every_mini_batch: bool) -> None:
    alg = off_policy(unroll_length=4, update_counter_every_mini_batch=every_mini_batch)
    summary.reset_global_counter()
    alg.train_iter()
    assert summary.get_global_counter() == (2 if every_mini_batch else 1)
    alg.train_from_replay_buffer(update_global_counter=False)
    assert summary.get_global_counter() == (2 if every_mini_batch else 1)
    summary.reset_global_counter()


def test_without_a_buffer_nothing_is_trained() -> None:
    class Forgetful(TinyOffPolicy):
        def observe_for_replay(self, exp: Experience) -> None:
            """Stores nothing."""

    alg = Forgetful(env=CountingEnv(), config=make_config(), optimizer=SGD(lr=0.1))
    assert [alg.train_iter() for _ in range(5)] == [0] * 5


def test_after_train_iter_gets_what_was_unrolled() -> None:
    seen = []

    class Spy(TinyOffPolicy):
        def after_train_iter(self, root_inputs: Any, rollout_info: Any) -> None:
            seen.append((root_inputs, rollout_info))

    for flag in (True, False):
        config = make_config(unroll_length=3, use_root_inputs_for_after_train_iter=flag)
        Spy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1)).train_iter()
    assert seen[0][0].step_type.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert seen[0][1].steps.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert seen[1][0] is None
    assert seen[1][1].steps.shape == (3, 2)


def test_nobody_looks_means_nothing_is_stacked() -> None:
    alg = off_policy()
    assert not alg._looks_at_unroll()
    assert alg._unroll(1, alg._looks_at_unroll()) is None


def test_training_goes_on_exactly_after_a_restart() -> None:
    def make() -> TinyOffPolicy:
        return off_policy(CountingEnv(), unroll_length=4)

    first = make()
    torch.manual_seed(0)
    first.train_iter()
    enable_checkpoint(first._replay_buffer, True)
    second = make()
    second.train_iter()
    enable_checkpoint(second._replay_buffer, True)
    assert second.load_state_dict(copy.deepcopy(first.state_dict())) == ([], [])
    for alg in (first, second):
        # both see the environment from its start, as after a restart
        alg._unroller._env.reset()
        alg._unroller.start_anew()
        torch.manual_seed(1)
        for _ in range(3):
            alg.train_iter()
    assert torch.equal(first.layer.weight, second.layer.weight)


# ---- Recurrent training ---------------------------------------------------------------------

StateInfo = namedtuple("StateInfo", ["state", "loss"], default_value=())


class Recurrent(TinyOffPolicy):
    """Its train state sums up the observed counts since FIRST."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            train_state_spec=TensorSpec(()), optimizer=SGD(lr=0.0), name="recurrent", **kwargs
        )
        self.infos: list[StateInfo] = []

    def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        step = super().rollout_step(inputs, state)
        return step._replace(state=state + inputs.observation[:, 1])

    def train_step(self, inputs: TimeStep, state: torch.Tensor, rollout_info: Any) -> AlgStep:
        loss = self.layer(inputs.observation).squeeze(-1)
        state = state + inputs.observation[:, 1]
        return AlgStep(state=state, info=StateInfo(state=state, loss=loss))

    def calc_loss(self, info: StateInfo) -> LossInfo:
        self.infos.append(info)
        return LossInfo(loss=info.loss)

    def after_update(self, root_inputs: TimeStep, info: StateInfo) -> None:
        self.counts = root_inputs.observation[..., 1]


def recurrent_sums(**config: Any) -> tuple[torch.Tensor, torch.Tensor]:
    settings = make_config(
        unroll_length=9, mini_batch_length=4, num_updates_per_train_iter=1, **config
    )
    alg = Recurrent(env=CountingEnv(), config=settings)
    alg.train_iter()
    return alg.infos[-1].state, alg.counts


def test_the_train_state_starts_at_zero_and_at_every_first_step() -> None:
    states, counts = recurrent_sums()
    for state, count in zip(states.T.tolist(), counts.T.tolist(), strict=True):
        expected, total = [], 0.0
        for c in count:
            total = 0.0 if c == 0 else total + c
            expected.append(total)
        assert state == expected


def test_the_train_state_can_start_from_the_stored_one() -> None:
    states, counts = recurrent_sums(use_rollout_state=True)
    # counts 0, 1, 2, 3 sum up to 0, 1, 3, 6
    assert torch.equal(states, counts * (counts + 1) / 2)


def test_steps_are_trained_at_once_where_that_is_asked_for() -> None:
    states, counts = recurrent_sums(temporally_independent_train_step=True)
    assert torch.equal(states, counts)


# ---- Distributions in infos -----------------------------------------------------------------

DistInfo = namedtuple("DistInfo", ["dist", "loss"], default_value=())


class WithDistributions(TinyOffPolicy):
    """Its infos hold normal distributions around the observed count."""

    def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        dist = torch.distributions.Normal(inputs.observation[:, 1], torch.ones(()).expand(2))
        output = torch.zeros(2, 1)
        return AlgStep(output=output, state=state, info=DistInfo(dist=dist))

    def preprocess_experience(self, root_inputs: Any, rollout_info: Any, batch_info: Any) -> Any:
        assert torch.equal(rollout_info.dist.mean, root_inputs.observation[..., 1])
        assert rollout_info.dist.mean.shape == (8, 2)
        return root_inputs, rollout_info

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        assert torch.equal(rollout_info.dist.mean, inputs.observation[:, 1])
        dist = torch.distributions.Normal(
            self.layer(inputs.observation).squeeze(-1), rollout_info.dist.stddev
        )
        return AlgStep(info=DistInfo(dist=dist))

    def calc_loss(self, info: DistInfo) -> LossInfo:
        assert info.dist.mean.shape == (2, 4)
        return LossInfo(loss=info.dist.mean**2)

    def after_train_iter(self, root_inputs: TimeStep, rollout_info: Any) -> None:
        assert torch.equal(rollout_info.dist.mean, root_inputs.observation[..., 1])


def test_distributions_come_back_from_the_replay_buffer() -> None:
    alg = WithDistributions(
        env=CountingEnv(), config=make_config(unroll_length=4), optimizer=SGD(lr=0.1)
    )
    assert alg.train_iter() == 16
    assert torch.is_tensor(nest.flatten(records(alg).rollout_info)[0])


# ---- Prioritized replay ---------------------------------------------------------------------


def test_priorities_are_powered_by_alpha_after_epsilon_was_added() -> None:
    updates = []

    class Prioritized(TinyOffPolicy):
        def calc_loss(self, info: LossInfo) -> LossInfo:
            return info._replace(priority=torch.full((4,), 2.0))

        def observe_for_replay(self, exp: Experience) -> None:
            super().observe_for_replay(exp)
            self._replay_buffer.update_priority = lambda *args: updates.append(args)

    config = make_config(
        unroll_length=4, priority_replay=True, priority_replay_alpha=0.5, priority_replay_eps=0.25
    )
    Prioritized(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1)).train_iter()
    env_ids, positions, priorities = updates[-1]
    assert env_ids.shape == positions.shape == (4,)
    assert priorities.tolist() == [1.5] * 4  # sqrt(2 + 0.25)


def test_a_loss_without_priority_is_refused() -> None:
    alg = off_policy(unroll_length=4, priority_replay=True)
    with pytest.raises(ValueError, match="priority_replay is True, but the loss of 'tiny'"):
        alg.train_iter()


# ---- Whole-buffer training ------------------------------------------------------------------


class Whole(TinyOffPolicy):
    """Notes which records each update trains on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(optimizer=SGD(lr=0.0), **kwargs)
        self.batches: list[list[list[float]]] = []
        self.weights: list[float] = []

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        self.batches.append(inputs.observation.tolist())
        return super().train_step(inputs, state, rollout_info)

    def update_with_gradient(self, loss: Any, mask: Any, weight: Any, batch_info: Any) -> Any:
        self.weights.append(weight)
        return super().update_with_gradient(loss, mask, weight, batch_info)


def whole_config(**kwargs: Any) -> TrainerConfig:
    return TrainerConfig(
        **{
            "root_dir": "/nowhere",
            "unroll_length": 4,
            "num_updates_per_train_iter": 2,
            "mini_batch_length": 1,
            "mini_batch_size": 3,
            **kwargs,
        }
    )


def test_an_emptied_buffer_keeps_the_newest_step_until_its_outcome_is_there() -> None:
    alg = Whole(env=CountingEnv(), config=whole_config())
    assert [alg.train_iter() for _ in range(4)] == [0, 20, 20, 20]
    # Steps 3 to 7, then 7 to 11, then 11 to 15; an episode has four: every step but the first three
    # is trained once with what follows it.
    for first in (0, 6, 12):
        for epoch in (first, first + 3):
            rows = [row for batch in alg.batches[epoch : epoch + 3] for row in batch]
            assert sorted(rows) == sorted([i, c] for i in (0, 1) for c in (3, 0, 1, 2, 3))


def test_mini_batches_are_made_almost_equal() -> None:
    alg = Whole(env=CountingEnv(), config=whole_config())
    alg.train_iter()
    alg.train_iter()
    # ten records in batches of three: three of them, two times
    assert [len(batch) for batch in alg.batches[:6]] == [4, 4, 2] * 2
    assert alg.weights[:6] == [1.0, 1.0, 0.5] * 2


def test_without_new_experience_an_emptied_buffer_is_not_trained_from_again() -> None:
    alg = Whole(env=CountingEnv(), config=whole_config())
    alg.train_iter()
    assert alg.train_iter() == 20
    assert alg.train_from_replay_buffer() == 0


def test_unrolls_of_different_lengths_are_trained_from_once() -> None:
    alg = Whole(env=CountingEnv(), config=whole_config(unroll_length=2.5, mini_batch_size=100))
    # unrolls of 2, 3, 2, 3 steps, each with the step before it
    assert [alg.train_iter() for _ in range(5)] == [0, 16, 12, 16, 12]


def test_a_kept_buffer_trains_on_one_unroll_and_one_step_once_it_is_full() -> None:
    config = whole_config(clear_replay_buffer=False)
    alg = Whole(env=CountingEnv(), config=config)
    assert config.initial_collect_steps == 2 * 5
    assert [alg.train_iter() for _ in range(3)] == [0, 20, 20]


@pytest.mark.parametrize(("length", "starts"), [(2, [3, 1]), (3, [3]), (4, [3])])
def test_the_whole_buffer_is_cut_into_sequences_without_the_newest_rest(
    length: int, starts: list[int]
) -> None:
    alg = Whole(env=CountingEnv(), config=whole_config(mini_batch_length=length))
    trained = [alg.train_iter() for _ in range(2)]
    assert trained == [0, 2 * 2 * len(starts) * length]
    rows = [tuple(row) for row in alg.batches[0]] + [tuple(row) for row in alg.batches[1]]
    assert sorted(set(rows[: 2 * len(starts)])) == sorted((i, c) for i in (0, 1) for c in starts)


def test_positions_of_cut_sequences_are_their_own() -> None:
    seen = []

    class Spy(Whole):
        def update_with_gradient(self, loss: Any, mask: Any, weight: Any, batch_info: Any) -> Any:
            seen.append((batch_info.env_ids.tolist(), batch_info.positions.tolist()))
            return super().update_with_gradient(loss, mask, weight, batch_info)

    config = whole_config(mini_batch_length=2, mini_batch_size=4, num_updates_per_train_iter=1)
    alg = Spy(env=CountingEnv(), config=config)
    alg.train_iter()
    alg.train_iter()
    assert seen == [([0, 0, 1, 1], [3, 5, 3, 5])]


def test_buffer_length_of_whole_buffer_training() -> None:
    assert adjust_replay_buffer_length(whole_config(unroll_length=4.5), 3) == 5 + 1 + 3
    assert adjust_replay_buffer_length(make_config(replay_buffer_length=77), 3) == 77


# ---- On-policy training ---------------------------------------------------------------------


def test_on_policy_trains_once_on_each_unroll() -> None:
    config = TrainerConfig(root_dir="/nowhere", unroll_length=4)
    alg = TinyOnPolicy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1))
    before = alg.layer.weight.detach().clone()
    assert alg.train_iter() == 8
    assert alg.seen["info"].steps.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert alg.seen["root_inputs"].step_type.shape == (4, 2)
    assert not torch.equal(before, alg.layer.weight)
    assert alg._replay_buffer is None
    # a second time: the state carried over has no graph
    assert alg.train_iter() == 8


def test_on_policy_masks_last_steps() -> None:
    seen = []

    class Spy(TinyOnPolicy):
        def update_with_gradient(self, loss: Any, mask: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(mask)
            return super().update_with_gradient(loss, mask, *args, **kwargs)

    config = TrainerConfig(root_dir="/nowhere", unroll_length=5)
    Spy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1)).train_iter()
    assert seen[0].tolist() == [[1, 1], [1, 1], [1, 1], [0, 0], [1, 1]]


# ---- A container whose children have their own buffers --------------------------------------


class Container(OffPolicyAlgorithm):
    """Two levels which act together; each has its buffer, config and optimizer."""

    def __init__(self, env: Any, config: TrainerConfig) -> None:
        levels = {}
        for name, size in (("high", 2), ("low", 5)):
            own = copy.copy(config)
            own.mini_batch_size = size
            own.num_updates_per_train_iter = 1
            levels[name] = TinyOffPolicy(config=own, optimizer=SGD(lr=0.1), name=name)
        super().__init__(
            OBSERVATION_SPEC,
            ACTION_SPEC,
            train_state_spec=(),
            rollout_state_spec={name: level.rollout_state_spec for name, level in levels.items()},
            env=env,
            config=config,
            name="container",
        )
        self._replay_buffer = nn.ModuleDict()
        self._high, self._low = levels["high"], levels["low"]
        for level in levels.values():
            level.set_replay_buffer(env.batch_size, config.replay_buffer_length)

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_replay_buffer", "_high", "_low"]

    def _levels(self) -> dict[str, TinyOffPolicy]:
        return {"high": self._high, "low": self._low}

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        steps = {n: level.rollout_step(inputs, state[n]) for n, level in self._levels().items()}
        return AlgStep(
            output=steps["low"].output,
            state={name: step.state for name, step in steps.items()},
            info={name: step.info for name, step in steps.items()},
        )

    def observe_for_replay(self, exp: Experience) -> None:
        for name, level in self._levels().items():
            # the high level decides in environment 0 only
            rows = slice(0, 1) if name == "high" else slice(None)
            own = Experience(
                time_step=exp.time_step, action=exp.action, rollout_info=exp.rollout_info[name]
            )
            level.observe_for_replay(nest.map_structure(lambda x, rows=rows: x[rows], own))
            self._replay_buffer[name] = level._replay_buffer
            enable_checkpoint(level._replay_buffer, True)

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        steps = 0
        for name, level in self._levels().items():
            if name == "high":
                continue
            steps += level.train_from_replay_buffer(update_global_counter=False)
        return steps


def test_a_container_trains_children_from_their_own_buffers() -> None:
    alg = Container(CountingEnv(), make_config(unroll_length=4))
    assert alg.train_iter() == 5 * 2
    assert alg._low.calls == ["train_step", "update_with_gradient", "after_update"]
    assert alg._high.calls == []
    assert alg._low._replay_buffer.total_size == 8
    assert alg._high._replay_buffer.total_size == 4


def test_buffers_of_children_are_saved_as_the_container_s() -> None:
    alg = Container(CountingEnv(), make_config(unroll_length=4))
    alg.train_iter()
    state = alg.state_dict()
    buffers = [key for key in state if "_replay_buffer" in key]
    assert buffers
    assert all(key.startswith(("_replay_buffer.high.", "_replay_buffer.low.")) for key in buffers)
    others = sorted(key for key in state if "_replay_buffer" not in key)
    assert others == [
        "_high._optimizers.0",
        "_high.layer.bias",
        "_high.layer.weight",
        "_low._optimizers.0",
        "_low.layer.bias",
        "_low.layer.weight",
    ]
    other = Container(CountingEnv(), make_config(unroll_length=4))
    other.train_iter()
    assert other.load_state_dict(state) == ([], [])
    assert torch.equal(other._low.layer.weight, alg._low.layer.weight)
    assert torch.equal(records(other._low).observation, records(alg._low).observation)


# ---- Rewards, specs, and settings that do not fit -------------------------------------------


def test_reward_weights_are_ones_unless_given() -> None:
    kwargs: dict[str, Any] = {"reward_spec": TensorSpec((2,))}
    assert TinyOffPolicy(**kwargs).reward_weights.tolist() == [1.0, 1.0]
    alg = TinyOffPolicy(reward_weights=[1.0, 3.0], **kwargs)
    assert alg.has_multidim_reward()
    alg.set_reward_weights([2.0, 4.0])
    other = TinyOffPolicy(**kwargs)
    other.load_state_dict(alg.state_dict())
    assert other.reward_weights.tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="3 reward_weights"):
        TinyOffPolicy(reward_weights=[1.0, 2.0, 3.0], **kwargs)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        alg.set_reward_weights([1.0, 2.0, 3.0])


def test_one_reward_has_no_weights() -> None:
    alg = TinyOffPolicy()
    assert alg.reward_weights is None
    assert not alg.has_multidim_reward()
    with pytest.raises(ValueError, match="one reward"):
        alg.set_reward_weights([1.0])


def test_an_environment_needs_a_config() -> None:
    with pytest.raises(ValueError, match="config is None"):
        TinyOffPolicy(env=CountingEnv())


def test_without_an_environment_there_is_no_unroll() -> None:
    with pytest.raises(ValueError, match="without env"):
        TinyOffPolicy(config=make_config()).unroll(1)


def test_off_policy_is_not_on_policy() -> None:
    assert TinyOffPolicy().on_policy is False
    assert TinyOnPolicy().on_policy is True
    assert TinyOffPolicy().is_rl()
    assert not Algorithm().is_rl()


# ---- Data transformers ----------------------------------------------------------------------


class TimesTen(nn.Module):
    """Multiplies observations by ten; its state counts its calls."""

    stack_size = 1
    state_spec = TensorSpec(())

    def transform_timestep(self, time_step: TimeStep, state: Any) -> tuple[TimeStep, Any]:
        return time_step._replace(observation=10 * time_step.observation), state + 1

    def transform_experience(self, experience: Experience) -> Experience:
        assert experience.batch_info.positions.shape == (8,)
        assert experience.rollout_info_field == "rollout_info"
        time_step = experience.time_step
        return experience._replace(
            time_step=time_step._replace(observation=10 * time_step.observation)
        )


def test_the_buffer_holds_raw_observations_and_training_sees_transformed_ones() -> None:
    seen: dict[str, Any] = {}

    class Spy(TinyOffPolicy):
        def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
            seen["rollout"] = inputs.observation
            return super().rollout_step(inputs, state)

        def train_step(self, inputs: TimeStep, *args: Any) -> AlgStep:
            seen["train"] = inputs.observation
            return super().train_step(inputs, *args)

        def after_train_iter(self, root_inputs: TimeStep, rollout_info: Any) -> None:
            seen["root_inputs"] = root_inputs.observation

    config = make_config(unroll_length=4)
    config.data_transformer = TimesTen()
    alg = Spy(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1))
    alg.train_iter()
    assert records(alg).observation[0, :, 1].tolist() == [0, 1, 2, 3]
    assert seen["rollout"][:, 1].tolist() == [30, 30]
    assert seen["root_inputs"][:, 0, 1].tolist() == [0, 10, 20, 30]
    assert set(seen["train"][:, 1].tolist()) <= {0.0, 10.0, 20.0, 30.0}
    assert alg._unroller._interaction._transform_state.tolist() == [4, 4]
