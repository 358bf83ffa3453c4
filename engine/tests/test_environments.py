"""Time steps at episode ends, batching, processes and wrappers."""

from __future__ import annotations

import functools
import os

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import alf
from alf.data_structures import StepType, TimeStep
from alf.environments import alf_wrappers, suite_unittest
from alf.environments.alf_gym_wrapper import AlfGymWrapper, tensor_spec_from_gym_space
from alf.environments.fast_parallel_environment import FastParallelEnvironment
from alf.environments.parallel_environment import ParallelAlfEnvironment
from alf.environments.process_environment import ProcessEnvironment
from alf.environments.random_alf_environment import RandomAlfEnvironment
from alf.environments.suite_gym import wrap_env
from alf.environments.thread_environment import ThreadEnvironment
from alf.environments.utils import UnwrappedEnvChecker, create_environment
from alf.utils.seeds import independent_seeds

F, M, L = StepType.FIRST, StepType.MID, StepType.LAST


class Teleport(gymnasium.Env):
    """Counts its steps; the final observation is 1000 more, which no other step ever shows.

    The episode ends after `length` steps: by termination, or cut off if `truncate`.
    """

    def __init__(self, length=3, truncate=False):
        self.observation_space = spaces.Box(-1e4, 1e4, (2,), np.float64)
        self.action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)
        self._length, self._truncate = length, truncate
        self._episode = 0
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t = 0
        self._episode += 1
        return self._observation(0), {}

    def step(self, action):
        self.actions.append(np.array(action))
        self._t += 1
        end = self._t == self._length
        info = {"t": self._t, "flag": end, "text": "no number", "TimeLimit.truncated": end}
        terminated, truncated = end and not self._truncate, end and self._truncate
        return self._observation(1000 * end), 10.0 * self._t, terminated, truncated, info

    def _observation(self, extra):
        return np.array([self._t + extra, self.np_random.random()])


class Labelled(Teleport):
    """Also shows its number."""

    def __init__(self, number, length):
        super().__init__(length)
        self._label = number

    def _observation(self, extra):
        del extra
        return np.array([self._label, self._t], np.float64)


def rows(time_step, i):
    """Row i of a batched time step as plain numbers, for comparison."""
    return [np.asarray(x[i]).tolist() for x in alf.nest.flatten(time_step._replace(env_id=()))]


def test_the_last_step_has_the_true_final_observation_and_first_follows():
    env = AlfGymWrapper(Teleport(length=2), env_id=5)
    steps = [env.reset()] + [env.step(np.ones(1, np.float32)) for _ in range(5)]
    assert [int(s.step_type) for s in steps] == [F, M, L, F, M, L]
    assert [s.observation[0] for s in steps] == [0, 1, 1002, 0, 1, 1002]
    assert [s.reward for s in steps] == [0, 10, 20, 0, 10, 20]
    assert [s.discount for s in steps] == [1, 1, 0, 1, 1, 0]
    assert [s.prev_action.tolist() for s in steps] == [[0], [1], [1], [0], [1], [1]]
    assert [s.env_info["t"] for s in steps] == [0, 1, 2, 0, 1, 2]
    assert {int(s.env_id) for s in steps} == {5}
    # the action given at a LAST step goes nowhere (the first action is the constructor's)
    assert len(env.gym.actions) == 1 + 4


def test_an_episode_that_is_cut_off_keeps_its_discount():
    env = AlfGymWrapper(Teleport(length=1, truncate=True), discount=0.9)
    env.reset()
    step = env.step(np.zeros(1, np.float32))
    assert (step.step_type, step.discount) == (L, np.float32(0.9))
    limited = alf_wrappers.TimeLimit(AlfGymWrapper(Teleport(length=5)), 2)
    steps = [limited.reset()] + [limited.step(np.zeros(1, np.float32)) for _ in range(5)]
    assert [int(s.step_type) for s in steps] == [F, M, L, F, M, L]
    assert [s.discount for s in steps] == [1] * 6
    assert steps[2].observation[0] == 2


def test_a_termination_at_the_time_limit_is_a_termination():
    env = alf_wrappers.TimeLimit(AlfGymWrapper(Teleport(length=2)), 2)
    env.reset()
    env.step(np.zeros(1, np.float32))
    step = env.step(np.zeros(1, np.float32))
    assert (step.step_type, step.discount) == (L, 0)


def test_without_auto_reset_a_step_after_the_end_is_an_error():
    env = AlfGymWrapper(Teleport(length=1), auto_reset=False)
    env.reset()
    env.step(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="reset"):
        env.step(np.zeros(1, np.float32))


