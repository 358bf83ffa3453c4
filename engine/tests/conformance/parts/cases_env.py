"""``alf.environments``: base class, wrappers of tiny environments, unit tests' environments."""

import collections

import numpy as np
import torch
from harness import case, refuses

import alf
from alf.data_structures import StepType, TimeStep

T, B = alf.TensorSpec, alf.BoundedTensorSpec


def make_counter(
    length=4,
    action_spec=None,
    reward_spec=None,
    info=False,
    batched=0,
    name="env",
    observation_offset=0.0,
):
    """An environment that counts: observation and reward are the step in the episode.

    Its last step comes after ``length`` actions.  The actions it receives are
    kept in ``actions``.  With ``batched`` it is a batch of tensors.
    """
    from alf.environments.alf_environment import AlfEnvironment

    class Counter(AlfEnvironment):
        def __init__(self):
            super().__init__()
            self._action = action_spec or B((1,), minimum=-1, maximum=1)
            self._reward = reward_spec or T(())
            self.actions = []
            self.closed = False
            self.seeds = []
            self.count = 0
            self.over = True

        @property
        def batched(self):
            return bool(batched)

        @property
        def batch_size(self):
            return batched or 1

        @property
        def is_tensor_based(self):
            return bool(batched)

        def observation_spec(self):
            return T((2,))

        def action_spec(self):
            return self._action

        def reward_spec(self):
            return self._reward

        def env_info_spec(self):
            return {"count": T(())} if info else {}

        def close(self):
            self.closed = True

        def seed(self, seed):
            self.seeds.append(seed)

        def render(self, mode="rgb_array"):
            return np.zeros((2, 2, 3), np.uint8)

        def _make(self, kind, action):
            value = self.count + observation_offset
            if batched:
                b = batched
                fields = dict(
                    step_type=torch.full((b,), int(kind), dtype=torch.int32),
                    reward=torch.full((b,) + tuple(self._reward.shape), float(self.count)),
                    discount=torch.full((b,), 0.0 if kind == StepType.LAST else 1.0),
                    observation=torch.full((b, 2), float(value)),
                    prev_action=action,
                    env_id=torch.arange(b, dtype=torch.int32),
                )
                extra = {"count": torch.full((b,), float(self.count))} if info else {}
            else:
                reward = (
                    np.full(self._reward.shape, self.count, np.float32)
                    if self._reward.shape
                    else np.float32(self.count)
                )
                fields = dict(
                    step_type=np.int32(kind),
                    reward=reward,
                    discount=np.float32(0.0 if kind == StepType.LAST else 1.0),
                    observation=np.full(2, value, np.float32),
                    prev_action=action,
                    env_id=np.int32(0),
                )
                extra = {"count": np.float32(self.count)} if info else {}
            return TimeStep(env_info=extra, **fields)

        def _reset(self):
            self.count = 0
            self.over = False
            zero = alf.nest.map_structure(
                lambda s: s.zeros((batched,)) if batched else s.numpy_zeros(), self._action
            )
            return self._make(StepType.FIRST, zero)

        def _step(self, action):
            if self.over:
                return self._reset()
            self.actions.append(
                np.asarray(action) if not isinstance(action, (dict, list, tuple)) else action
            )
            self.count += 1
            self.over = self.count >= length
            return self._make(StepType.LAST if self.over else StepType.MID, action)

    return Counter()


ONE = np.array([0.5], np.float32)


def roll(env, count=6, action=ONE):
    """(step type, reward, discount, observation) of a reset and ``count`` steps."""
    out = []
    t = env.reset()
    for i in range(count + 1):
        out.append(
            [
                np.asarray(t.step_type).tolist(),
                np.asarray(t.reward).tolist(),
                np.asarray(t.discount).tolist(),
            ]
        )
        if i < count:
            t = env.step(action)
    return out


def w():
    from alf.environments import alf_wrappers

    return alf_wrappers


# ---- base class ---------------------------------------------------------------------


