"""Actions without finite bounds are refused or learned; a dimension of one value has that value."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from alf import networks as nets
from alf.algorithms.config import TrainerConfig
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.algorithms.prior_actor import SameActionPriorActor, UniformPriorActor
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import StepType, TimeStep
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.action_quantizer import ActionQuantizer

SIZE = 5
# the second dimension has one value
FIXED = BoundedTensorSpec((3,), minimum=(-1.0, 0.5, 0.0), maximum=(1.0, 0.5, 4.0))
INFINITE = BoundedTensorSpec((2,), minimum=-np.inf, maximum=np.inf)
HALF = BoundedTensorSpec((2,), minimum=0.0, maximum=(1.0, np.inf))
# finite numbers, but not what learners compute of them: their difference or their sum
_MOST = np.finfo(np.float32).max
LARGEST = BoundedTensorSpec((2,), minimum=-_MOST, maximum=_MOST)
FAR = BoundedTensorSpec((2,), minimum=2e38, maximum=3e38)
FREE = TensorSpec((2,))

normal = partial(nets.NormalProjectionNetwork, state_dependent_std=True)
unsquashed = partial(normal, squash_mean=False)
PROJECTIONS = {
    "normal": normal,
    "squashed": partial(normal, scale_distribution=True),
    "stable": partial(nets.StableNormalProjectionNetwork, scale_distribution=True),
    "cauchy": partial(nets.CauchyProjectionNetwork, scale_distribution=True),
    "beta": nets.BetaProjectionNetwork,
    "truncated": nets.TruncatedProjectionNetwork,
}


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_dimension_of_one_value_has_that_value(name: str) -> None:
    torch.manual_seed(0)
    network = PROJECTIONS[name](SIZE, FIXED)
    inputs = torch.randn(64, SIZE)
    distribution, _ = network(inputs)
    sample = distribution.rsample()
    assert (sample[:, 1] == 0.5).all()
    assert (dist_utils.get_mode(distribution)[:, 1] == 0.5).all()
    log_prob = dist_utils.compute_log_probability(distribution, sample)
    (log_prob.mean() + sample.mean()).backward()
    stored = dist_utils.compute_log_probability(network(inputs)[0], sample.detach())
    for value in (sample, log_prob, stored, *(p.grad for p in network.parameters())):
        assert value is None or value.isfinite().all()
    # the densities of the others are those of a policy for them alone
    parameters = dist_utils.extract_distribution_parameters(distribution)
    spec = dist_utils.extract_spec(distribution)
    again = dist_utils.params_to_distributions(parameters, spec)
    torch.testing.assert_close(
        dist_utils.compute_log_probability(again, sample.detach()), stored, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        (name, spec)
        for name in (*PROJECTIONS, "actor")
        for spec in (INFINITE, HALF, LARGEST, FAR, FREE)
        if (name, spec) != ("normal", FREE)  # without a range its mean is not squashed
    ],
)
def test_bounds_that_are_not_finite_are_refused_where_they_are_needed(name: str, spec: Any) -> None:
    ctor: Any = PROJECTIONS.get(name, lambda size, s: nets.ActorNetwork(TensorSpec((size,)), s))
    with pytest.raises(ValueError, match="the action must have finite bounds, got") as error:
        ctor(SIZE, spec)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("spec", [INFINITE, HALF, LARGEST, FAR])
@pytest.mark.parametrize(
    "use",
    [
        lambda spec: ActionQuantizer(spec, "uniform", action_bins=3),
        lambda spec: UniformPriorActor(FREE, spec).predict_step(_step(), ()),
        lambda spec: SameActionPriorActor(FREE, spec).predict_step(_step(), ()),
        lambda spec: SacAlgorithm(FREE, spec),
        lambda spec: DdpgAlgorithm(FREE, spec),
    ],
)
def test_what_needs_finite_bounds_says_so(use: Any, spec: Any) -> None:
    with pytest.raises(ValueError, match="finite bounds"):
        use(spec)


def _step() -> TimeStep:
    return TimeStep(
        step_type=torch.ones(4, dtype=torch.int32),
        reward=torch.zeros(4),
        discount=torch.ones(4),
        observation=torch.zeros(4, 2),
        prev_action=torch.zeros(4, 2),
        env_id=torch.arange(4, dtype=torch.int32),
    )


@pytest.mark.parametrize("kind", [UniformPriorActor, SameActionPriorActor])
def test_a_prior_of_a_dimension_of_one_value_is_finite(kind: Any) -> None:
    step = _step()._replace(prev_action=torch.tensor([[0.1, 0.5, 1.0]] * 4))
    prior = kind(FREE, FIXED).predict_step(step, ()).output
    log_prob = dist_utils.compute_log_probability(prior, step.prev_action)
    assert log_prob.isfinite().all()


@pytest.mark.parametrize("kind", [UniformPriorActor, SameActionPriorActor])
def test_a_prior_of_an_action_outside_its_bounds_is_that_of_the_nearest_inside(kind: Any) -> None:
    spec = BoundedTensorSpec((3,), minimum=-1.0, maximum=[1.0, 2.0, 3.0])
    step = _step()._replace(prev_action=torch.zeros(4, 3))
    prior = kind(FREE, spec).predict_step(step, ()).output
    outside, nearest = (torch.tensor([row] * 4) for row in ([-1.2, 5.0, 0.5], [-1.0, 2.0, 0.5]))
    torch.testing.assert_close(prior.log_prob(outside), prior.log_prob(nearest))
    assert prior.log_prob(outside).isfinite().all()


@pytest.mark.parametrize("spec", [FIXED, INFINITE, HALF, FREE])
def test_default_entropies_are_finite(spec: Any) -> None:
    for function in (
        dist_utils.calc_default_target_entropy,
        dist_utils.calc_default_max_entropy,
        partial(dist_utils.calc_default_target_entropy_quantized, num_bins=4),
    ):
        assert np.isfinite(function(spec))
    if spec is FIXED:
        assert np.isfinite(dist_utils.calc_uniform_log_prob(spec))
    else:
        with pytest.raises(ValueError, match="finite bounds"):
            dist_utils.calc_uniform_log_prob(spec)
    unit = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    if spec is not FIXED:
        expected = dist_utils.calc_default_target_entropy(unit)
        if spec is HALF:
            expected += float(np.log(0.5))
        assert dist_utils.calc_default_target_entropy(spec) == pytest.approx(expected)


class SimpleEnv:
    """Rewards actions near 3 in their first dimension; episodes of 5 steps."""

    batch_size = 8

    def __init__(self, dims: int) -> None:
        self._step = 0
        self._time_step = self._make(torch.zeros(8, dims))

    def reset(self) -> TimeStep:
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: torch.Tensor) -> TimeStep:
        assert action.isfinite().all()
        self._step += 1
        self._time_step = self._make(action)
        return self._time_step

    def _make(self, action: torch.Tensor) -> TimeStep:
        now = self._step % 5
        kind = StepType.FIRST if now == 0 else StepType.LAST if now == 4 else StepType.MID
        return TimeStep(
            step_type=torch.full((8,), int(kind), dtype=torch.int32),
            reward=-((action[:, 0] - 3.0) ** 2).clamp(max=100.0),
            discount=torch.zeros(8),
            observation=torch.ones(8, 2),
            prev_action=action,
            env_id=torch.arange(8, dtype=torch.int32),
            env_info={},
        )


def _train(ctor: Any, spec: Any, iterations: int, **networks: Any) -> Any:
    torch.manual_seed(0)
    config = TrainerConfig(
        root_dir="",
        unroll_length=8,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        mini_batch_length=2,
        mini_batch_size=64,
        num_updates_per_train_iter=4,
        initial_collect_steps=64,
    )
    parts = ("actor", "critic", "alpha") if ctor is SacAlgorithm else ("actor", "critic")
    algorithm = ctor(
        FREE,
        spec,
        env=SimpleEnv(spec.numel),
        config=config,
        **networks,
        **{f"{part}_optimizer": Adam(lr=1e-2) for part in parts},
    )
    for _ in range(iterations):
        algorithm.train_iter()
    assert all(p.isfinite().all() for p in algorithm.parameters())
    return algorithm


_critic = partial(CriticNetwork, joint_fc_layer_params=(32,))


def _sac(projection: Any) -> dict[str, Any]:
    actor = partial(
        nets.ActorDistributionNetwork,
        fc_layer_params=(32,),
        continuous_projection_net_ctor=projection,
    )
    return {"actor_network_cls": actor, "critic_network_cls": _critic}


@pytest.mark.parametrize(("spec", "iterations"), [(INFINITE, 50), (HALF, 5), (FREE, 5)])
def test_sac_that_is_not_squashed_learns_actions_without_bounds(spec: Any, iterations: int) -> None:
    sac = _train(SacAlgorithm, spec, iterations, **_sac(unsquashed))
    action = dist_utils.get_mode(sac._actor_network(torch.ones(4, 2))[0])
    if spec is INFINITE:  # from 0 at the start
        assert (action[:, 0] - 3.0).abs().max() < 0.5


@pytest.mark.parametrize("name", PROJECTIONS)
def test_sac_learns_beside_a_dimension_of_one_value(name: str) -> None:
    sac = _train(SacAlgorithm, FIXED, 15, **_sac(PROJECTIONS[name]))
    output = sac.rollout_step(_step(), sac.get_initial_rollout_state(4)).output
    assert (output[:, 1] == 0.5).all()


def test_ddpg_learns_beside_a_dimension_of_one_value() -> None:
    networks = {
        "actor_network_ctor": partial(nets.ActorNetwork, fc_layer_params=(32,)),
        "critic_network_ctor": _critic,
    }
    ddpg = _train(DdpgAlgorithm, FIXED, 15, **networks)
    output = ddpg.rollout_step(_step(), ddpg.get_initial_rollout_state(4)).output
    assert (output[:, 1] == 0.5).all()
