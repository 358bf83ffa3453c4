"""Distributions stay finite however large their inputs are, and so does what learns by them."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from alf import networks as nets
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import LOG_ALPHA_LIMIT, SacAlgorithm
from alf.data_structures import StepType, TimeStep
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.distributions import NormalITS

SIZE = 64
ACTION = BoundedTensorSpec((2,), torch.float32, -1.0, 3.0)
CHOICE = BoundedTensorSpec((), torch.int64, 0, 3)

normal = nets.NormalProjectionNetwork
stable = partial(nets.StableNormalProjectionNetwork, projection_output_init_gain=0.3)
PROJECTIONS = {
    "normal": partial(normal, state_dependent_std=True),
    "normal, exponential": partial(normal, state_dependent_std=True, std_transform=torch.exp),
    "squashed": partial(normal, state_dependent_std=True, scale_distribution=True),
    "stable": partial(stable, state_dependent_std=True),
    "stable, exp": partial(stable, state_dependent_std=True, inverse_std_transform="exp"),
    "cauchy": partial(nets.CauchyProjectionNetwork, state_dependent_scale=True),
    "beta": partial(nets.BetaProjectionNetwork, projection_output_init_gain=0.3),
    "truncated": partial(nets.TruncatedProjectionNetwork, state_dependent_scale=True),
    "mixture": partial(nets.MixtureProjectionNetwork, num_components=3, component_ctor=normal),
    "categorical": partial(nets.CategoricalProjectionNetwork, action_spec=CHOICE),
    "one-hot": partial(nets.OnehotCategoricalProjectionNetwork, action_spec=CHOICE),
    "gumbel": partial(nets.OnehotCategoricalProjectionNetwork, action_spec=CHOICE, mode="gumbel"),
}


@pytest.mark.parametrize("scale", [1.0, 255.0, 1e3, 1e5])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_samples_log_probabilities_and_gradients_are_finite(name: str, scale: float) -> None:
    """The rows are encodings like those of a network whose observations are not near 1."""
    torch.manual_seed(0)
    ctor = PROJECTIONS[name]
    known = {} if "action_spec" in ctor.keywords else {"action_spec": ACTION}
    network = ctor(SIZE, **known)
    distribution, _ = network(scale * torch.randn(256, SIZE))
    sample = distribution.rsample() if distribution.has_rsample else distribution.sample()
    log_prob = distribution.log_prob(sample.detach())
    loss = log_prob.mean() + sample.float().mean()
    if distribution.has_rsample:  # as the policy loss of SAC
        loss = loss + dist_utils.compute_log_probability(distribution, sample).mean()
    loss.backward()
    assert sample.isfinite().all()
    assert log_prob.isfinite().all()
    assert dist_utils.get_mode(distribution).isfinite().all()
    for parameter in network.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize("raw", [-200.0, 200.0])
@pytest.mark.parametrize(
    "name", ["normal", "normal, exponential", "squashed", "cauchy", "beta", "truncated"]
)
def test_a_free_scale_is_kept_finite_as_well(name: str, raw: float) -> None:
    ctor = PROJECTIONS[name].func
    keywords = dict(PROJECTIONS[name].keywords)
    keywords.pop("state_dependent_std", None)
    keywords.pop("state_dependent_scale", None)
    network = ctor(SIZE, ACTION, **keywords)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(raw if parameter.ndim == 1 else 0.0)
    distribution, _ = network(torch.randn(8, SIZE))
    sample = distribution.rsample()
    log_prob = distribution.log_prob(sample)
    (log_prob + sample.sum(-1)).mean().backward()
    assert sample.isfinite().all()
    assert log_prob.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


class ScaledEnv:
    """Episodes of 5 steps with observations in [0, scale] and rewards at random."""

    batch_size = 8

    def __init__(self, scale: float) -> None:
        self._scale, self._step = scale, 0
        self._time_step = self._make(torch.zeros(8, 2))

    def reset(self) -> TimeStep:
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: torch.Tensor) -> TimeStep:
        self._step += 1
        self._time_step = self._make(action)
        return self._time_step

    def _make(self, action: torch.Tensor) -> TimeStep:
        now = self._step % 5
        kind = StepType.FIRST if now == 0 else StepType.LAST if now == 4 else StepType.MID
        return TimeStep(
            step_type=torch.full((8,), int(kind), dtype=torch.int32),
            reward=torch.randn(8),
            discount=torch.ones(8),
            observation=self._scale * torch.rand(8, SIZE),
            prev_action=action,
            env_id=torch.arange(8, dtype=torch.int32),
            env_info={},
        )


def _actor(name: str) -> partial:
    return partial(
        nets.ActorDistributionNetwork,
        fc_layer_params=(32, 32),
        continuous_projection_net_ctor=PROJECTIONS[name],
    )


LEARNERS = {
    "SAC": (SacAlgorithm, "actor_network_cls", "squashed"),
    "SAC, not squashed": (SacAlgorithm, "actor_network_cls", "normal"),
    "SAC, beta": (SacAlgorithm, "actor_network_cls", "beta"),
    "SAC, truncated": (SacAlgorithm, "actor_network_cls", "truncated"),
    "actor-critic": (ActorCriticAlgorithm, "actor_network_ctor", "squashed"),
    "actor-critic, beta": (ActorCriticAlgorithm, "actor_network_ctor", "beta"),
}


@pytest.mark.parametrize("scale", [255.0, 1000.0])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_stays_finite_where_observations_are_not_near_one(
    name: str, scale: float
) -> None:
    torch.manual_seed(0)
    ctor, actor, projection = LEARNERS[name]
    off_policy = ctor is SacAlgorithm
    config = TrainerConfig(
        root_dir="",
        unroll_length=8,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        mini_batch_length=2,
        mini_batch_size=32,
        num_updates_per_train_iter=4,
        initial_collect_steps=32,
    )
    critic = partial(CriticNetwork, joint_fc_layer_params=(32, 32))
    value = partial(nets.ValueNetwork, fc_layer_params=(32, 32))
    if off_policy:
        parts = {f"{part}_optimizer": Adam(lr=1e-3) for part in ("actor", "critic", "alpha")}
        parts["critic_network_cls"] = critic
    else:
        parts = {"value_network_ctor": value, "optimizer": Adam(lr=1e-3)}
    algorithm = ctor(
        TensorSpec((SIZE,)),
        ACTION,
        env=ScaledEnv(scale),
        config=config,
        **{actor: _actor(projection)},
        **parts,
    )
    for _ in range(25):
        algorithm.train_iter()
    assert all(parameter.isfinite().all() for parameter in algorithm.parameters())


def test_the_temperature_is_bounded_where_its_target_cannot_be_reached() -> None:
    for action_spec in (ACTION, CHOICE):
        sac = SacAlgorithm(TensorSpec((3,)), action_spec)
        for value in (-500.0, 500.0):
            with torch.no_grad():
                sac._log_alpha.fill_(value)
            sac.after_update((), ())
            assert abs(sac._log_alpha.item()) == LOG_ALPHA_LIMIT
            assert sac._temperatures.alphas()[0].isfinite()
            assert sac._temperatures.alphas()[0] > 0


@pytest.mark.parametrize("x", [-1e8, -1e4, -50.0, -10.1, -9.9, -1.0, 0.0, 2.0, 1e4])
def test_the_gradient_of_a_normal_log_probability_is_right_far_out(x: float) -> None:
    value = torch.tensor(x, requires_grad=True)
    NormalITS().log_cdf(value).backward()
    t = torch.tensor(-x, dtype=torch.float64)
    if x < -50:
        expected = t  # phi(x) / Phi(x) ~ -x
    else:  # torch's own is right in double precision there
        double = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        torch.special.log_ndtr(double).backward()
        expected = double.grad
    torch.testing.assert_close(value.grad.double(), expected, rtol=1e-4, atol=1e-30)
