"""Temporally abstract actor-critic: each step goes on with a trajectory or begins a new one.

Source: Yu, Xu, Zhang, "TAAC: Temporally Abstract Actor-Critic for Continuous Control",
arXiv:2104.06521.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.temperatures import set_target_entropy
from alf.algorithms.sac_algorithm import LOG_ALPHA_LIMIT
from alf.algorithms.taac.data import (
    ActPredOutput,
    Distributions,
    Mode,
    TaacActorInfo,
    TaacCriticInfo,
    TaacInfo,
    TaacLossInfo,
    TaacState,
    Tau,
)
from alf.algorithms.taac.loss import TAACTDLoss
from alf.algorithms.taac.trajectories import (
    ConstantTrajectory,
    LinearTrajectory,
    QuadraticTrajectory,
)
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep
from alf.layers import FC, Detach
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, spec_utils
from alf.utils._exe_mode import is_eval
from alf.utils._periodic import TargetUpdater
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "ActPredOutput",
    "Distributions",
    "Mode",
    "TAACTDLoss",
    "TaacActorInfo",
    "TaacAlgorithm",
    "TaacAlgorithmBase",
    "TaacCriticInfo",
    "TaacInfo",
    "TaacLAlgorithm",
    "TaacLossInfo",
    "TaacQAlgorithm",
    "TaacState",
    "Tau",
]

_CHOICE_SPEC = BoundedTensorSpec((), torch.int64, 0, 1)
# Values are divided by alpha.
_MIN_ALPHA = 1e-10


@configurable
class TaacAlgorithmBase(OffPolicyAlgorithm):
    """What the temporally abstract actor-critics share; a subclass says what a trajectory is.

    In every step the actor draws a new trajectory, given the present one, and the second stage
    chooses: ``b = 0`` goes on, ``b = 1`` takes the new one, with the probabilities ``beta``
    proportional to ``exp(Q / alpha)``. The critics' targets follow the rollout through all steps in
    which neither it nor the present policy began a new trajectory (:class:`TAACTDLoss`), which
    needs mini batches of more than two time steps to show.

    An episode begins with the trajectory 0. Where episodes end soon, at a time that is not
    observed, trajectories near 0 therefore tell of more rewards to come, and with linear and
    quadratic ones the policy may learn to stay there; ``randomize_first_state_tau`` removes that.

    What training needs of the past is in the rollout's info, so that
    ``TrainerConfig.temporally_independent_train_step=True`` gives the same losses, faster.
    """

    _training_started: Tensor

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] = CriticNetwork,
        actor_observation_processors: Any = Detach(),
        reward_weights: list[float] | None = None,
        num_critic_replicas: int = 2,
        epsilon_greedy: float | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        critic_loss_ctor: Callable | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        initial_alpha: float = 1.0,
        debug_summaries: bool = False,
        randomize_first_state_tau: bool = False,
        b1_advantage_clipping: tuple[float, float] | None = None,
        max_repeat_steps: int | None = None,
        target_entropy: float | Callable | tuple | list | None = None,
        checkpoint: str | None = None,
        name: str = "TaacAlgorithmBase",
    ) -> None:
        """Build networks, temperatures and losses.

        Args:
            action_spec: one bounded continuous action [A].
            reward_spec: rank 0, or rank 1 for a vector reward: then there is a critic for each
                dimension and the policy maximizes their weighted sum.
            actor_network_cls: called with ``input_tensor_spec=(observation, trajectory)``,
                ``input_preprocessors``, ``preprocessing_combiner`` and ``action_spec``.
            critic_network_cls: called with ``input_tensor_spec=(observation, trajectory)`` and
                ``action_preprocessing_combiner``.
            actor_observation_processors: processors of the actor's observation, alone or a nest.
            reward_weights: weights of a vector reward; None is all ones.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            critic_loss_ctor: called with ``debug_summaries`` and ``name`` for each replica; None is
                :class:`TAACTDLoss`.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.
            initial_alpha: of both stages.
            randomize_first_state_tau: in a rollout an episode begins with a random trajectory.
            b1_advantage_clipping: the least and the greatest advantage of a new trajectory that
                ``beta`` sees.
            max_repeat_steps: outside of training, a new trajectory begins after so many steps at
                the latest.
            target_entropy: a number, or a callable on a spec, for both stages, or a pair for
                ``b`` and for the action. None is ``dist_utils.calc_default_target_entropy``.

        Raises:
            ValueError: the action is not one bounded continuous vector, a network has a state, or
                an option is out of its range.
        """
        _check_action(action_spec, name)
        _check_clipping(b1_advantage_clipping, name)
        trajectory = self._make_trajectory(action_spec)
        actor_optimizer, critic_optimizer, alpha_optimizer = own_optimizers(
            actor_optimizer, critic_optimizer, alpha_optimizer
        )
        actor_network = actor_network_cls(
            input_tensor_spec=(observation_spec, trajectory.spec),
            input_preprocessors=(
                actor_observation_processors,
                _encoders(trajectory.spec, observation_spec),
            ),
            preprocessing_combiner=NestConcat(),
            action_spec=action_spec,
        )
        critic_networks = critic_network_cls(
            input_tensor_spec=(observation_spec, trajectory.spec),
            action_preprocessing_combiner=NestConcat(),
        ).make_parallel(num_critic_replicas * reward_spec.numel)
        _check_stateless(actor_network, critic_networks, name)
        state_spec = TaacState(tau=trajectory.spec, repeats=TensorSpec((), torch.int64))
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            reward_weights=reward_weights,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._trajectory = trajectory
        self._num_critic_replicas = num_critic_replicas
        self._epsilon_greedy = (
            get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._randomize_first_state_tau = randomize_first_state_tau
        self._b1_advantage_clipping = b1_advantage_clipping
        self._max_repeat_steps = max_repeat_steps
        self._target_entropies = _target_entropies(target_entropy, action_spec, name)
        self._has_trained = False
        self.register_buffer("_training_started", torch.zeros((), dtype=torch.bool))

        self._actor_network = actor_network
        self._critic_networks = critic_networks
        # of b, and of the action
        self._log_alpha = nn.ParameterList(
            nn.Parameter(torch.tensor(float(initial_alpha)).log()) for _ in range(2)
        )
        for optimizer, trained in (
            (actor_optimizer, [actor_network]),
            (critic_optimizer, [critic_networks]),
            (alpha_optimizer, list(self._log_alpha)),
        ):
            if optimizer is not None:
                self.add_optimizer(optimizer, trained)
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or TAACTDLoss, num_critic_replicas, debug_summaries
        )
        self._target_critic_networks = critic_networks.copy()
        self._update_target = TargetUpdater(
            models=[self._critic_networks],
            target_models=[self._target_critic_networks],
            tau=target_update_tau,
            period=target_update_period,
        )

    def _make_trajectory(self, action_spec: BoundedTensorSpec) -> ConstantTrajectory:
        """What a trajectory is."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what a trajectory is: use TaacAlgorithm, "
            "TaacLAlgorithm or TaacQAlgorithm."
        )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks"]

    # Acting

    def predict_step(self, inputs: TimeStep, state: TaacState) -> AlgStep:
        """Act; at random as in a rollout until training starts, unless this is evaluation."""
        chosen = self._decide(inputs.observation, state.tau, Mode.predict)
        tau, repeats, _ = self._switch(chosen, state)
        info = TaacInfo(action_distribution=chosen.dists, b=chosen.b)
        return AlgStep(output=tau.a, state=TaacState(tau=tau, repeats=repeats), info=info)

    def rollout_step(self, inputs: TimeStep, state: TaacState) -> AlgStep:
        """Act; uniformly at random, trajectories and when they begin, until training starts."""
        if self._randomize_first_state_tau:
            random = self._trajectory.sample(inputs.step_type.shape[0])
            state = state._replace(tau=_select(inputs.is_first(), random, state.tau))
        chosen = self._decide(inputs.observation, state.tau, Mode.rollout)
        tau, repeats, began = self._switch(chosen, state)
        info = TaacInfo(
            action_distribution=chosen.dists,
            prev_tau=state.tau,
            tau=tau,
            # What was done: a trajectory that max_repeat_steps began is not the policy's going on.
            b=began.to(torch.int64),
            repeats=state.repeats,
        )
        return AlgStep(output=tau.a, state=TaacState(tau=tau, repeats=repeats), info=info)

    def observe_for_replay(self, exp: Experience) -> None:
        """Store a record, without the policy it was drawn from: training asks nothing of that."""
        info = exp.rollout_info._replace(action_distribution=())
        super().observe_for_replay(exp._replace(rollout_info=info))

    def _switch(self, chosen: ActPredOutput, state: TaacState) -> tuple[Tau, Tensor, Tensor]:
        """Outside of training: the trajectory, its steps so far [B], and whether it began [B]."""
        began = chosen.b == 1
        if self._max_repeat_steps is not None:
            began = began | (state.repeats >= self._max_repeat_steps)
        on, new = chosen.taus
        return _select(began, new, on), _steps_so_far(state.repeats, began), began

    def _decide(self, observation: Any, tau: Tau, mode: Mode) -> ActPredOutput:
        """Both trajectories after ``tau``, their values [B], and the choice among them.

        Only the new one has gradients, in training, and with it its value.
        """
        dist, _ = self._actor_network((observation, tau))
        x = self._draw(dist, mode)
        if mode is not Mode.train:
            # A normal distribution that is not squashed goes beyond the bounds.
            x = spec_utils.clip_to_spec(x, self.action_spec)
        on, new = self._trajectory.next(tau), self._trajectory.new(tau, x)
        if mode is Mode.train:
            with torch.no_grad():
                q_on = self._least(self._values(self._critic_networks, observation, on))
            q_new = self._least(self._values(self._critic_networks, observation, new))
        else:
            q_on, q_new = self._least_of_both(self._critic_networks, observation, (on, new))
        q2 = (self._scalarize(q_on), self._scalarize(q_new))
        beta = self._beta(q2[0].detach(), q2[1].detach())
        b = self._draw(beta, mode)
        if mode is not Mode.train and not is_eval():
            b, x = self._random_until_training(b, x)
            new = self._trajectory.new(tau, x)
        dists = Distributions(beta_dist=beta, b1_a_dist=dist)
        return ActPredOutput(dists=dists, b=b, actor_a=x, taus=(on, new), q_values2=q2)

    def _draw(self, dist: torch.distributions.Distribution, mode: Mode) -> Any:
        if mode is Mode.predict:
            return dist_utils.epsilon_greedy_sample(dist, self._epsilon_greedy)
        return dist.rsample() if dist.has_rsample else dist.sample()

    def _random_until_training(self, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Choice [B] and action [B, A], uniformly drawn before the first ``train_step``."""
        started = self._training_started
        # Looked up where that does not mean to wait for an accelerator.
        if started.device.type == "cpu" and bool(started):
            return b, x
        any_b = torch.randint(0, 2, b.shape, device=b.device)
        any_x = self.action_spec.sample(outer_dims=b.shape).to(x)
        return torch.where(started, b, any_b), torch.where(started, x, any_x)

    def _beta(self, q_on: Tensor, q_new: Tensor) -> torch.distributions.Categorical:
        """The choice between going on (0) and the new trajectory (1), from their values [B]."""
        if self._b1_advantage_clipping is not None:
            advantage = (q_new - q_on).clamp(*self._b1_advantage_clipping)
            q_on, q_new = torch.zeros_like(advantage), advantage
        q = torch.stack([q_on, q_new], dim=-1)
        alpha = self._alphas()[0].clamp(min=_MIN_ALPHA)
        return sac_values.boltzmann(q - q.amax(-1, keepdim=True), alpha)

    # Values

    def _values(self, networks: Network, observation: Any, tau: Tau) -> Tensor:
        """Values [B, R] or [B, R, n] of the replicas."""
        values = networks((observation, tau))[0]
        return sac_values.split_heads(values, self._num_critic_replicas, self._reward_spec.shape)

    @torch.no_grad()
    def _least_of_both(
        self, networks: Network, observation: Any, taus: tuple[Tau, Tau]
    ) -> tuple[Tensor, Tensor]:
        """The least replicas' values [B] or [B, n] of two trajectories, in one call."""
        twice = nest.map_structure(lambda x: torch.cat([x, x]), observation)
        both = nest.map_structure(lambda *xs: torch.cat(xs), *taus)
        first, second = self._least(self._values(networks, twice, both)).chunk(2)
        return first, second

    def _least(self, values: Tensor) -> Tensor:
        return sac_values.least_replica(values, self.reward_weights)

    def _scalarize(self, values: Tensor) -> Tensor:
        return sac_values.scalarize(values, self.reward_weights)

    def _alphas(self) -> list[Tensor]:
        return [log_alpha.detach().exp() for log_alpha in self._log_alpha]

    # Training

    def train_step(self, inputs: TimeStep, state: TaacState, rollout_info: TaacInfo) -> AlgStep:
        """What the losses need; the trajectory before the step is that of the rollout."""
        if not self._has_trained:
            self._has_trained = True
            self._training_started.fill_(True)
        observation = inputs.observation
        chosen = self._decide(observation, rollout_info.prev_tau, Mode.train)
        info = TaacInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action_distribution=chosen.dists,
            rollout_b=rollout_info.b,
            b=chosen.b,
            actor=self._actor_train_step(chosen),
            critic=self._critic_train_step(observation, rollout_info.tau, chosen),
            repeats=rollout_info.repeats,
        )
        info = info._replace(alpha=self._alpha_train_step(info.actor.extra))
        repeats = _steps_so_far(rollout_info.repeats, rollout_info.b == 1)
        state = TaacState(tau=rollout_info.tau, repeats=repeats)
        return AlgStep(output=rollout_info.tau.a, state=state, info=info)

    def _actor_train_step(self, chosen: ActPredOutput) -> LossInfo:
        """The loss [B]: dQ/da counts as much as the new trajectory is likely to be taken."""
        dists, (q_on, q_new) = chosen.dists, chosen.q_values2
        entropy = -dist_utils.compute_log_probability(dists.b1_a_dist, chosen.actor_a)
        weighted = dists.beta_dist.probs[..., 1].detach() * q_new
        climb = sac_values.action_gradient_loss(weighted, [chosen.actor_a], None)
        loss = climb - self._alphas()[1] * entropy
        extra = TaacActorInfo(
            actor_loss=loss,
            b1_a_entropy=entropy,
            beta_entropy=dists.beta_dist.entropy(),
            adv=(q_new - q_on).detach(),
        )
        return LossInfo(loss=loss, extra=extra)

    def _critic_train_step(
        self, observation: Any, taken: Tau, chosen: ActPredOutput
    ) -> TaacCriticInfo:
        """Values [B, R, ...] of the rollout's trajectory, and target values [B, ...] of beta."""
        critics = self._values(self._critic_networks, observation, taken)
        with torch.no_grad():
            on, new = self._least_of_both(self._target_critic_networks, observation, chosen.taus)
            target = sac_values.expected_value(
                torch.stack([on, new], dim=1), chosen.dists.beta_dist.probs
            )
        return TaacCriticInfo(critics=critics, target_critic=target)

    def _alpha_train_step(self, actor: TaacActorInfo) -> Tensor:
        """The loss [B] of both temperatures."""
        entropies = (actor.beta_entropy, actor.b1_a_entropy)
        stages = zip(self._log_alpha, entropies, self._target_entropies, strict=True)
        of_b, of_action = (sac_values.temperature_loss(log, -h, goal) for log, h, goal in stages)
        return of_b + of_action

    def calc_loss(self, info: TaacInfo) -> LossInfo:
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                for name, alpha in zip(("alpha/beta", "alpha/action"), self._alphas(), strict=True):
                    summary.scalar(name, alpha)
                summary.scalar("beta/switches", (info.b == 1).float().mean())
        critic = sac_losses.loss_of_replicas(self._critic_losses, info)
        return LossInfo(
            loss=info.actor.loss + info.alpha + critic,
            extra=TaacLossInfo(
                actor=info.actor.extra, critic=critic / self._num_critic_replicas, alpha=info.alpha
            ),
        )

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: TaacInfo) -> None:
        self._update_target()
        for log_alpha in self._log_alpha:
            log_alpha.clamp_(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)

    def summarize_rollout(
        self, experience: Experience, custom_summary: Callable[[Experience], None] | None = None
    ) -> None:
        """Write also how many steps trajectories took that ended."""
        super().summarize_rollout(experience, custom_summary)
        if self._debug_summaries:
            info = experience.rollout_info
            with summary.scope(self._name):
                summary.histogram("rollout_repeats/value", info.repeats[info.b == 1])