def test_env_info_has_the_numbers_only_with_fixed_types():
    env = AlfGymWrapper(Teleport())
    assert env.env_info_spec() == {
        "t": alf.TensorSpec(()),  # a float: it may be whole at first and a fraction later
        "flag": alf.TensorSpec((), torch.bool),
    }


class LateInfo(Teleport):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, ({"late": 1.0} if info["flag"] else {"t": 3})


def test_info_that_is_missing_is_zero_and_info_that_appears_later_is_left_out():
    env = AlfGymWrapper(LateInfo(length=2))
    env.reset()
    assert env.step(np.zeros(1, np.float32)).env_info == {"t": 3}
    assert env.step(np.zeros(1, np.float32)).env_info == {"t": 0}
    assert env.get_info() == {"late": 1.0}


def test_specs_follow_the_spaces():
    space = spaces.Dict(
        {
            "box": spaces.Box(np.array([-1.0, -2.0]), np.array([1.0, 2.0]), dtype=np.float64),
            "image": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "pair": spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiDiscrete([2, 4])]),
            "bits": spaces.MultiBinary(3),
        }
    )
    bounded = alf.BoundedTensorSpec
    assert tensor_spec_from_gym_space(space) == {
        "box": bounded((2,), torch.float32, [-1, -2], [1, 2]),
        "image": bounded((4, 5, 3), torch.uint8, 0, 255),
        "pair": (bounded((), torch.int64, 1, 3), bounded((2,), torch.int64, 0, [1, 3])),
        "bits": bounded((3,), torch.int8, 0, 1),
    }
    assert tensor_spec_from_gym_space(space["box"], float_dtype=np.float64).dtype == torch.float64
    assert tensor_spec_from_gym_space(space["image"]).minimum.shape == ()
    full = tensor_spec_from_gym_space(space["image"], simplify_box_bounds=False)
    assert full.minimum.shape == (4, 5, 3)
    with pytest.raises(ValueError, match="Text"):
        tensor_spec_from_gym_space(spaces.Text(3))


class Nested(gymnasium.Env):
    """Nested spaces, an action that has to be in bounds, a reward of two components."""

    def __init__(self):
        self.observation_space = spaces.Dict(
            {"a": spaces.Discrete(100), "b": spaces.Tuple([spaces.Box(-1, 1, (2,))] * 2)}
        )
        self.action_space = spaces.Dict(
            {"move": spaces.Box(1.0, 2.0, (2,)), "pick": spaces.Discrete(3)}
        )
        self.reward_space = spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self._observation(action), np.array([1.0, 2.0]), False, False, {}

    def _observation(self, action):
        return {"a": action["pick"], "b": (action["move"] / 2, -action["move"] / 2)}


def test_nested_spaces_keep_their_structure_through_batching():
    env = alf_wrappers.TensorWrapper(
        alf_wrappers.BatchEnvironmentWrapper([AlfGymWrapper(Nested()) for _ in range(2)])
    )
    env.reset()
    move = torch.tensor([[1.0, 2.0], [1.5, 1.0]])
    step = env.step({"move": move, "pick": torch.tensor([0, 2])})
    assert step.observation["a"].tolist() == [0, 2]
    assert torch.equal(step.observation["b"][1], -move / 2)
    assert step.reward.tolist() == [[1, 2], [1, 2]]
    assert env.reward_spec() == alf.TensorSpec((2,))
    assert torch.equal(step.prev_action["move"], move)
    assert step.env_id.tolist() == [0, 1]


@pytest.mark.parametrize("value", [2.001, -2.1, np.nan])
def test_an_action_outside_its_bounds_is_refused(value):
    env = AlfGymWrapper(Teleport())
    env.reset()
    env.step(np.array([2.00005], np.float32))
    with pytest.raises(ValueError, match=r"-2\.0 to 2\.0") as error:
        env.step(np.array([value], np.float32))
    assert str(np.float32(value))[:4] in str(error.value)


def test_an_option_that_does_not_exist_is_refused():
    env = create_environment("CartPole-v1", num_parallel_environments=2)
    env.reset()
    with pytest.raises(ValueError, match=r"2 is outside its bounds.*0 to 1"):
        env.step(torch.tensor([0, 2]))


def load_teleport(name, env_id=None, lengths=(3,)):
    del name
    length = lengths[env_id % len(lengths)]
    return wrap_env(Teleport(length, truncate=env_id % 2 == 1), env_id)


def walk(env, num_steps, actions):
    """`num_steps` time steps from the reset on."""
    steps = [env.reset()]
    for t in range(num_steps - 1):
        steps.append(env.step(actions[t]))
    return steps


