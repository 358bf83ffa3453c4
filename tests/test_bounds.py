"""What a level decides lies in its spec, and what is stored is what was executed."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.ppo_algorithm import PPOAlgorithm
from alf.algorithms.ppo_loss import PPOLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import AlgStep, TimeStep
from alf.nest.utils import NestConcat
from alf.networks import ActorDistributionNetwork, NormalProjectionNetwork, ValueNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    MPPI,
    AlgorithmLevel,
    DADSLevel,
    DIAYNLevel,
    HierarchyAgent,
    OnPolicyOptions,
    PlannerLevel,
    PlanningSettings,
    RandomLevel,
    SacLevel,
    SkillOptions,
    SPlaTESLevel,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
    skill,
    subgoal,
)
from alf_layered.environments import gymnasium_loader, maze2d_alf
from alf_layered.hierarchy.bounds import Bounds
from alf_layered.hierarchy.level import Level
from alf_layered.skills.priors import BoxPrior
from tests.skill_points import Points, skill_agent
from tests.small_learners import LEARNERS, small_config

UNEVEN = BoundedTensorSpec((2,), minimum=(-0.5, 0.0), maximum=(0.5, 2.0))
SMALL = TDMPC2Settings(
    model=model_of_size("small"),
    planning=PlanningSettings(mppi=MPPI(n_samples=32, n_iterations=1)),
)
OPTIONS = TrainingOptions(
    mini_batch_size=32, replay_buffer_length=64, warm_up=0, updates_per_transition=0.25
)


def test_actions_are_clipped_leaf_by_leaf() -> None:
    spec = {
        "even": BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0),
        "uneven": UNEVEN,
        "free": TensorSpec((1,)),
        "index": BoundedTensorSpec((), torch.int64, 0, 2),
    }
    action = {
        "even": torch.tensor([[3.0, -0.25], [-2.0, torch.nan]]),
        "uneven": torch.tensor([[9.0, 9.0], [-9.0, -9.0]]),
        "free": torch.tensor([[7.0], [-7.0]]),
        "index": torch.tensor([2, 0]),
    }
    clipped = Bounds(spec).clip(action)
    nan = torch.nan
    torch.testing.assert_close(
        clipped["even"], torch.tensor([[1.0, -0.25], [-1.0, nan]]), equal_nan=True
    )
    assert clipped["uneven"].tolist() == [[0.5, 2.0], [-0.5, 0.0]]
    assert clipped["free"].tolist() == [[7.0], [-7.0]]
    assert clipped["index"].tolist() == [2, 0]


# ---- at the joints ----


class WildLevel(Level):
    """Decides for `wild` everywhere, whatever its bounds are."""

    wild = 100.0

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        rows = inputs.step_type.shape[0]
        output = torch.full((rows, *self.action_spec.shape), self.wild)
        return AlgStep(output=output, state=state)


class CostlyWildLevel(WildLevel):
    active_rows_only = True


class Arena(gymnasium.Env):
    """Actions in uneven bounds, which it checks; ends after 5 steps."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Box(
        np.array([-0.5, 0.0], np.float32), np.array([0.5, 2.0], np.float32), dtype=np.float32
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action), action
        self.steps += 1
        observation = np.full(3, 0.1 * self.steps, np.float32)
        return observation, float(action.sum()), False, self.steps == 5, {}


def _inside(action: torch.Tensor, spec: BoundedTensorSpec) -> bool:
    low, high = torch.as_tensor(spec.minimum), torch.as_tensor(spec.maximum)
    return bool(((action >= low) & (action <= high)).all())


def _run(levels: list[Any], joints: list[Any], iterations: int) -> HierarchyAgent:
    """Trains on `Arena`, which refuses actions outside its bounds."""
    env = gymnasium_loader.load(Arena, batch_size=4)
    agent = HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=levels,
        joints=joints,
        env=env,
        config=small_config(),
    )
    for _ in range(iterations):
        agent.train_iter()
    return agent