@case("env.base.time_step_spec")
def _():
    return make_counter(info=True).time_step_spec()


@case("env.base.defaults")
def _():
    e = make_counter()
    return [e.num_tasks, list(e.task_names), e.batched, e.batch_size, e.reward_spec()]


@case("env.base.step_before_reset_resets")
def _():
    e = make_counter()
    return [int(e.step(ONE).step_type), int(e.step(ONE).step_type)]


@case("env.base.current_time_step")
def _():
    e = make_counter()
    e.reset()
    e.step(ONE)
    return [float(e.current_time_step().reward), int(e.current_time_step().step_type)]


@case("env.base.context_manager_closes")
def _():
    e = make_counter()
    with e as inside:
        inside.reset()
    return e.closed


# ---- plain wrappers -------------------------------------------------------------------


@case("wrappers.base.forwards")
def _():
    e = make_counter(info=True)
    v = w().AlfEnvironmentBaseWrapper(e)
    v.reset()
    v.seed(3)
    v.close()
    return [
        v.observation_spec(),
        v.action_spec(),
        v.reward_spec(),
        v.env_info_spec(),
        v.wrapped_env() is e,
        e.seeds,
        e.closed,
        v.batched,
        v.count,
    ]


@case("wrappers.TimeLimit.ends_early_with_discount")
def _():
    return roll(w().TimeLimit(make_counter(10), 2))


@case("wrappers.TimeLimit.not_reached")
def _():
    return roll(w().TimeLimit(make_counter(2), 5))


@case("wrappers.TimeLimit.duration_and_batched")
def _():
    return [
        w().TimeLimit(make_counter(), 7).duration,
        refuses(w().TimeLimit, make_counter(batched=3), 5),
    ]


@case("wrappers.TimeLimit.tensor_based")
def _():
    e = make_counter(10, batched=1)
    return roll(w().TimeLimit(e, 2), 4, torch.zeros(1, 1))


@case("wrappers.NonEpisodicAgent.discount_of_last_steps")
def _():
    return [
        roll(w().NonEpisodicAgent(make_counter(2)), 3),
        roll(w().NonEpisodicAgent(make_counter(2), discount=0.5), 3),
    ]


@case("wrappers.RandomFirstEpisodeLength.one")
def _():
    """With a range of 1 the first episode has one step, later ones are whole."""
    return roll(w().RandomFirstEpisodeLength(make_counter(3), 1), 6)


@case("wrappers.RandomFirstEpisodeLength.two_episodes")
def _():
    return roll(w().RandomFirstEpisodeLength(make_counter(3), 1, num_episodes=2), 6)


@case("wrappers.ActionObservation")
def _():
    e = w().ActionObservationWrapper(make_counter())
    first = e.reset()
    t = e.step(ONE)
    return [e.observation_spec(), e.time_step_spec().observation, first.observation, t.observation]


@case("wrappers.ScalarReward.default_is_the_first")
def _():
    e = w().ScalarRewardWrapper(make_counter(reward_spec=T((3,))))
    return [roll(e, 2), e.reward_spec(), e.time_step_spec().reward]


@case("wrappers.ScalarReward.weights")
def _():
    return roll(
        w().ScalarRewardWrapper(make_counter(reward_spec=T((3,))), reward_weights=[0.5, 1.0, 2.0]),
        2,
    )


@case("wrappers.ScalarReward.batched_tensors")
def _():
    return roll(
        w().ScalarRewardWrapper(
            make_counter(reward_spec=T((2,)), batched=3), reward_weights=(1.0, 2.0)
        ),
        2,
        torch.zeros(3, 1),
    )


@case("wrappers.ScalarReward.refusals")
def _():
    return [
        refuses(w().ScalarRewardWrapper, make_counter()),
        refuses(
            w().ScalarRewardWrapper, make_counter(reward_spec=T((3,))), reward_weights=[1.0, 2.0]
        ),
    ]