CTORS = [FastParallelEnvironment, ParallelAlfEnvironment]


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("ctor", CTORS)
def test_batched_environments_equal_each_one_stepped_alone(num_envs, ctor):
    load = functools.partial(load_teleport, lengths=(2, 3, 1, 7, 4))
    actions = torch.rand(20, num_envs, 1)
    with create_environment(
        "x", load, num_parallel_environments=num_envs, parallel_environment_ctor=ctor, seed=11
    ) as env:
        assert (env.batched, env.is_tensor_based, env.batch_size) == (True, True, num_envs)
        together = walk(env, 20, actions)
        assert env.current_time_step() is together[-1]
    for i in range(num_envs):
        alone = load("x", env_id=i)
        alone.seed(independent_seeds(11, num_envs)[i])
        for batch, single in zip(together, walk(alone, 20, actions[:, i].numpy()), strict=True):
            assert batch.env_id[i] == i == single.env_id
            single = alf.nest.map_structure(lambda x: np.asarray(x)[None], single)
            assert rows(batch, i) == rows(single, 0)
    assert together[0].step_type.dtype == together[0].env_id.dtype == torch.int32
    assert together[0].reward.dtype == together[0].discount.dtype == torch.float32


@pytest.mark.parametrize("ctor", CTORS)
def test_seeds_reproduce_a_run_and_environments_differ(ctor):
    def first_steps(seed):
        with create_environment(
            "Pendulum-v1", num_parallel_environments=2, parallel_environment_ctor=ctor, seed=seed
        ) as env:
            return [s.observation for s in walk(env, 4, torch.zeros(4, 2, 1))]

    a, b, c = first_steps(1), first_steps(1), first_steps(2)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    firsts = [tuple(row.tolist()) for first in (a[0], c[0]) for row in first]
    assert len(set(firsts)) == 4  # no environment of seed 1 begins as one of seed 2


def test_time_steps_are_not_written_to_by_later_ones():
    env = create_environment("Pendulum-v1", num_parallel_environments=3, seed=0)
    step = env.reset()
    before = alf.nest.map_structure(torch.clone, step)
    for _ in range(3):
        env.step(torch.ones(3, 1))
    alf.nest.map_structure(torch.testing.assert_close, step, before)


class Failing(Teleport):
    def step(self, action):
        if self._t >= 1 and self._episode > 1:
            if self._truncate:
                os._exit(3)
            raise KeyError("no such wheel")
        return super().step(action)


def load_failing(name, env_id, dies=False):
    return wrap_env(Failing(5, truncate=dies), env_id)


def test_what_goes_wrong_in_a_process_is_raised_with_its_traceback():
    constructor = functools.partial(load_failing, "x")
    with ParallelAlfEnvironment([constructor] * 2) as env:
        env.reset()
        env.step(torch.zeros(2, 1))
        with pytest.raises(RuntimeError, match="environment 0 failed") as error:
            env.step(torch.zeros(2, 1))
    assert "KeyError: 'no such wheel'" in str(error.value)
    assert "raise KeyError" in str(error.value)


def test_a_process_that_dies_is_an_error_not_a_hang():
    with ParallelAlfEnvironment([functools.partial(load_failing, "x", dies=True)]) as env:
        env.reset()
        env.step(torch.zeros(1, 1))
        with pytest.raises(RuntimeError, match="exit code 3"):
            env.step(torch.zeros(1, 1))
        with pytest.raises(RuntimeError, match="exit code 3"):
            env.step(torch.zeros(1, 1))


def test_a_constructor_that_fails_in_a_process_is_an_error_and_leaves_no_process():
    def constructor(env_id):
        raise FileNotFoundError(f"no model for {env_id}")

    for start_serially in (True, False):
        with pytest.raises(RuntimeError, match="no model for 0"):
            ParallelAlfEnvironment([constructor] * 2, start_serially=start_serially)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_processes_can_be_started_afresh(start_method):
    # a function inside a function travels by value, and needs nothing of this file there
    def constructor(env_id):
        import gymnasium

        from alf.environments.suite_gym import wrap_env

        return wrap_env(gymnasium.make("Pendulum-v1"), env_id)

    with FastParallelEnvironment([constructor], start_method=start_method, flatten=False) as env:
        assert env.reset().is_first().all()
        env.sync_progress()
        assert env.step(torch.zeros(1, 1)).is_mid().all()
        assert env.num_tasks == 1


def test_environments_that_differ_cannot_be_batched():
    def load(name, env_id):
        return AlfGymWrapper(Nested() if env_id else Teleport())

    for ctor in CTORS:
        with pytest.raises(ValueError, match="same observation_spec"):
            create_environment(
                "x", load, num_parallel_environments=2, parallel_environment_ctor=ctor
            )


