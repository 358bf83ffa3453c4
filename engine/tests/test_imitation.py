"""Imitation of offline data, also where its actions are confounded; controllers by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_learners as small
import torch
from offline_data import leave_run
from torch import Tensor

from alf.algorithms.bc_algorithm import BcAlgorithm
from alf.algorithms.causal_bc_algorithm import BcInfo, CausalBcAlgorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.handcrafted_algorithm import HandcraftedAlgorithm, SimpleCarlaAlgorithm
from alf.data_structures import BasicRLInfo, StepType, TimeStep
from alf.environments.suite_unittest import ActionType
from alf.layers import FC
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.actor_networks import ActorNetwork
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import wrap_as_network
from alf.optimizers import Adam
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import identity

DISCRETE, CONTINUOUS = ActionType.Discrete, ActionType.Continuous


@pytest.fixture(autouse=True)
def _counter() -> Iterator[None]:
    summary.reset_global_counter()
    yield
    summary.reset_global_counter()


def _offline(folder: str, **settings: Any) -> TrainerConfig:
    """Offline data alone, in sequences of two steps."""
    return small.replayed(
        offline_buffer_dir=folder,
        **{"rl_train_after_update_steps": 10**9, "num_updates_per_train_iter": 1, **settings},
    )


# ---- behavior cloning ----


def _sloppy(observation: Tensor, action_type: ActionType) -> Tensor:
    """What pays, but a third of the actions is random."""
    action = torch.where(torch.rand(len(observation), 1) < 1 / 3, 0.0, observation)
    return action[:, 0].long() if action_type is DISCRETE else action


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("actor", "action_type", "wanted"),
    [
        (ActorDistributionNetwork, DISCRETE, 0.95),  # the most probable action is the right one
        (ActorNetwork, CONTINUOUS, 0.78),  # the mean of the expert's: 1 - 1/2 * 1/3
        (ActorDistributionNetwork, CONTINUOUS, 0.78),
    ],
)
def test_behavior_cloning_does_what_the_expert_does_mostly(
    actor: Any, action_type: ActionType, wanted: float, seed: int, tmp_path: Path
) -> None:
    """An action at random is paid 0.5."""
    torch.manual_seed(seed)
    env = small.bandit(action_type)
    policy = partial(_sloppy, action_type=action_type)
    specs = env.observation_spec(), env.action_spec()
    folder = leave_run(tmp_path, env, specs, policy, steps=60)
    ctor = partial(
        BcAlgorithm,
        actor_network_cls=partial(actor, fc_layer_params=(16,)),
        actor_optimizer=Adam(lr=1e-2),
    )
    algorithm = small.make(ctor, small.bandit(action_type), _offline(folder))
    algorithm.load_offline_replay_buffer(specs[0])
    for _ in range(400):
        algorithm.train_iter()
    assert small.mean_reward(algorithm, action_type) > wanted


def test_a_nest_of_actions_is_imitated_part_by_part() -> None:
    spec = [BoundedTensorSpec((), torch.int64, 0, 2), BoundedTensorSpec((2,))]
    algorithm = BcAlgorithm(
        TensorSpec((3,)),
        spec,
        actor_network_cls=partial(ActorDistributionNetwork),
        epsilon_greedy=0,
    )
    observation, action = torch.rand(4, 3), [torch.tensor([0, 1, 2, 0]), torch.rand(4, 2)]
    policy, _ = algorithm._actor_network(observation)
    step = algorithm.train_step_offline(
        TimeStep(observation=observation), algorithm.get_initial_train_state(4), BasicRLInfo(action)
    )
    expected = -sum(dist.log_prob(a) for dist, a in zip(policy, action, strict=True))
    torch.testing.assert_close(step.info.actor.loss, expected)


@pytest.mark.parametrize("ctor", [BcAlgorithm, CausalBcAlgorithm])
def test_who_gives_no_data_is_told(ctor: Any) -> None:
    head = partial(EncodingNetwork, last_layer_size=1, last_activation=identity)
    options = {} if ctor is BcAlgorithm else {"discriminator_network_cls": head}
    algorithm = small.make(
        partial(ctor, **options), small.bandit(CONTINUOUS), small.replayed(initial_collect_steps=0)
    )
    with pytest.raises(ValueError, match=r"offline data alone: set TrainerConfig\.offline_buffer_"):
        algorithm.train_iter()


# ---- causal behavior cloning ----


class Drift:
    """32 rows of s' = 0.5 s + a + 0.1 noise, without end."""

    batch_size = 32

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> TimeStep:
        self._time_step = self._make(torch.randn(32, 1), torch.zeros(32, 1), StepType.FIRST)
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: Tensor) -> TimeStep:
        state = 0.5 * self._time_step.observation + action + 0.1 * torch.randn(32, 1)
        self._time_step = self._make(state, action, StepType.MID)
        return self._time_step

    def _make(self, state: Tensor, action: Tensor, step_type: int) -> TimeStep:
        return TimeStep(
            step_type=torch.full((32,), step_type, dtype=torch.int32),
            reward=torch.zeros(32),
            discount=torch.ones(32),
            observation=state,
            prev_action=action,
            env_id=torch.arange(32, dtype=torch.int32),
            env_info={},
        )


class ExpertInTheWind:
    """a = -0.3 s + u, where the wind u[t] = e[t] + 0.8 e[t-1] is not in s, but moves it."""

    def __init__(self) -> None:
        self._last = torch.zeros(32, 1)

    def __call__(self, state: Tensor) -> Tensor:
        now = torch.randn(32, 1)
        wind, self._last = now + 0.8 * self._last, now
        return -0.3 * state + wind