def _stored(agent: HierarchyAgent, index: int) -> Any:
    buffer = agent.levels[index]._replay_buffer
    return buffer.gather_all(ignore_earliest_frames=True)[0]


@pytest.mark.parametrize("kind", [WildLevel, CostlyWildLevel])
@pytest.mark.parametrize("method", ["rollout_step", "predict_step"])
def test_a_level_that_decides_outside_its_spec_is_clipped_at_every_joint(
    kind: type[Level], method: str
) -> None:
    below = [partial(kind, control_interval=2, name=name) for name in ("middle", "bottom")]
    levels = [partial(kind, name="top"), *below]
    agent = HierarchyAgent(TensorSpec((3,)), UNEVEN, levels=levels, joints=[skill(2), UNEVEN])
    step = gymnasium_loader.load(Arena, batch_size=3).reset()
    state = agent.get_initial_rollout_state(3)
    for _ in range(4):
        result = getattr(agent, method)(step, state)
        state = result.state
        assert state[0].decision.tolist() == [[1.0, 1.0]] * 3
        assert state[1].decision.tolist() == [[0.5, 2.0]] * 3
        assert result.output.tolist() == [[0.5, 2.0]] * 3
        step = step._replace(step_type=torch.ones_like(step.step_type))


def _default_sac(**options: Any) -> partial:
    return partial(SacLevel, optimizer=Adam(lr=1e-3), training=OPTIONS, **options)


def _default_ppo(**options: Any) -> partial:
    networks = {
        "actor_network_ctor": partial(ActorDistributionNetwork, fc_layer_params=(8,)),
        "value_network_ctor": partial(ValueNetwork, fc_layer_params=(8,)),
    }
    ctor = partial(PPOAlgorithm, optimizer=Adam(lr=1e-3), loss_class=PPOLoss, **networks)
    training = OnPolicyOptions(transitions=32, epochs=1, mini_batch_size=16)
    return partial(AlgorithmLevel, algorithm_ctor=ctor, training=training, **options)


def _default_actor_critic(**options: Any) -> partial:
    networks = {
        "actor_network_ctor": partial(ActorDistributionNetwork, fc_layer_params=(8,)),
        "value_network_ctor": partial(ValueNetwork, fc_layer_params=(8,)),
    }
    ctor = partial(ActorCriticAlgorithm, optimizer=Adam(lr=1e-3), **networks)
    training = OnPolicyOptions(transitions=32, epochs=1, mini_batch_size=0)
    return partial(AlgorithmLevel, algorithm_ctor=ctor, training=training, **options)


def _learner(learner: str, /, **options: Any) -> partial:
    ctor, _, training, _ = LEARNERS[learner]
    return partial(AlgorithmLevel, algorithm_ctor=ctor(), training=training, **options)


CONTINUOUS_LEVELS = {
    "SAC by default": _default_sac,
    "PPO by default": _default_ppo,
    "actor-critic by default": _default_actor_critic,
    "SAC": partial(_learner, "SAC"),
    "PPO": partial(_learner, "PPO"),
    "DDPG": partial(_learner, "DDPG"),
    "QRSAC": partial(_learner, "QRSAC"),
    "TD-MPC2": partial(
        TDMPC2Level,
        training=TrainingOptions(
            mini_batch_size=32, replay_buffer_length=64, warm_up=8, updates_per_transition=0.02
        ),
        settings=SMALL,
    ),
    "random": RandomLevel,
}


def _as_level(name: str, /, **options: Any) -> partial:
    made = CONTINUOUS_LEVELS[name]
    if isinstance(made, type) or getattr(made, "func", None) is TDMPC2Level:
        return partial(made, **options)
    return made(**options)