# ---------------------------------------------------------------------------------------------
# create_environment


def test_a_batched_load_function_is_called_once_with_the_batch_size():
    calls = []

    def load(name, batch_size, num_parallel_environments):
        calls.append((name, batch_size, num_parallel_environments))
        return suite_unittest.ValueUnittestEnv(batch_size, 3)

    load.batched = True
    partial = functools.partial(load)
    assert create_environment("x", partial, num_parallel_environments=4).batch_size == 4
    assert create_environment("x", load, nonparallel=True).batch_size == 1
    assert calls == [("x", 4, 4), ("x", 1, 1)]


def test_processes_hold_several_environments_each_that_equal_those_stepped_here():
    load = functools.partial(load_teleport, lengths=(2, 3, 1, 7, 4, 2))
    actions = torch.rand(12, 6, 1)
    seen = []
    for options in (
        {"batch_size_per_env": 3},
        {"batch_size_per_env": 5, "eval_batch_size_per_env": 2, "for_evaluation": True},
        {"batch_size_per_env": 4, "for_evaluation": True},  # 2 of them, as 4 does not divide 6
        {},
    ):
        with create_environment("x", load, num_parallel_environments=6, seed=11, **options) as env:
            seen.append((len(env.envs), walk(env, 12, actions)))
            assert (env.batched, env.is_tensor_based, env.batch_size) == (True, True, 6)
            if "batch_size_per_env" in options:
                with pytest.raises(ValueError, match="6 environments but 3 seeds"):
                    env.seed([1, 2, 3])
                with pytest.raises(ValueError, match="6 environments but 4 actions"):
                    env.step(actions[0, :4])
    assert [num for num, _ in seen] == [2, 3, 3, 6]  # the last ones are no processes
    for _, steps in seen[:3]:
        for ours, alone in zip(steps, seen[3][1], strict=True):
            alf.nest.map_structure(torch.testing.assert_close, ours, alone)


def test_a_process_can_be_fast_and_hold_several_environments():
    def make(env_id):
        return suite_unittest.ValueUnittestEnv(2, 3)

    actions = torch.zeros(4, 2, dtype=torch.int64).numpy()
    seen = []
    for fast in (False, True):
        env = ProcessEnvironment(make, env_id=0, fast=fast, num_envs=2)
        env.start()
        seen.append([env.reset(), *(env.step(action) for action in actions)])
        env.close()
    assert [s.step_type.tolist() for s in seen[1]] == [[F, F], [M, M], [L, L], [F, F], [M, M]]
    for plain, fast in zip(*seen, strict=True):
        assert (plain.reward == fast.reward).all()
    env = ProcessEnvironment(make, env_id=0, num_envs=3)
    with pytest.raises(ValueError, match="num_envs=3, but a batch of 2 was made"):
        env.start()


@pytest.mark.parametrize("flatten", [True, False])
def test_a_batched_load_function_is_called_in_each_process(flatten):
    def load(name, batch_size, env_id):
        assert batch_size == 2
        return suite_unittest.ValueUnittestEnv(batch_size, 3 + env_id)

    load.batched = True
    with create_environment(
        "x", load, num_parallel_environments=4, batch_size_per_env=2, flatten=flatten
    ) as env:
        steps = walk(env, 5, torch.zeros(5, 4, dtype=torch.int64))
        assert (len(env.envs), env.batch_size) == (2, 4)
    step_types = [s.step_type.tolist() for s in steps[2:]]
    assert step_types == [[L, L, M, M], [F, F, L, L], [M, M, F, F]]
    assert steps[1].env_id.tolist() == [0, 1, 2, 3]


def test_a_spare_environment_takes_the_place_of_one_whose_episode_is_over():
    """Numbers of 3 + 1 environments, from their first observations, with episodes of 2, 4, 4, 2."""

    def load(name, env_id):
        return wrap_env(Labelled(env_id, (2, 4, 4, 2)[env_id]))

    with create_environment(
        "x", load, num_parallel_environments=3, num_spare_envs=1, seed=7
    ) as env:
        steps = walk(env, 8, torch.zeros(8, 3, 1))
        assert env.num_spare_envs_for_reload == 1
        env.sync_progress()
        assert env.call_envs_with_same_args("batched") == [False] * 3
        env.seed([7, 8, 9])
        again = walk(env, 2, torch.zeros(2, 3, 1))
    numbers = [s.observation[:, 0].int().tolist() for s in steps]
    # 0 ends at step 2 and 3 takes over, ends at step 5 and gives back to 0; 1 and 2 end at step 4,
    # where 1 is followed by the waiting 0 and 2 by 1.
    assert numbers == [
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2],
        [3, 1, 2],
        [3, 1, 2],
        [3, 0, 1],
        [2, 0, 1],
        [2, 0, 1],
    ]
    assert [s.step_type.tolist() for s in steps[3:7]] == [
        [F, M, M],
        [M, L, L],
        [L, F, F],
        [F, M, M],
    ]
    assert steps[6].env_id.tolist() == [0, 1, 2]
    assert again[0].is_first().all()