def _linear(input_tensor_spec: TensorSpec, action_spec: Any = None) -> Any:
    return wrap_as_network(FC(1, 1), input_tensor_spec)


@pytest.fixture(scope="module")
def windy(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[Any, Any]]:
    torch.manual_seed(0)
    specs = TensorSpec((1,)), BoundedTensorSpec((1,), minimum=-50.0, maximum=50.0)
    folder = tmp_path_factory.mktemp("windy")
    return leave_run(folder, Drift(), specs, ExpertInTheWind(), steps=200), specs


def _slope(ctor: Callable[..., Any], windy: Any, seed: int) -> float:
    """The linear policy's factor of s after training."""
    folder, specs = windy
    torch.manual_seed(seed)
    config = _offline(folder, mini_batch_size=512, num_updates_per_train_iter=4)
    algorithm = ctor(*specs, actor_network_cls=_linear, env=Drift(), config=config)
    algorithm.load_offline_replay_buffer(specs[0])
    for _ in range(150):
        algorithm.train_iter()
    with torch.no_grad():
        policy, _ = algorithm._actor_network(torch.tensor([[0.0], [1.0]]))
    return float(policy[1] - policy[0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_causal_cloning_finds_the_policy_that_wind_hides(windy: Any, seed: int) -> None:
    """The expert's factor is -0.3. Cloning adds Cov(u, s) / Var(s) = 0.8 / 2.05: it finds 0.09."""
    cloned = _slope(partial(BcAlgorithm, actor_optimizer=Adam(lr=1e-2)), windy, seed)
    causal = partial(
        CausalBcAlgorithm,
        discriminator_network_cls=_linear,
        actor_optimizer=Adam(lr=1e-2),
        discriminator_optimizer=Adam(lr=3e-2),
        bc_regulatization_weight=0.0,
    )
    assert cloned == pytest.approx(0.09, abs=0.08)
    assert _slope(causal, windy, seed) == pytest.approx(-0.3, abs=0.12)


def _causal(**settings: Any) -> CausalBcAlgorithm:
    return CausalBcAlgorithm(
        TensorSpec((3,)),
        BoundedTensorSpec((2,)),
        discriminator_network_cls=partial(
            EncodingNetwork, last_layer_size=2, last_activation=identity
        ),
        epsilon_greedy=0.0,
        **settings,
    )


def test_the_discriminator_of_a_step_meets_the_error_of_the_next() -> None:
    algorithm = _causal(f_norm_penalty_weight=0.5, bc_regulatization_weight=0.25)
    target = torch.tensor([[[9.0, 9.0]], [[1.0, 2.0]]])
    actor = torch.tensor([[[0.0, 0.0]], [[0.0, 4.0]]])
    discriminator = torch.tensor([[[3.0, 4.0]], [[7.0, 7.0]]])
    loss = algorithm.calc_loss_offline(BcInfo(actor, discriminator, target))
    # e = (1, -2), f = (3, 4): 2 e f = (6, -16), mean -5; e^2: 2.5; f^2: 12.5; |f|: 5
    assert loss.extra.actor.tolist() == [[-5 + 0.25 * 2.5], [0.0]]
    assert loss.extra.discriminator.tolist() == [[5 + 12.5 + 0.5 * 5], [0.0]]
    torch.testing.assert_close(loss.loss, loss.extra.actor + loss.extra.discriminator)


def test_what_causal_cloning_cannot_learn_from_is_refused() -> None:
    one = torch.zeros(1, 4, 2)
    with pytest.raises(ValueError, match="mini_batch_length of at least 2"):
        _causal().calc_loss_offline(BcInfo(one, one, one))
    with pytest.raises(ValueError, match="one continuous action"):
        CausalBcAlgorithm(TensorSpec((3,)), BoundedTensorSpec((), torch.int64, 0, 2))
    with pytest.raises(ValueError, match=r"shape \(3,\), it must be that of the action, \(2,\)"):
        CausalBcAlgorithm(
            TensorSpec((3,)),
            BoundedTensorSpec((2,)),
            discriminator_network_cls=partial(EncodingNetwork, fc_layer_params=(3,)),
        )


# ---- controllers written by hand ----


def test_a_controller_runs_as_the_algorithm_of_a_training() -> None:
    class Right(HandcraftedAlgorithm):
        def _policy_func(self, observation: Tensor) -> Tensor:
            return observation[:, 0].long()

    algorithm = small.make(Right, small.bandit(DISCRETE), small.replayed(initial_collect_steps=0))
    for _ in range(3):
        algorithm.train_iter()
    assert small.mean_reward(algorithm, DISCRETE) == 1.0


def test_a_vehicle_slows_down_and_stops() -> None:
    controller = SimpleCarlaAlgorithm(
        TensorSpec((3,)), BoundedTensorSpec((4,)), distance_to_decelerate=8.0, distance_to_stop=2.0
    )
    distances = torch.tensor([100.0, 8.0, 4.0, 2.0, 0.0])
    goal = torch.stack([distances, 0 * distances, 0 * distances], dim=1)
    seen = {"navigation": torch.tensor([0.0, 1.0, 0.0]).expand(5, 1, 3), "goal": goal}
    action = controller.predict_step(TimeStep(observation={"observation": seen}), ()).output
    assert action[:, 0].tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert action[:, 1].tolist() == [0.5] * 5  # 90 degrees to the left are half of pi
    assert action[:, 2:].abs().sum() == 0