@case("wrappers.DiscreteAction.spec")
def _():
    e = w().DiscreteActionWrapper(
        make_counter(action_spec=B((2,), minimum=[-1, 0], maximum=[1, 4])), 3
    )
    return [e.action_spec(), e.time_step_spec().prev_action, e.reset().prev_action]


@case("wrappers.DiscreteAction.actions_reach_the_environment")
def _():
    """The first component is the most significant digit."""
    inner = make_counter(20, action_spec=B((2,), minimum=[-1, 0], maximum=[1, 4]))
    e = w().DiscreteActionWrapper(inner, 3)
    e.reset()
    prev = [e.step(np.int64(a)).prev_action for a in range(9)]
    return [inner.actions, prev]


@case("wrappers.DiscreteAction.batched_tensors")
def _():
    inner = make_counter(20, action_spec=B((2,), minimum=[-1, 0], maximum=[1, 4]), batched=2)
    e = w().DiscreteActionWrapper(inner, 3)
    e.reset()
    t = e.step(torch.tensor([5, 7]))
    return [inner.actions, t.prev_action]


@case("wrappers.DiscreteAction.refusals")
def _():
    f = w().DiscreteActionWrapper
    return [
        refuses(f, make_counter(action_spec=B((), torch.int64, 0, 3)), 3),
        refuses(f, make_counter(), 1),
        refuses(f, make_counter(action_spec=B((2, 2))), 3),
        refuses(f, make_counter(action_spec=[B((2,))]), 3),
    ]


@case("wrappers.NormalizedAction")
def _():
    inner = make_counter(20, action_spec=B((2,), minimum=[-2, 0], maximum=[2, 10]))
    e = w().NormalizedActionWrapper(inner)
    e.reset()
    out = [
        e.step(np.array(a, np.float32)).prev_action for a in ([-1.0, -1.0], [0.0, 0.0], [1.0, 0.5])
    ]
    return [
        e.action_spec(),
        e.time_step_spec().prev_action,
        [np.asarray(a, np.float32) for a in inner.actions],
        out,
    ]


@case("wrappers.NormalizedAction.unbounded_refused")
def _():
    return [
        refuses(w().NormalizedActionWrapper, make_counter(action_spec=T((1,)))),
        refuses(
            w().NormalizedActionWrapper,
            make_counter(action_spec=B((1,), minimum=-np.inf, maximum=np.inf)),
        ),
    ]


@case("wrappers.TemporallyCorrelatedNoise.no_noise_is_clipping")
def _():
    inner = make_counter(20)
    e = w().TemporallyCorrelatedNoiseWrapper(inner, sigma=0.0)
    e.reset()
    e.step(ONE)
    e.step(np.array([3.0], np.float32))
    return [np.asarray(a, np.float32) for a in inner.actions]


@case("wrappers.TemporallyCorrelatedNoise.noise_of_this_and_the_previous_step_only")
def _():
    """Clipped to the bounds; it does not add up, so actions do not stick to a bound."""
    inner = make_counter(200)
    e = w().TemporallyCorrelatedNoiseWrapper(inner, sigma=2.0)
    e.reset()
    for _ in range(50):
        e.step(ONE)
    a = np.concatenate(inner.actions)
    return [bool((np.abs(a) <= 1).all()), len(set(a.tolist())) > 3]


@case("wrappers.BatchEnvironment")
def _():
    e = w().BatchEnvironmentWrapper([make_counter(2), make_counter(3)])
    out = [e.batched, e.batch_size, e.is_tensor_based, e.action_spec()]
    t = e.reset()
    for _ in range(4):
        out.append([t.step_type, t.reward, t.observation])
        t = e.step(np.array([[0.1], [0.2]], np.float32))
    return out


@case("wrappers.BatchEnvironment.seeds")
def _():
    a, b = make_counter(), make_counter()
    w().BatchEnvironmentWrapper([a, b]).seed(5)
    return [a.seeds, b.seeds]