def test_a_load_function_may_name_its_second_parameter_as_it_likes_or_have_none():
    seen = []

    def load(name, number):
        seen.append(number)
        return wrap_env(Teleport())

    create_environment("x", load, num_parallel_environments=3)
    assert seen == [0, 1, 2]
    env = create_environment("x", lambda name: wrap_env(Teleport()), num_parallel_environments=2)
    assert env.reset().env_id.tolist() == [0, 1]


def test_numpy_based_batched_environments_become_tensor_based():
    spec = alf.TensorSpec((2,))

    def load(name, batch_size, env_id):
        return RandomAlfEnvironment(spec, alf.BoundedTensorSpec((1,)), batch_size=batch_size)

    load.batched = True
    env = create_environment("x", load, num_parallel_environments=3, seed=3)
    assert isinstance(env.reset().observation, torch.Tensor)
    assert env.step(torch.zeros(3, 1)).observation.shape == (3, 2)


def test_evaluation_has_its_own_load_function_and_wrappers_come_last():
    wrapped = []

    def wrapper(env):
        wrapped.append(env.batch_size)
        return env

    def fail(name):
        raise AssertionError("evaluation has its own load function")

    env = create_environment(
        "Pendulum-v1",
        env_load_fn=fail,
        eval_env_load_fn=load_teleport,
        for_evaluation=True,
        nonparallel=True,
        num_parallel_environments=9,
        batched_wrappers=(wrapper,),
        seed=0,
    )
    assert env.reset().observation.shape == (1, 2)
    assert wrapped == [1]


def test_several_names_make_a_multitask_environment():
    def load(name, env_id):
        return AlfGymWrapper(Teleport(length=int(name)), env_id)

    env = create_environment(["1", "3"], load, num_parallel_environments=2)
    assert (env.num_tasks, env.task_names) == (2, ["1", "3"])
    env.reset()
    action = {"task_id": torch.tensor([1, 0]), "action": torch.zeros(2, 1)}
    steps = [env.step(action) for _ in range(5)]
    # the action chooses at once: episodes of three steps, and of one
    assert [s.step_type.tolist() for s in steps] == [[M, L], [M, F], [L, L], [F, F], [M, L]]
    tasks = [s.prev_action["task_id"].tolist() for s in steps]
    assert tasks == [[1, 0], [1, 0], [1, 0], [0, 0], [1, 0]]
    assert steps[0].env_id.tolist() == [0, 1]


def test_each_task_of_a_multitask_environment_has_a_seed_of_its_own():
    given = []

    def load(name, env_id):
        env = AlfGymWrapper(Teleport(length=int(name)), env_id)
        env.seed = given.append
        return env

    for seed in (0, 1):
        create_environment(["1", "3", "2"], load, num_parallel_environments=2, seed=seed)
    assert len(set(given)) == len(given) == 2 * 2 * 3


def test_tasks_change_in_the_middle_of_an_episode_and_wait_where_they_are():
    envs = [AlfGymWrapper(Teleport(length=n)) for n in (3, 2)]
    env = alf_wrappers.MultitaskWrapper(envs, ["a", "b"])
    env.reset()
    move = np.zeros(1, np.float32)
    steps = [env.step({"task_id": np.int64(task), "action": move}) for task in (1, 0, 0, 1, 0, 0)]
    # b's 1st step, a's 1st and 2nd, b's 2nd ends; after an end the chosen task begins anew
    assert [int(s.step_type) for s in steps] == [M, M, M, L, F, M]
    assert [len(e.gym.actions) for e in envs] == [1 + 2 + 1, 1 + 2]
    with pytest.raises(ValueError, match="different from each other"):
        alf_wrappers.MultitaskWrapper(envs, ["a", "a"])
    loaded = alf_wrappers.MultitaskWrapper.load(
        lambda name, length: AlfGymWrapper(Teleport(length=length)), ["a", "b"], length=2
    )
    assert loaded.task_names == ["a", "b"]