@configurable
class TaacAlgorithm(TaacAlgorithmBase):
    """A trajectory repeats its action. The arguments are those of :class:`TaacAlgorithmBase`."""

    def __init__(self, name: str = "TaacAlgorithm", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, name=name, **kwargs)

    def _make_trajectory(self, action_spec: BoundedTensorSpec) -> ConstantTrajectory:
        return ConstantTrajectory(action_spec)


@configurable
class TaacLAlgorithm(TaacAlgorithmBase):
    """A trajectory is linear in time: ``a' = clamp(a + 2 v, -1, 1)``.

    Args:
        inverse_mode: the actor draws the new action, and ``v`` is what leads to it; else it draws
            ``v``.

    The other arguments are those of :class:`TaacAlgorithmBase`; the bounds are -1 and 1.
    """

    def __init__(
        self,
        name: str = "TaacLAlgorithm",
        inverse_mode: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._inverse_mode = inverse_mode
        super().__init__(*args, name=name, **kwargs)

    def _make_trajectory(self, action_spec: BoundedTensorSpec) -> ConstantTrajectory:
        return LinearTrajectory(action_spec, inverse=self._inverse_mode)


@configurable
class TaacQAlgorithm(TaacLAlgorithm):
    """A trajectory is quadratic in time: ``v' = clamp(v + 2 u, -1, 1)``, then as in TAAC-L.

    Args:
        inverse_mode: the actor draws the new action, and ``u`` is what leads to it from ``v = 0``;
            else it draws ``u``.

    The other arguments are those of :class:`TaacAlgorithmBase`; the bounds are -1 and 1.
    """

    def __init__(
        self,
        name: str = "TaacQAlgorithm",
        inverse_mode: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, inverse_mode, *args, **kwargs)

    def _make_trajectory(self, action_spec: BoundedTensorSpec) -> ConstantTrajectory:
        return QuadraticTrajectory(action_spec, inverse=self._inverse_mode)


def _select(mask: Tensor, yes: Tau, no: Tau) -> Tau:
    """Rows of ``yes`` where ``mask`` [B], else of ``no``."""
    return nest.map_structure(lambda x, y: torch.where(mask.unsqueeze(-1), x, y), yes, no)


def _steps_so_far(repeats: Tensor, began: Tensor) -> Tensor:
    """The steps [B] of a trajectory after one that had ``repeats`` of them."""
    return torch.where(began, torch.zeros_like(repeats), repeats) + 1


def _encoders(tau_spec: Tau, observation_spec: Any) -> Any:
    """For each part of a trajectory a layer as wide as the whole observation."""
    size = sum(spec.numel for spec in nest.flatten(observation_spec))
    return nest.map_structure(lambda spec: FC(spec.numel, size), tau_spec)


def _target_entropies(given: Any, action_spec: BoundedTensorSpec, name: str) -> list[float]:
    """The entropies wanted of b and of the action."""
    pair = given if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        raise ValueError(
            f"{name}.target_entropy is {given!r}; allowed: one for both stages, or a pair for b "
            "and for the action."
        )
    specs = (_CHOICE_SPEC, action_spec)
    return [
        set_target_entropy(name, target, [spec]) for target, spec in zip(pair, specs, strict=True)
    ]


def _check_action(spec: Any, name: str) -> None:
    allowed = isinstance(spec, BoundedTensorSpec) and spec.is_continuous and spec.ndim == 1
    if not (allowed and spec_utils.has_finite_bounds(spec)):
        raise ValueError(
            f"{name} needs one continuous action of rank 1 with finite bounds; the action_spec is "
            f"{spec}."
        )


def _check_clipping(bounds: Any, name: str) -> None:
    if bounds is not None and not (len(bounds) == 2 and bounds[0] <= bounds[1]):
        raise ValueError(
            f"{name}.b1_advantage_clipping is {bounds!r}; allowed: a pair of numbers, the least "
            "advantage first."
        )


def _check_stateless(actor: Network, critic: Network, name: str) -> None:
    for network, setting in ((actor, "actor_network_cls"), (critic, "critic_network_cls")):
        if nest.flatten(network.state_spec):
            raise ValueError(
                f"{name}.{setting} makes a recurrent network; its networks must have no state."
            )