@case("wrappers.BatchEnvironment.refusals")
def _():
    f = w().BatchEnvironmentWrapper
    return [
        refuses(f, [make_counter(), make_counter(action_spec=B((2,)))]),
        refuses(f, [make_counter(batched=2)]),
        refuses(f, [make_counter(), make_counter(reward_spec=T((2,)))]),
    ]


@case("wrappers.BatchedTensor")
def _():
    e = w().BatchedTensorWrapper(make_counter(2))
    t = e.reset()
    t2 = e.step(torch.tensor([[0.5]]))
    return [e.batched, e.is_tensor_based, t.observation, t2.reward, t2.prev_action, t2.step_type]


@case("wrappers.Tensor")
def _():
    e = w().TensorWrapper(w().BatchEnvironmentWrapper([make_counter(2), make_counter(2)]))
    e.reset()
    t = e.step(torch.tensor([[0.5], [0.2]]))
    return [e.is_tensor_based, t.reward, t.observation, t.prev_action]


# ---- several tasks -----------------------------------------------------------------------


def multitask(**options):
    inner = [make_counter(3, observation_offset=0.0), make_counter(2, observation_offset=100.0)]
    return w().MultitaskWrapper(inner, ["slow", "fast"], **options), inner


@case("wrappers.Multitask.specs")
def _():
    e, _ = multitask()
    return [
        dict(e.action_spec()),
        e.num_tasks,
        list(e.task_names),
        e.get_num_tasks(),
        e.observation_spec(),
    ]


@case("wrappers.Multitask.task_id_chooses_the_environment")
def _():
    e, inner = multitask()
    out = []
    t = e.reset()
    for task in (0, 0, 1, 1, 1, 0):
        out.append([int(t.step_type), float(t.reward), t.observation.tolist()])
        t = e.step(collections.OrderedDict(task_id=np.int64(task), action=ONE))
    return out + [[int(t.step_type), float(t.reward), t.observation.tolist()]]


@case("wrappers.Multitask.prev_action")
def _():
    e, _ = multitask()
    e.reset()
    t = e.step(collections.OrderedDict(task_id=np.int64(1), action=ONE))
    return {k: np.asarray(v) for k, v in t.prev_action.items()}


@case("wrappers.Multitask.refusals")
def _():
    f = w().MultitaskWrapper
    return [
        refuses(f, [make_counter(), make_counter()], ["a", "a"]),
        refuses(f, [make_counter(), make_counter(action_spec=B((2,)))], ["a", "b"]),
        refuses(f, [], []),
    ]


@case("wrappers.Multitask.load")
def _():
    made = []
    e = w().MultitaskWrapper.load(
        lambda name, length: (made.append(name), make_counter(length))[1], ["a", "b"], length=2
    )
    return [made, list(e.task_names)]


@case("wrappers.Curriculum.specs")
def _():
    from alf.environments import alf_wrappers

    class Two(type(make_counter(batched=2))):
        pass

    e = make_counter(
        2,
        action_spec={"task_id": B((), torch.int64, 0, 1), "action": B((1,), minimum=-1, maximum=1)},
        batched=2,
        info=True,
    )
    type(e).num_tasks = property(lambda self: 2)
    type(e).task_names = property(lambda self: ["a", "b"])
    c = alf_wrappers.CurriculumWrapper(e)
    return [c.action_spec(), c.env_info_spec(), c.num_tasks]


@case("wrappers.Curriculum.unbatched_refused")
def _():
    return refuses(w().CurriculumWrapper, make_counter())


@case("wrappers.Curriculum.info_of_a_step")
def _():
    e = make_counter(
        2,
        action_spec={"task_id": B((), torch.int64, 0, 1), "action": B((1,), minimum=-1, maximum=1)},
        batched=2,
        info=True,
    )
    type(e).num_tasks = property(lambda self: 2)
    type(e).task_names = property(lambda self: ["a", "b"])
    c = w().CurriculumWrapper(e)
    c.reset()
    t = c.step(torch.zeros(2, 1))
    return [
        sorted(t.env_info),
        {k: sorted(v) for k, v in t.env_info.items() if isinstance(v, dict)},
        t.prev_action if isinstance(t.prev_action, torch.Tensor) else sorted(t.prev_action),
    ]