def test_a_curriculum_chooses_tasks_and_hides_them():
    def load(name, env_id):
        return AlfGymWrapper(Teleport(length=int(name)), env_id)

    env = create_environment(
        ["1", "2"],
        load,
        num_parallel_environments=4,
        batched_wrappers=(functools.partial(alf_wrappers.CurriculumWrapper, warmup_period=2),),
        seed=0,
    )
    assert env.action_spec() == load("1", 0).action_spec()
    step = env.reset()
    lengths, ended = set(), 0
    for _ in range(30):
        spec = alf.nest.map_structure(lambda s: s.shape, env.env_info_spec())
        assert alf.nest.map_structure(lambda x: x.shape[1:], step.env_info) == spec
        last, info = step.is_last(), step.env_info
        lengths |= set(info["t"][last].tolist())
        if last.any():
            prob = torch.stack(list(info["curriculum_task_prob"].values()))
            torch.testing.assert_close(prob.sum(0), last.float())
            counts = sum(x[last] for x in info["curriculum_task_count"].values())
            ended += int(last.sum())
            assert counts.tolist() == [ended] * int(last.sum())
        step = env.step(torch.zeros(4, 1))
    assert lengths == {1, 2}
    assert ended > 20


@pytest.mark.parametrize(
    "options",
    [
        {"num_parallel_environments": 2, "batch_size_per_env": 2, "num_spare_envs": 1},
        {"num_spare_envs": -1},
        {"num_parallel_environments": 0},
        {"num_parallel_environments": 3, "batch_size_per_env": 2},
    ],
)
def test_options_that_are_not_supported_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(reversed(options))):
        create_environment("Pendulum-v1", **options)


def test_only_one_environment_of_a_kind_may_be_in_this_process():
    checker = UnwrappedEnvChecker()
    checker.check_and_update(wrap_with_process=True)
    checker.check_and_update(wrap_with_process=False)
    with pytest.raises(ValueError, match="only one is allowed"):
        checker.check_and_update(wrap_with_process=True)


# ---------------------------------------------------------------------------------------------
# Wrappers


def test_a_single_environment_becomes_a_batch_of_one():
    env = alf_wrappers.BatchedTensorWrapper(AlfGymWrapper(Teleport(), env_id=3))
    env.reset()
    step = env.step(torch.ones(1, 1))
    assert step.observation.shape == (1, 2)
    assert (step.prev_action.tolist(), step.env_id.tolist()) == ([[1.0]], [3])
    assert env.gym.actions[-1] == 1


def test_first_episodes_can_have_random_lengths():
    lengths = set()
    for seed in range(30):
        env = alf_wrappers.RandomFirstEpisodeLength(AlfGymWrapper(Teleport(length=9)), 3)
        env.seed(seed)
        env.reset()
        ends = [t for t in range(1, 20) if env.step(np.zeros(1, np.float32)).is_last()]
        lengths.add(ends[0])
        assert ends[1] == ends[0] + 10
    assert lengths == {1, 2, 3}


def test_the_agent_can_be_made_to_bootstrap_at_terminations():
    env = alf_wrappers.NonEpisodicAgent(AlfGymWrapper(Teleport(length=1)), discount=0.5)
    env.reset()
    step = env.step(np.zeros(1, np.float32))
    assert (step.step_type, step.discount, step.discount.dtype) == (L, 0.5, np.float32)
    batch = create_environment(
        "x",
        load_teleport,
        num_parallel_environments=2,
        batched_wrappers=[alf_wrappers.NonEpisodicAgent],
    )
    steps = walk(batch, 4, torch.zeros(4, 2, 1))
    assert steps[3].is_last().all()
    assert steps[3].discount.tolist() == [1, 1]


def test_reward_vectors_become_weighted_sums():
    env = alf_wrappers.ScalarRewardWrapper(AlfGymWrapper(Nested()), [2.0, 3.0])
    env.reset()
    step = env.step({"move": np.ones(2, np.float32), "pick": np.int64(0)})
    assert step.reward == 8
    assert env.reward_spec() == alf.TensorSpec(())
    first = alf_wrappers.ScalarRewardWrapper(AlfGymWrapper(Nested()))
    first.reset()
    assert first.step({"move": np.ones(2, np.float32), "pick": np.int64(0)}).reward == 1
    with pytest.raises(ValueError, match="vector"):
        alf_wrappers.ScalarRewardWrapper(AlfGymWrapper(Teleport()))


def test_the_previous_action_can_be_observed():
    env = alf_wrappers.ActionObservationWrapper(AlfGymWrapper(Teleport()))
    assert env.reset().observation["prev_action"].tolist() == [0]
    assert env.step(np.ones(1, np.float32)).observation["prev_action"].tolist() == [1]
    assert env.time_step_spec().observation["prev_action"] == env.action_spec()


