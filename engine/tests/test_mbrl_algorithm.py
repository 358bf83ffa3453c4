"""Model-based RL: the cost of imagined plans, learning by plans, in observations and in latents."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch
from point_world import ACTION, OBSERVATION, PointWorld, distance_reward, final_distance
from torch import Tensor

from alf.algorithms.agent import Agent
from alf.algorithms.dynamics_learning_algorithm import (
    DeterministicDynamicsAlgorithm,
    StochasticDynamicsAlgorithm,
)
from alf.algorithms.encoding_algorithm import EncodingAlgorithm
from alf.algorithms.handcrafted_algorithm import HandcraftedAlgorithm
from alf.algorithms.mbrl_algorithm import LatentMbrlAlgorithm, MbrlAlgorithm
from alf.algorithms.planning_algorithm import CEMPlanAlgorithm, RandomShootingAlgorithm
from alf.algorithms.predictive_representation_learner import (
    PredictiveRepresentationLearner,
    SimpleDecoder,
)
from alf.algorithms.reward_learning_algorithm import (
    FixedRewardFunction,
    RewardEstimationAlgorithm,
)
from alf.data_structures import AlgStep, LossInfo, StepType, TimeStep
from alf.layers import Reshape
from alf.nest import nest
from alf.networks.containers import Sequential
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

SHOOTING = partial(RandomShootingAlgorithm, population_size=100, planning_horizon=3)
CEM = partial(
    CEMPlanAlgorithm, population_size=60, planning_horizon=3, elite_size=10, max_iter_num=3
)
DETERMINISTIC = partial(DeterministicDynamicsAlgorithm, hidden_size=(32,))
STOCHASTIC = partial(StochasticDynamicsAlgorithm, hidden_size=(32,))


def _mbrl(dynamics: Any = DETERMINISTIC, planner: Any = SHOOTING, **options: Any) -> MbrlAlgorithm:
    settings = {
        "reward_module": FixedRewardFunction(distance_reward),
        "epsilon_greedy": 0.0,
        "dynamics_optimizer": Adam(lr=1e-2),
    }
    return MbrlAlgorithm(
        OBSERVATION,
        ACTION,
        planner_module_ctor=planner,
        dynamics_module_ctor=dynamics,
        **{**settings, **options},
    )


def _train(algorithm: Any, iterations: int) -> None:
    for _ in range(iterations):
        algorithm.train_iter()


class AtRandom(HandcraftedAlgorithm):
    """What chance reaches."""

    def _policy_func(self, observation: Tensor) -> Tensor:
        return ACTION.sample((len(observation),))


def test_chance_stays_far_from_the_middle() -> None:
    torch.manual_seed(0)
    assert final_distance(AtRandom(OBSERVATION, ACTION), rows=1000) > 0.7


# ---- in the space of observations ----


def _slow_cost(algorithm: MbrlAlgorithm, observation: Tensor, plan: Tensor) -> Tensor:
    """The cost of one plan [H, A] from one observation [F]: each model by itself."""
    model = algorithm._dynamics_module
    total = torch.zeros(())
    for r in range(model.num_replicas):
        feature = observation.unsqueeze(0)
        for action in plan:
            n = model.num_replicas
            features = feature if n == 1 else feature.unsqueeze(1).expand(1, n, 2)
            step = TimeStep(prev_action=action.unsqueeze(0))
            state = model.get_initial_predict_state(1)._replace(feature=features)
            after = model.predict_step(step, state).output
            feature = after if n == 1 else after[:, r]
            total = total + distance_reward(feature, action.unsqueeze(0))[0]
    return -total / model.num_replicas


@pytest.mark.parametrize(("replicas", "particles"), [(1, 1), (3, 1), (1, 2), (3, 2)])
@torch.no_grad()
def test_plans_cost_what_each_model_says_of_each(replicas: int, particles: int) -> None:
    torch.manual_seed(0)
    dynamics = partial(DETERMINISTIC, num_replicas=replicas)
    algorithm = _mbrl(dynamics, particles_per_replica=particles)
    for p in algorithm.parameters():
        p.uniform_(-0.5, 0.5)
    observation, plans = torch.rand(4, 2), torch.rand(4, 5, 3, 2)
    slow = [
        [_slow_cost(algorithm, o, p) for p in k] for o, k in zip(observation, plans, strict=True)
    ]
    torch.testing.assert_close(algorithm._cost(observation, plans), torch.tensor(slow))


@torch.no_grad()
def test_particles_of_a_noisy_model_are_drawn_apart() -> None:
    """The deviation of the cost falls as one over the root of the number of particles."""
    torch.manual_seed(0)
    deviation = []
    for particles in (1, 16):
        algorithm = _mbrl(STOCHASTIC, particles_per_replica=particles)
        costs = algorithm._cost(torch.zeros(1, 2), torch.zeros(1, 2000, 2, 2))
        deviation.append(float(costs.std()))
    assert deviation[0] / deviation[1] == pytest.approx(4, rel=0.15)


class LearntReward(RewardEstimationAlgorithm):
    """Fits a network to the rewards that came."""

    def __init__(self) -> None:
        super().__init__()
        self._net = EncodingNetwork(
            OBSERVATION, fc_layer_params=(32,), last_layer_size=1, last_activation=identity
        )

    def train_step(self, time_step: TimeStep, state: Any, rollout_info: Any = None) -> AlgStep:
        error = self.compute_reward(time_step.observation, (), ())[0] - time_step.reward
        known = time_step.step_type != StepType.FIRST
        return AlgStep(info=LossInfo(loss=error.square() * known))

    def compute_reward(self, obs: Tensor, action: Any, state: Any) -> tuple[Tensor, Any]:
        return self._net(obs)[0].squeeze(-1), state


VARIANTS = {
    "random shooting": {},
    "CEM": {"planner": CEM},
    "ensemble": {"dynamics": partial(DETERMINISTIC, num_replicas=3)},
    "stochastic ensemble, particles": {
        "dynamics": partial(STOCHASTIC, num_replicas=2),
        "particles_per_replica": 2,
    },
}


def test_it_learns_rewards_that_it_does_not_know() -> None:
    torch.manual_seed(0)
    config = small.replayed(num_updates_per_train_iter=8)
    algorithm = _mbrl(
        env=PointWorld(),
        config=config,
        reward_module=LearntReward(),
        reward_optimizer=Adam(lr=1e-2),
    )
    algorithm.set_path("")
    _train(algorithm, 40)
    assert final_distance(algorithm) < 0.25


@torch.no_grad()
def test_a_copy_plans_with_its_own_model() -> None:
    algorithm: Any = _mbrl()
    other = copy.deepcopy(algorithm)
    observation, plans = torch.rand(2, 2), torch.rand(2, 5, 3, 2)
    before = algorithm._cost(observation, plans)
    for p in other.parameters():
        p.uniform_(-1, 1)
    torch.testing.assert_close(
        algorithm._planner_module._action_seq_cost_func(observation, plans), before
    )
    changed = other._planner_module._action_seq_cost_func(observation, plans)
    torch.testing.assert_close(changed, other._cost(observation, plans))
    assert not changed.equal(before)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", VARIANTS)
def test_it_learns_controls_that_it_does_not_know(name: str, seed: int) -> None:
    """Where it acts at random it ends 0.82 from the middle."""
    torch.manual_seed(seed)
    config = small.replayed(
        use_rollout_state=True, mini_batch_length=1, num_updates_per_train_iter=4
    )
    algorithm = _mbrl(env=PointWorld(), config=config, **VARIANTS[name])
    algorithm.set_path("")
    _train(algorithm, 40)
    assert final_distance(algorithm) < 0.25


def test_stored_states_and_sequences_of_two_teach_the_same() -> None:
    """Without stored states the first step of a sequence counts for nothing."""
    torch.manual_seed(0)
    config = small.replayed(num_updates_per_train_iter=8)
    algorithm = _mbrl(env=PointWorld(), config=config)
    algorithm.set_path("")
    _train(algorithm, 40)
    assert final_distance(algorithm) < 0.25


def test_nothing_could_be_learnt_from_single_steps() -> None:
    algorithm = _mbrl(env=PointWorld(), config=small.replayed(mini_batch_length=1))
    algorithm.set_path("")
    with pytest.raises(ValueError, match=r"mini_batch_length of at least 2, or use_rollout_state"):
        _train(algorithm, 3)


@torch.no_grad()
def test_rows_do_not_influence_each_other() -> None:
    algorithm = _mbrl(planner=CEM)
    observation, plans = torch.rand(4, 2), torch.rand(4, 5, 3, 2)
    costs = algorithm._cost(observation, plans)
    observation[0] += 1
    torch.testing.assert_close(algorithm._cost(observation, plans)[1:], costs[1:])


def test_a_model_is_needed() -> None:
    with pytest.raises(ValueError, match="needs a dynamics_module_ctor, got None"):
        _mbrl(dynamics=None)


# ---- in latents ----


def _encoder(spec: TensorSpec, size: int = 16) -> Any:
    return EncodingNetwork(
        spec,
        fc_layer_params=(32,),
        activation=torch.tanh,
        last_layer_size=size,
        last_activation=torch.tanh,
    )


def _head(input_tensor_spec: TensorSpec, size: int) -> Any:
    net = EncodingNetwork(
        input_tensor_spec, fc_layer_params=(32,), last_layer_size=size, last_activation=identity
    )
    return net if size > 1 else Sequential(net, Reshape(()))


def _learner(num_unroll_steps: int = 3, fields: Any = ("reward", "observation")) -> partial:
    sizes = {"reward": 1, "observation": 2}
    decoders = [
        partial(SimpleDecoder, target_field=f, decoder_net_ctor=partial(_head, size=sizes[f]))
        for f in fields
    ]
    return partial(
        PredictiveRepresentationLearner,
        num_unroll_steps=num_unroll_steps,
        decoder_ctor=decoders,
        encoding_net_ctor=_encoder,
        dynamics_net_ctor=partial(LSTMEncodingNetwork, hidden_size=16),
    )


def _latent_agent(learner: Any = None, **options: Any) -> Agent:
    return Agent(
        OBSERVATION,
        ACTION,
        rl_algorithm_cls=partial(LatentMbrlAlgorithm, planner_module_ctor=SHOOTING),
        representation_learner_cls=_learner() if learner is None else learner,
        optimizer=Adam(lr=5e-3),
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_to_plan_in_a_latent_space(seed: int) -> None:
    """Where it acts at random it ends 0.82 from the middle."""
    torch.manual_seed(seed)
    config = small.replayed(mini_batch_length=1, num_updates_per_train_iter=8)
    agent = _latent_agent(env=PointWorld(), config=config)
    agent.set_path("")
    _train(agent, 100)
    assert final_distance(agent) < 0.3


def test_an_agent_trains_the_representation_once_and_saves_it_once() -> None:
    agent = _latent_agent(config=small.replayed())
    held = [p for o in agent.optimizers() for group in o.param_groups for p in group["params"]]
    assert len({id(p) for p in held}) == len(held) == len(list(agent.parameters()))
    keys = [key for key in agent.state_dict() if "encoding_net" in key]
    assert keys
    assert all(key.startswith("_representation_learner.") for key in keys)


def test_the_first_reward_is_past() -> None:
    """The cost is minus the rewards after the actions, without the one that has come already."""
    agent = _latent_agent()
    learner: Any = agent._representation_learner
    planner: Any = agent._rl_algorithm
    latent, plans = torch.rand(2, 16), torch.rand(2, 5, 3, 2)
    costs = planner._cost(latent, plans)
    for b in range(2):
        for k in range(5):
            rewards = learner.predict_multi_step(
                latent[b : b + 1], plans[b, k].unsqueeze(0), target_field="reward"
            )
            torch.testing.assert_close(costs[b, k], -rewards[1:].sum())


@pytest.mark.parametrize(
    ("learner", "error", "words"),
    [
        (EncodingAlgorithm, TypeError, "plans with a PredictiveRepresentationLearner"),
        (_learner(fields=["observation"]), ValueError, "no decoder of 'reward', but of"),
        (_learner(num_unroll_steps=0), ValueError, "num_unroll_steps is 0"),
        (partial(_learner(), postprocessor=lambda x: 2 * x), ValueError, "postprocessor changes"),
        (
            partial(_learner(), encoding_net_ctor=partial(LSTMEncodingNetwork, hidden_size=16)),
            ValueError,
            "start from the encoder's state",
        ),
    ],
)
def test_a_representation_that_cannot_foretell_is_refused(
    learner: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _latent_agent(learner)


def test_without_an_agent_the_representation_must_be_set() -> None:
    algorithm = LatentMbrlAlgorithm(TensorSpec((16,)), ACTION, planner_module_ctor=SHOOTING)
    step = TimeStep(step_type=torch.zeros(2, dtype=torch.int32), observation=torch.zeros(2, 16))
    with pytest.raises(ValueError, match="set_latent_predictive_representation_module"):
        algorithm.predict_step(step, algorithm.get_initial_predict_state(2))
    nest.assert_same_structure(algorithm.train_state_spec, algorithm.get_initial_train_state(1))