@case("wrappers.Multitask.switching_in_the_middle_of_an_episode")
def _():
    """The task given with an action takes effect at once; it may change at any step."""
    e, inner = multitask()
    e.reset()
    out = []
    for task in (1, 0, 1):
        t = e.step(collections.OrderedDict(task_id=np.int64(task), action=ONE))
        out.append([t.observation.tolist(), len(inner[0].actions), len(inner[1].actions)])
    return out


@case("wrappers.Multitask.reset_gives_the_current_task")
def _():
    e, _ = multitask()
    first = e.reset().observation.tolist()
    e.step(collections.OrderedDict(task_id=np.int64(1), action=ONE))
    return [first, e.reset().observation.tolist()]


@case("wrappers.Multitask.env_id_of_steps")
def _():
    e, _ = multitask(env_id=6)
    return [
        e.reset().env_id,
        e.step(collections.OrderedDict(task_id=np.int64(0), action=ONE)).env_id,
    ]


@case("wrappers.PerformanceProfiler.passes_steps_on")
def _():
    seen = []
    e = w().PerformanceProfiler(make_counter(3), lambda profile: seen.append(1), 2)
    return roll(e, 3)


@case("wrappers.AtariTerminalOnLifeLoss.is_there")
def _():
    return w().AtariTerminalOnLifeLossWrapper.__name__


# ---- unit test environments ------------------------------------------------------------------


def unittest_env(name, *args, **options):
    from alf.environments import suite_unittest

    return getattr(suite_unittest, name)(*args, **options)


def unittest_roll(env, action, count=5):
    out, t = [], env.reset()
    for i in range(count):
        out.append([t.step_type, t.reward, t.discount, t.prev_action, t.env_id])
        t = env.step(action)
    return out


@case("suite_unittest.Value.sequence")
def _():
    return unittest_roll(unittest_env("ValueUnittestEnv", 2, 3), torch.zeros(2, dtype=torch.int64))


@case("suite_unittest.specs")
def _():
    from alf.environments.suite_unittest import ActionType

    e = unittest_env("PolicyUnittestEnv", 2, 3, obs_dim=1, action_type=ActionType.Continuous)
    n = unittest_env("PolicyUnittestEnv", 2, 3, nested_observation=True, reward_dim=3)
    m = unittest_env("MixedPolicyUnittestEnv", 2, 3, obs_dim=4)
    return [
        e.action_spec(),
        e.observation_spec(),
        e.reward_spec(),
        n.action_spec(),
        list(n.observation_spec()),
        n.reward_spec(),
        list(m.action_spec()),
        m.observation_spec(),
        e.batched,
        e.batch_size,
        e.is_tensor_based,
    ]


@case("suite_unittest.Policy.reward_of_the_right_action")
def _():
    """The reward is 1 minus the distance of action and observation."""
    e = unittest_env("PolicyUnittestEnv", 3, 4)
    t = e.reset()
    out = [t.reward]
    for k in range(6):
        right = t.observation.to(torch.int64).reshape(3)
        t = e.step(right if k % 2 == 0 else 1 - right)
        out.append([t.reward, t.step_type])
    return out


@case("suite_unittest.Policy.vector_reward_and_nested_observation")
def _():
    e = unittest_env("PolicyUnittestEnv", 3, 4, nested_observation=True, reward_dim=2)
    t = e.reset()
    u = e.step(t.observation[0].to(torch.int64).reshape(3))
    return [t.reward, u.reward, [o.shape for o in u.observation]]


@case("suite_unittest.Mixed.reward")
def _():
    e = unittest_env("MixedPolicyUnittestEnv", 3, 10)
    e.reset()
    d = torch.tensor([0, 1, 1])
    return [
        e.step([d, torch.tensor([[0.2], [0.9], [0.1]])]).reward,
        e.step([d, torch.tensor([[0.9], [0.1], [0.7]])]).reward,
    ]