def test_actions_can_be_normalized_in_a_single_and_in_a_batched_environment():
    single = alf_wrappers.NormalizedActionWrapper(AlfGymWrapper(Teleport()))
    single.reset()
    step = single.step(np.array([0.5], np.float32))
    assert single.gym.actions[-1] == 1.0
    assert step.prev_action.tolist() == [0.5]
    inner = alf_wrappers.BatchedTensorWrapper(AlfGymWrapper(Teleport(length=1)))
    batched = alf_wrappers.NormalizedActionWrapper(inner)
    assert batched.action_spec() == alf.BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
    batched.reset()
    steps = [batched.step(torch.tensor([[-1.0]])) for _ in range(2)]
    assert inner.gym.actions[-1] == -2.0
    assert [s.prev_action.tolist() for s in steps] == [[[-1.0]], [[0.0]]]


def test_continuous_actions_can_be_offered_as_a_grid():
    env = alf_wrappers.DiscreteActionWrapper(AlfGymWrapper(Teleport()), 5)
    assert env.action_spec() == alf.BoundedTensorSpec((), torch.int64, 0, 4)
    env.reset()
    for i, value in enumerate([-2, -1]):
        step = env.step(np.int64(i))
        assert env.gym.actions[-1] == value
        assert step.prev_action == i


def test_correlated_noise_stays_in_bounds_and_starts_anew():
    inner = AlfGymWrapper(Teleport(length=3))
    env = alf_wrappers.TemporallyCorrelatedNoiseWrapper(inner, sigma=1.0)
    env.seed(0)
    env.reset()
    for _ in range(11):
        assert env.step(np.zeros(1, np.float32)).prev_action.tolist() == [0]
    noise = np.array(env.gym.actions[1:])[:, 0].reshape(3, 3)
    assert (np.abs(noise) <= 2).all()
    assert len(np.unique(noise)) > 6


def test_noise_is_of_this_and_the_previous_step_and_does_not_add_up():
    inner = AlfGymWrapper(Teleport(length=10_000))
    env = alf_wrappers.TemporallyCorrelatedNoiseWrapper(inner, sigma=0.1, past_noise_weight=0.5)
    env.seed(0)
    env.reset()
    for _ in range(4000):
        env.step(np.zeros(1, np.float32))
    noise = np.array(env.gym.actions[1:])[:, 0]
    # d_t + 0.5 d_{t-1}: variance 1.25 sigma^2, covariance 0.5 at lag 1 and 0 at lag 2
    assert np.var(noise) == pytest.approx(0.0125, rel=0.1)
    lags = [np.mean(noise[k:] * noise[:-k]) / 0.01 for k in (1, 2, 5)]
    assert lags == pytest.approx([0.5, 0, 0], abs=0.06)


def test_a_time_limit_takes_tensors_of_one_row():
    limited = alf_wrappers.TimeLimit(
        alf_wrappers.BatchedTensorWrapper(AlfGymWrapper(Teleport(length=9))), 2
    )
    steps = walk(limited, 4, torch.zeros(4, 1, 1))
    assert [s.step_type.tolist() for s in steps] == [[F], [M], [L], [F]]
    assert steps[2].discount.tolist() == [1]
    with pytest.raises(ValueError, match="batch_size=2"):
        alf_wrappers.TimeLimit(suite_unittest.ValueUnittestEnv(2, 3), 2)


def test_a_thread_environment_takes_actions_with_and_without_a_batch_axis():
    env = ThreadEnvironment(lambda: AlfGymWrapper(Teleport()))
    env.reset()
    for action in (torch.ones(1), torch.ones(1, 1)):
        assert env.step(action).prev_action.tolist() == [[1.0]]
    env.seed(5)
    with pytest.raises(ValueError, match="2 seeds"):
        env.seed([1, 2])


def test_there_is_no_info_before_the_first_reset():
    env = AlfGymWrapper(Teleport())
    assert env.get_info() is None
    env.reset()
    assert env.get_info() is not None


def test_a_profiler_reports_every_few_steps():
    reports = []
    env = alf_wrappers.PerformanceProfiler(AlfGymWrapper(Teleport()), reports.append, 3)
    walk(env, 8, np.zeros((8, 1), np.float32))
    assert len(reports) == 2
    assert env.duration > 0


class Lives(Teleport):
    class Ale:
        left = 3

        def lives(self):
            return self.left

    def __init__(self):
        super().__init__(length=6)
        self.ale = self.Ale()

    def reset(self, **kwargs):
        self.ale.left = 3
        return super().reset(**kwargs)

    def step(self, action):
        self.ale.left -= self._t % 2  # every second step costs a life
        return super().step(action)


