"""`Hierarchy`: final observations, subsets of environments, files, and evaluation."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from alf_layered import (
    MPPI,
    AlgorithmLevel,
    FlatHierarchy,
    Goal,
    Hierarchy,
    PlannerLevel,
    PlanningSettings,
    RandomHierarchy,
    RandomLevel,
    SacLevel,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
    subgoal,
)
from tests.counting_env import CountingEnv

QUICK = TrainingOptions(mini_batch_size=16, warm_up=10, updates_per_transition=0.25)


def counting(mode: AutoresetMode, lengths: tuple[int, ...] = (3, 3)) -> SyncVectorEnv:
    return SyncVectorEnv([partial(CountingEnv, n) for n in lengths], autoreset_mode=mode)


def records(h: Hierarchy, env_id: int) -> list[list[float]]:
    """What the only level stored of an environment: `[number, step type, reward, discount]`."""
    buffer: Any = h.levels[0]._replay_buffer
    steps, _ = buffer.gather_all()
    step = steps.time_step
    mine = step.env_id[0] == env_id
    columns = (step.observation.observation[..., 0], step.step_type, step.reward, step.discount)
    return torch.stack([c[0][mine].float() for c in columns], 1).tolist()


def roll(h: Hierarchy, env: Any, steps: int, **reset: Any) -> Any:
    obs, _ = env.reset(**reset)
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(h.get_action(obs))
        h.process_transition(obs, reward, terminated, truncated, info)
        if env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED:
            over = terminated | truncated
            if over.any():
                obs, _ = env.reset(options={"reset_mask": over})
    return obs


# Two episodes of three steps: the first terminates, the second is truncated. By hand: number,
# FIRST 0 MID 1 LAST 2, reward, discount (ALF's, 0 where it terminated).
TWO_EPISODES = [
    [0, 0, 0, 1],
    [1, 1, 1, 1],
    [2, 1, 2, 1],
    [3, 2, 3, 0],
    [10, 0, 0, 1],
    [11, 1, 1, 1],
    [12, 1, 2, 1],
    [13, 2, 3, 1],
]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_stored_step_is_of_one_episode(mode: AutoresetMode) -> None:
    env = counting(mode)
    h = FlatHierarchy(env, SacLevel.options(training=QUICK))
    steps = 9 if mode is AutoresetMode.NEXT_STEP else 7  # there a step begins an episode alone
    roll(h, env, steps)
    for env_id in (0, 1):
        assert records(h, env_id)[:8] == TWO_EPISODES
    assert h.n_total_env_steps == 14 if mode is not AutoresetMode.NEXT_STEP else 2 * 7


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_environments_that_end_apart_do_not_touch_each_other(mode: AutoresetMode) -> None:
    env = counting(mode, (3, 5))
    h = FlatHierarchy(env, SacLevel.options(training=QUICK))
    roll(h, env, 12)
    assert records(h, 0)[:8] == TWO_EPISODES
    assert records(h, 1)[:6] == [*([n, int(n > 0), n, 1] for n in range(5)), [5, 2, 5, 0]]


def test_a_single_environment_is_told_of_by_single_values() -> None:
    env = CountingEnv()
    h = FlatHierarchy(env, SacLevel.options(training=QUICK))
    for _ in range(2):
        obs, over = env.reset()[0], False
        while not over:
            action = h.get_action(obs)
            assert action.shape == (1,)
            obs, reward, terminated, truncated, info = env.step(action)
            h.process_transition(obs, reward, terminated, truncated, info)
            over = terminated or truncated
    assert records(h, 0)[:8] == TWO_EPISODES


def test_soft_reset_truncates_what_is_open() -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    h = FlatHierarchy(env, SacLevel.options(training=QUICK))
    roll(h, env, 2)
    h.soft_reset()
    roll(h, env, 1)
    assert records(h, 0)[:3] == [[0, 0, 0, 1], [1, 1, 1, 1], [2, 2, 2, 1]]


def test_the_loop_of_the_documents_runs_as_printed() -> None:
    env = gymnasium.make_vec("Pendulum-v1", num_envs=3)
    hierarchy = FlatHierarchy(env, SacLevel.options(training=QUICK))
    seed, n_vec_steps = 0, 20
    hierarchy.train()
    obs, info = env.reset(seed=seed)
    seen = []
    for _ in range(n_vec_steps):
        with torch.no_grad():
            action = hierarchy.get_action(obs)
            action = action.cpu().numpy()
        obs_next, reward, terminated, truncated, info = env.step(action)
        if "_final_observation" in info:
            obs_next_transition = obs_next.copy()
            for i, env_final_obs in enumerate(info["final_observation"]):
                if env_final_obs is not None:
                    obs_next_transition[i] = env_final_obs
        else:
            obs_next_transition = obs_next
        hierarchy.process_transition(
            obs_next=obs_next_transition, rew=reward, terminated=terminated, truncated=truncated
        )
        hierarchy.learn()
        seen.append(obs_next)
    assert hierarchy.n_total_env_steps == 60
    buffer: Any = hierarchy.levels[0]._replay_buffer
    steps, _ = buffer.gather_all()
    stored = steps.time_step.observation.observation[0][steps.time_step.env_id[0] == 1]
    # The loop never writes obs = obs_next; what arrived is acted on all the same.
    np.testing.assert_array_equal(stored[1:].numpy(), np.stack(seen[:-1])[:, 1])


def test_subsets_of_environments_are_stepped_alone() -> None:
    def rows(h: Hierarchy, chunks: list[list[int]]) -> list[list[list[float]]]:
        envs = [CountingEnv(3) for _ in range(4)]
        obs = np.stack([e.reset()[0] for e in envs])
        for _ in range(5):
            for ids in chunks:
                actions = h.get_action(obs[ids], env_ids=ids)
                out = [envs[i].step(a) for i, a in zip(ids, actions, strict=True)]
                new, reward, terminated, truncated = (
                    np.stack([np.asarray(o[k]) for o in out]) for k in range(4)
                )
                h.process_transition(new, reward, terminated, truncated, env_ids=ids)
                obs[ids] = new
                for i, over in zip(ids, terminated | truncated, strict=True):
                    if over:
                        obs[i] = envs[i].reset()[0]
        return [records(h, i) for i in range(4)]

    env = counting(AutoresetMode.DISABLED, (3,) * 4)
    level = SacLevel.options(training=QUICK)
    together = rows(FlatHierarchy(env, level), [[0, 1, 2, 3]])
    apart = rows(FlatHierarchy(env, level), [[2], [0, 3], [1]])
    assert together == apart
    assert together[2][:4] == TWO_EPISODES[:4]


def test_tensors_come_out_where_tensors_went_in() -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    h = RandomHierarchy(env, seed=1)
    obs, _ = env.reset()
    action = h.get_action(torch.as_tensor(obs))
    assert isinstance(action, torch.Tensor)
    h.process_transition(torch.as_tensor(obs), torch.ones(2), torch.zeros(2), torch.zeros(2))
    assert isinstance(h.get_action(obs), np.ndarray)


def test_hierarchies_in_one_process_do_not_influence_each_other() -> None:
    def alone(seed: int) -> tuple[Hierarchy, Any]:
        env = counting(AutoresetMode.NEXT_STEP)
        return FlatHierarchy(env, SacLevel.options(training=QUICK), seed=seed), env

    def steps(h: Hierarchy, env: Any, obs: Any) -> Any:
        action = h.get_action(obs)
        obs, reward, terminated, truncated, info = env.step(action)
        h.process_transition(obs, reward, terminated, truncated, info)
        h.learn()
        return obs

    (one, env_one), (two, env_two), (lonely, env) = alone(1), alone(2), alone(1)
    outside = torch.get_rng_state()
    seen_one, seen_two, seen = env_one.reset()[0], env_two.reset()[0], env.reset()[0]
    for _ in range(12):
        seen_one, seen_two = steps(one, env_one, seen_one), steps(two, env_two, seen_two)
    for _ in range(12):
        seen = steps(lonely, env, seen)
    assert torch.equal(outside, torch.get_rng_state())
    np.testing.assert_array_equal(seen_one, seen)
    first, other = (next(h.agent.parameters()) for h in (one, two))
    assert not torch.equal(first, other)
    for a, b in zip(one.agent.parameters(), lonely.agent.parameters(), strict=True):
        assert torch.equal(a, b)


SMALL = TDMPC2Settings(
    model=model_of_size("small"),
    planning=PlanningSettings(
        mppi=MPPI(n_samples=8, n_iterations=1, elite_ratio=0.25), n_policy_plans=2
    ),
)
LEARNERS: dict[str, list[Any]] = {
    "sac": [SacLevel.options(training=QUICK)],
    "tdmpc2": [TDMPC2Level.options(training=QUICK, settings=SMALL)],
    "planner": [PlannerLevel.options(training=QUICK)],
    "sac over sac": [
        SacLevel.options(training=QUICK),
        SacLevel.options(training=QUICK, control_interval=2, goal=Goal(radius=0.5)),
    ],
}


@pytest.mark.parametrize("name", LEARNERS)
def test_evaluation_changes_nothing(name: str) -> None:
    def trained(evaluates: bool) -> Hierarchy:
        torch.manual_seed(0)
        env, test_env = counting(AutoresetMode.NEXT_STEP), counting(AutoresetMode.SAME_STEP)
        levels = LEARNERS[name]
        joints = [_two_numbers] if len(levels) > 1 else None
        h = Hierarchy(levels, env, joints=joints, seed=3)
        obs, _ = env.reset()
        for _ in range(10):
            if evaluates:
                roll(h.get_copy(), test_env, 4)
            obs, reward, terminated, truncated, info = env.step(h.get_action(obs))
            h.process_transition(obs, reward, terminated, truncated, info)
            h.learn()
        return h

    never, always = trained(False).state_dict(), trained(True).state_dict()
    assert never["n_total_env_steps"] == always["n_total_env_steps"]
    assert torch.equal(never["run"]["random"], always["run"]["random"])
    _check_same(never["agent"], always["agent"])


def _two_numbers(spec: Any) -> Any:
    return subgoal("it", minimum=-5, maximum=5)({"it": spec})


def _check_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _check_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            _check_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
    else:
        assert one == other


PROGRAM = """
import sys, torch
from gymnasium.vector import AutoresetMode
from alf_layered import Hierarchy
from tests.test_library_hierarchy import counting, _train
h = Hierarchy.load(sys.argv[1], env=counting(AutoresetMode.NEXT_STEP))
_train(h, 6)
torch.save(h.state_dict(), sys.argv[2])
"""


def _train(h: Hierarchy, steps: int) -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    h.soft_reset()
    obs, _ = env.reset()
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(h.get_action(obs))
        h.process_transition(obs, reward, terminated, truncated, info)
        h.learn()


def test_a_fresh_process_goes_on_as_this_one(tmp_path: Path) -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    maps = [None, lambda o: o * 2]
    levels = LEARNERS["sac over sac"]
    h = Hierarchy(levels, env, joints=[_two_numbers], env_obs_maps=maps, seed=4)
    _train(h, 12)
    h.soft_reset()
    h.save(str(tmp_path / "run"), buffers=True)
    _train(h, 6)
    out = tmp_path / "state.pt"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "run"), str(out)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = torch.load(out, weights_only=True)
    _check_same(h.state_dict()["agent"], loaded["agent"])
    assert loaded["n_total_env_steps"] == h.n_total_env_steps


def test_files_of_other_levels_are_refused(tmp_path: Path) -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    RandomHierarchy(env).save(tmp_path)
    with pytest.raises(ValueError, match="of other levels"):
        FlatHierarchy(env).load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"hierarchy\.pt"):
        Hierarchy.load(tmp_path / "none", env=env)
    assert isinstance(Hierarchy.load(tmp_path, env=env).levels[0], RandomLevel)


def test_mistakes_are_named() -> None:
    env = counting(AutoresetMode.SAME_STEP)
    h = FlatHierarchy(env)
    obs, _ = env.reset()
    with pytest.raises(ValueError, match="without get_action"):
        h.process_transition(obs, [0, 0], [False] * 2, [False] * 2)
    h.get_action(obs)
    with pytest.raises(ValueError, match="without process_transition"):
        h.get_action(obs)
    with pytest.raises(ValueError, match="has no 'final_obs'"):
        h.process_transition(obs, [0, 0], [True, False], [False] * 2, {})
    with pytest.raises(ValueError, match="rew is"):
        h.process_transition(obs, [np.nan, 0], [False] * 2, [False] * 2)
    with pytest.raises(ValueError, match="env_ids is"):
        h.process_transition(obs, [0, 0], [False] * 2, [False] * 2, env_ids=[0, 2])
    with pytest.raises(ValueError, match="evaluates only"):
        h.get_copy().train()
    with pytest.raises(TypeError, match="did you mean control_interval"):
        AlgorithmLevel.options(control_intervall=3)
    with pytest.raises(ValueError, match="1 env_obs_maps for 2 levels"):
        Hierarchy([SacLevel, SacLevel], env, env_obs_maps=[None])


def test_a_level_is_looked_at() -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    h = Hierarchy(LEARNERS["sac over sac"], env, joints=[_two_numbers], seed=0)
    roll(h, env, 3)
    h.get_action(env.step(np.zeros((2, 1), dtype=np.float32))[0])
    top, low = h.inspect(1)
    assert torch.equal(low.input, top.decision)
    assert str(h.inspect(1)).splitlines()[0].split() == [
        *("level", "input", "decision", "steps", "held", "decisions", "reward", "so", "far")
    ]