@case("suite_unittest.RNN.reward_after_the_gap")
def _():
    e = unittest_env("RNNPolicyUnittestEnv", 4, 6, gap=2)
    first = e.reset().observation
    right = ((first[:, 0] + 1) / 2).to(torch.int64)
    out = []
    for _ in range(6):
        t = e.step(right)
        out.append([t.reward, t.step_type, t.observation.abs().sum() > 0])
    return [sorted(set(first.flatten().tolist()) | {-1.0, 1.0}), out]


@case("suite_unittest.RNN.observation_shape")
def _():
    e = unittest_env("RNNPolicyUnittestEnv", 2, 6, gap=2, obs_dim=3)
    first = e.reset().observation
    return [first.shape, e.step(torch.zeros(2, dtype=torch.int64)).observation]


# ---- random environment -------------------------------------------------------------------------


def random_env(**options):
    from alf.environments.random_alf_environment import RandomAlfEnvironment

    return RandomAlfEnvironment(
        B((2, 3), torch.int32, -10, 10), B((1,), torch.float32, -1, 1), **options
    )


@case("random_env.fixed_duration")
def _():
    e = random_env(min_duration=3, max_duration=3, episode_end_probability=0.0)
    return [
        [int(s) for s in (e.reset().step_type,)]
        + [int(e.step(np.zeros(1, np.float32)).step_type) for _ in range(8)]
    ]


@case("random_env.always_ends")
def _():
    e = random_env(episode_end_probability=1.0)
    return [int(e.reset().step_type)] + [
        int(e.step(np.zeros(1, np.float32)).step_type) for _ in range(3)
    ]


@case("random_env.min_duration_protects")
def _():
    e = random_env(episode_end_probability=1.0, min_duration=3)
    return [int(e.reset().step_type)] + [
        int(e.step(np.zeros(1, np.float32)).step_type) for _ in range(6)
    ]


@case("random_env.shapes_and_dtypes")
def _():
    e = random_env(use_tensor_time_step=False, discount=0.5, episode_end_probability=0.0)
    e.reset()
    t = e.step(np.zeros(1, np.float32))
    return [
        t.observation.shape,
        str(t.observation.dtype),
        bool((np.abs(t.observation) <= 10).all()),
        np.asarray(t.discount).tolist(),
        e.batched,
        e.is_tensor_based,
    ]


@case("random_env.batched_tensors")
def _():
    e = random_env(batch_size=3, use_tensor_time_step=True, episode_end_probability=0.0)
    e.reset()
    t = e.step(torch.zeros(3, 1))
    return [
        t.observation.shape,
        t.observation.dtype,
        t.step_type,
        t.reward.shape,
        e.batch_size,
        e.batched,
    ]


@case("random_env.reward_fn")
def _():
    e = random_env(
        reward_fn=lambda step_type, action, obs: np.float32(4.0), episode_end_probability=0.0
    )
    e.reset()
    return float(e.step(np.zeros(1, np.float32)).reward)


# ---- gym spaces ------------------------------------------------------------


def gym():
    """The gym module that ``alf.environments`` works with."""
    import importlib

    from alf.environments import alf_gym_wrapper

    for name in ("gym", "gymnasium"):
        m = getattr(alf_gym_wrapper, name, None)
        if m is not None:
            return m
    for name in ("gymnasium", "gym"):
        try:
            return importlib.import_module(name)
        except ImportError:
            pass


def spec_of(space, **options):
    from alf.environments.alf_gym_wrapper import tensor_spec_from_gym_space

    return tensor_spec_from_gym_space(space, **options)


@case("gym_spaces.Box.simplified_bounds")
def _():
    s = gym().spaces
    a = spec_of(s.Box(-1.0, 2.0, (3,), dtype=np.float32))
    return [a, np.shape(a.minimum), np.shape(a.maximum)]