def test_a_lost_life_ends_the_episode_but_not_the_game():
    env = alf_wrappers.AtariTerminalOnLifeLossWrapper(AlfGymWrapper(Lives()))
    steps = walk(env, 11, np.zeros((11, 1), np.float32))
    assert [int(s.step_type) for s in steps] == [F, M, L, F, M, L, F, M, L, F, M]
    assert [s.observation[0] for s in steps] == [0, 1, 2, 2, 3, 4, 4, 5, 1006, 0, 1]
    assert [s.discount for s in steps][:4] == [1, 1, 0, 1]
    assert [s.reward for s in steps][:5] == [0, 10, 20, 0, 30]


# ---------------------------------------------------------------------------------------------
# Environments for tests


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("tensors", [False, True])
def test_random_environments_obey_the_order_of_step_types(batch_size, tensors):
    spec = {"a": alf.TensorSpec((2,)), "b": alf.BoundedTensorSpec((), torch.int64, 1, 3)}
    env = RandomAlfEnvironment(
        spec,
        alf.BoundedTensorSpec((1,)),
        batch_size=batch_size,
        episode_end_probability=0.5,
        min_duration=2,
        max_duration=4,
        use_tensor_time_step=tensors,
    )
    shape = () if batch_size is None else (batch_size,)
    action = (torch.ones if tensors else np.ones)((*shape, 1))
    steps = walk(env, 60, [action] * 60)
    assert isinstance(steps[0], TimeStep)
    assert steps[0].observation["a"].shape == (*shape, 2)
    types = np.array([np.asarray(s.step_type).reshape(-1) for s in steps])
    for column in types.T:
        starts = np.flatnonzero(column == F)
        assert set(np.diff(starts)) <= {3, 4, 5}
        assert (column[starts[1:] - 1] == L).all()
    discounts = np.array([np.asarray(s.discount).reshape(-1) for s in steps])
    assert ((discounts == 0) == (types == L)).all()


def test_the_policy_environment_rewards_the_shown_action():
    env = create_environment(
        "PolicyUnittestEnv", suite_unittest.load, num_parallel_environments=8, seed=0
    )
    step = env.reset()
    for _ in range(12):
        shown = step.observation[:, 0].long()
        step = env.step(shown)
        assert (step.reward == (~step.is_first()).float()).all()


def test_the_memory_environment_rewards_what_was_shown_at_first():
    env = suite_unittest.RNNPolicyUnittestEnv(6, 6, gap=2)
    first = env.reset()
    wanted = (first.observation[:, 0] > 0).long()
    steps = [env.step(wanted) for _ in range(5)]
    assert [s.reward.tolist() for s in steps] == [[0.0] * 6] * 2 + [[1.0] * 6] * 3
    assert steps[-1].is_last().all()
    assert env.step(wanted).is_first().all()


def test_environments_of_the_value_test_give_one_each_step():
    env = suite_unittest.ValueUnittestEnv(2, 3, reward_dim=2)
    assert env.reset().reward.tolist() == [[1, 1], [1, 1]]
    assert env.step(torch.zeros(2)).reward.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ValueError, match="allowed"):
        suite_unittest.load("NoSuchEnv")


def test_pairs_of_actions_are_rewarded_where_they_agree():
    env = suite_unittest.MixedPolicyUnittestEnv(3, 10, obs_dim=4)
    assert env.reset().observation.shape == (3, 4)
    options = torch.tensor([0, 1, 1])
    step = env.step([options, torch.tensor([[0.2], [0.9], [0.1]])])
    assert step.reward.tolist() == [1, 1, 0]
    assert [len(env.action_spec()), env.action_spec()[1].maximum] == [2, 1.0]


@pytest.mark.parametrize("name", ["Value", "Policy", "MixedPolicy", "RNNPolicy"])
def test_an_episode_has_as_many_time_steps_as_it_is_long(name):
    env = suite_unittest.load(f"{name}UnittestEnv", batch_size=2, episode_length=4)
    action = alf.nest.map_structure(lambda s: s.zeros((2,)), env.action_spec())
    kinds = [int(env.reset().step_type[0])] + [int(env.step(action).step_type[0]) for _ in range(5)]
    assert kinds == [F, M, M, L, F, M]


def test_the_observation_may_be_a_list_of_two():
    env = suite_unittest.PolicyUnittestEnv(3, 4, nested_observation=True, reward_dim=2)
    step = env.reset()
    assert len(env.observation_spec()) == 2
    step = env.step(step.observation[1].long().reshape(3))
    assert step.reward.tolist() == [[1, 1]] * 3
    assert torch.equal(*step.observation)