@pytest.mark.parametrize("name", CONTINUOUS_LEVELS)
def test_the_decisions_of_every_learner_lie_in_its_spec(name: str) -> None:
    """On both sides of a joint whose bounds differ; `Arena` checks what is executed."""
    torch.manual_seed(0)
    levels = [_as_level(name, name="top"), _as_level(name, name="low", control_interval=2)]
    agent = _run(levels, [UNEVEN], iterations=4)
    if name == "random":
        return
    top, low = _stored(agent, 0), _stored(agent, 1)
    assert _inside(top.action, UNEVEN)
    assert _inside(low.action, agent.action_spec)
    assert _inside(low.time_step.observation.input, UNEVEN)
    assert _inside(low.time_step.prev_action, agent.action_spec)


@pytest.mark.parametrize("name", ["SAC by default", "SAC", "DDPG", "QRSAC"])
def test_a_critic_learns_of_the_action_that_was_executed(name: str) -> None:
    torch.manual_seed(0)
    levels = [_as_level(name, name="top"), _as_level(name, name="low", control_interval=2)]
    agent = _run(levels, [skill(2)], iterations=4)
    for index in range(2):
        stored = _stored(agent, index)
        torch.testing.assert_close(stored.rollout_info.action, stored.action, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [SPlaTESLevel, DADSLevel, DIAYNLevel])
def test_a_skill_level_learns_of_the_action_that_was_executed(kind: type[Level]) -> None:
    """By SAC that is not squashed, beyond its random warm-up."""
    agent = skill_agent(kind, options=SkillOptions(), random_warm_up=False)
    Points(agent, [7, 7, 7]).live(12)
    stored = _stored(agent, 1)
    assert _inside(stored.action, agent.action_spec)
    learned_from = stored.rollout_info.algorithm.action
    torch.testing.assert_close(learned_from, stored.action, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["PPO by default", "actor-critic by default"])
def test_a_policy_gradient_is_that_of_the_draw_itself(name: str) -> None:
    """`log pi` of a clipped draw is not the log probability of what the policy did."""
    torch.manual_seed(0)
    agent = _run([_as_level(name)], [], iterations=1)
    stored = _stored(agent, 0)
    drawn, executed = stored.rollout_info.action, stored.action
    outside = drawn != executed
    assert outside.any()
    assert _inside(executed, agent.action_spec)
    torch.testing.assert_close(Bounds(agent.action_spec).clip(drawn), executed)


# ---- in the loaders ----

_WIDE = partial(
    ActorDistributionNetwork,
    fc_layer_params=(8,),
    continuous_projection_net_ctor=partial(
        NormalProjectionNetwork, squash_mean=False, std_bias_initializer_value=2.0
    ),
)


def _pendulum(**options: Any) -> Any:
    return gymnasium_loader.load("Pendulum-v1", batch_size=3, **options)