@case("gym_spaces.Box.bounds_per_component")
def _():
    s = gym().spaces
    a = spec_of(
        s.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32), dtype=np.float32)
    )
    b = spec_of(s.Box(-1.0, 2.0, (3,), dtype=np.float32), simplify_box_bounds=False)
    return [a, b, np.shape(b.minimum)]


@case("gym_spaces.Box.float64_becomes_float32")
def _():
    s = gym().spaces
    return [
        spec_of(s.Box(-1.0, 1.0, (2,), dtype=np.float64)),
        spec_of(s.Box(-1.0, 1.0, (2,), dtype=np.float32), float_dtype=np.float64).dtype,
        spec_of(s.Box(-1.0, 1.0, (2,), dtype=np.float64), float_dtype=None).dtype,
    ]


@case("gym_spaces.Box.uint8_image")
def _():
    return spec_of(gym().spaces.Box(0, 255, (4, 4, 3), dtype=np.uint8))


@case("gym_spaces.Box.infinite")
def _():
    return spec_of(gym().spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32))


@case("gym_spaces.Discrete")
def _():
    return spec_of(gym().spaces.Discrete(4))


@case("gym_spaces.MultiDiscrete")
def _():
    a = spec_of(gym().spaces.MultiDiscrete([2, 3]))
    return [a, np.shape(a.minimum)]


@case("gym_spaces.MultiBinary")
def _():
    return spec_of(gym().spaces.MultiBinary(3))


@case("gym_spaces.Tuple_and_Dict")
def _():
    s = gym().spaces
    a = spec_of(s.Tuple((s.Discrete(2), s.Discrete(3))))
    b = spec_of(s.Dict({"b": s.Discrete(2), "a": s.Box(0.0, 1.0, (1,), dtype=np.float32)}))
    return [type(a).__name__, list(a), dict(b)]


@case("gym_spaces.unknown_space")
def _():
    return refuses(spec_of, object())


def gym_env(length=3, time_limit=False):
    """A counting environment for either gym API."""
    g = gym()
    new = g.__name__ == "gymnasium"

    class Count(g.Env):
        metadata = {"render_modes": [], "render.modes": []}

        def __init__(self):
            self.observation_space = g.spaces.Box(-10.0, 10.0, (2,), dtype=np.float32)
            self.action_space = g.spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
            self.n = 0

        def reset(self, *, seed=None, options=None):
            self.n = 0
            o = np.zeros(2, np.float32)
            return (o, {"k": 0.0}) if new else o

        def step(self, action):
            self.n += 1
            o, info = np.full(2, self.n, np.float32), {"k": float(self.n)}
            done = self.n >= length
            return (o, 0.5 * self.n, done, False, info) if new else (o, 0.5 * self.n, done, info)

        def seed(self, seed=None):
            return [seed]

    return Count()


@case("gym_wrapper.sequence")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    e = AlfGymWrapper(gym_env())
    return roll(e, 6)


@case("gym_wrapper.specs")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    e = AlfGymWrapper(gym_env(), env_id=7)
    t = e.reset()
    return [
        e.observation_spec(),
        e.action_spec(),
        e.reward_spec(),
        e.is_tensor_based,
        e.batched,
        t.prev_action,
        t.env_id,
        t.observation,
    ]


@case("gym_wrapper.discount")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    return roll(AlfGymWrapper(gym_env(), discount=0.9), 4)


@case("gym_wrapper.env_info")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    e = AlfGymWrapper(gym_env())
    e.reset()
    return [e.env_info_spec(), e.step(ONE).env_info]


@case("gym_wrapper.auto_reset_false")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    e = AlfGymWrapper(gym_env(2), auto_reset=False)
    e.reset()
    out = [int(e.step(ONE).step_type) for _ in range(2)]
    return out + [e.done]


@case("gym_wrapper.prev_action")
def _():
    from alf.environments.alf_gym_wrapper import AlfGymWrapper

    e = AlfGymWrapper(gym_env())
    e.reset()
    return [e.step(ONE).prev_action, e.step(np.array([-0.25], np.float32)).prev_action]