LOADERS = {
    "Pendulum-v1": _pendulum,
    "Pendulum-v1, normalized": partial(_pendulum, normalize_actions=True),
    "Pendulum-v1, async": partial(_pendulum, vectorization="async"),
    "uneven": lambda: gymnasium_loader.load(Arena, batch_size=3),
    "Maze2D": lambda: maze2d_alf.load("Maze2D-UMaze-v0", batch_size=3),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_executes_the_nearest_action_and_says_so(name: str) -> None:
    """As `alf.environments.suite_gym` does; the same episode follows from the clipped action."""
    env = LOADERS[name]()
    spec = env.action_spec()
    wild = torch.tensor([-50.0, 0.25, 50.0])[:, None].expand(3, *spec.shape).contiguous()
    tame = Bounds(spec).clip(wild)
    assert not torch.equal(wild, tame)
    outcomes = []
    for action in (wild, tame):
        env.seed(3)
        env.reset()
        step = env.step(action)
        assert torch.equal(step.prev_action, tame)
        outcomes.append(step)
    torch.testing.assert_close(outcomes[0].observation, outcomes[1].observation, rtol=0, atol=0)
    assert torch.equal(outcomes[0].reward, outcomes[1].reward)
    env.close()


@pytest.mark.parametrize("name", ["Pendulum-v1", "Maze2D"])
def test_flat_sac_that_is_not_squashed_runs_on_a_loader(name: str) -> None:
    torch.manual_seed(0)
    env = LOADERS[name]()
    combiner = NestConcat() if isinstance(env.observation_spec(), dict) else None
    sac = SacAlgorithm(
        env.observation_spec(),
        env.action_spec(),
        actor_network_cls=partial(_WIDE, preprocessing_combiner=combiner),
        critic_network_cls=None,
    )
    step, state = env.reset(), sac.get_initial_rollout_state(3)
    seen = []
    for _ in range(20):
        result = sac.rollout_step(step, state)
        state = result.state
        seen.append(result.output)
        step = env.step(result.output)
        assert _inside(step.prev_action, env.action_spec())
    assert not _inside(torch.cat(seen), env.action_spec())


# ---- bounds that are infinite, or equal ----

INFINITE = BoundedTensorSpec((2,), minimum=-np.inf, maximum=np.inf)
HALF = BoundedTensorSpec((2,), minimum=0.0, maximum=(1.0, np.inf))
# finite numbers, but not what learners compute of them: their difference or their sum
_MOST = np.finfo(np.float32).max
LARGEST = BoundedTensorSpec((2,), minimum=-_MOST, maximum=_MOST)
FAR = BoundedTensorSpec((2,), minimum=2e38, maximum=3e38)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (kind, spec)
        for kind in (RandomLevel, TDMPC2Level, PlannerLevel, _default_sac())
        for spec in (INFINITE, HALF, LARGEST, FAR, TensorSpec((2,)))
        # SAC learns decisions that have no bounds at all, unsquashed.
        if not (isinstance(kind, partial) and not isinstance(spec, BoundedTensorSpec))
    ],
)
def test_a_level_that_needs_finite_bounds_says_so(kind: Any, spec: Any) -> None:
    with pytest.raises(ValueError, match="finite bounds") as error:
        kind(TensorSpec((3,)), spec, name="low")
    assert len(str(error.value)) < 300


def test_a_subgoal_of_a_field_without_finite_bounds_asks_for_them() -> None:
    with pytest.raises(ValueError, match="no bounds that are finite; give minimum and maximum"):
        subgoal("place")({"place": INFINITE})
    given = subgoal("place", minimum=-1.0, maximum=2.0)({"place": INFINITE})
    assert (given.minimum, given.maximum) == (-1.0, 2.0)


def test_a_prior_of_skills_needs_finite_bounds_and_may_have_one_value() -> None:
    with pytest.raises(ValueError, match="finite bounds"):
        BoxPrior(INFINITE)
    prior = BoxPrior(BoundedTensorSpec((2,), minimum=(-1.0, 0.5), maximum=(1.0, 0.5)))
    sample = prior.sample((5,))
    assert (sample[:, 1] == 0.5).all()
    assert prior.log_prob(sample).tolist() == pytest.approx([-math.log(2.0)] * 5)


class NarrowArena(Arena):
    """The second dimension of its actions has one value."""

    action_space = spaces.Box(
        np.array([-0.5, 0.25], np.float32), np.array([0.5, 0.25], np.float32), dtype=np.float32
    )


@pytest.mark.parametrize("name", CONTINUOUS_LEVELS)
@pytest.mark.parametrize("normalize", [False, True])
def test_every_learner_lives_with_a_dimension_of_one_value(name: str, normalize: bool) -> None:
    torch.manual_seed(0)
    env = gymnasium_loader.load(NarrowArena, batch_size=4, normalize_actions=normalize)
    agent = HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=[_as_level(name, name="low")],
        env=env,
        config=small_config(),
    )
    for _ in range(4):
        agent.train_iter()
    assert all(p.isfinite().all() for p in agent.parameters())
    if name != "random" and not normalize:
        assert (_stored(agent, 0).action[:, :, 1] == 0.25).all()
