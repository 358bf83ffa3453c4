"""SEditor: a policy that edits the actions of another to be safe (arXiv:2201.12427)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticInfo, SacInfo
from alf.algorithms.sac.temperatures import set_target_entropy
from alf.algorithms.td_loss import TDLoss
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest.utils import NestConcat
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, math_ops, spec_utils
from alf.utils._periodic import TargetUpdater
from alf.utils._policy_state import detach
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "ActPredOutput",
    "Actions",
    "AlgStep",
    "LossInfo",
    "Mode",
    "SEditorActorInfo",
    "SEditorAlgorithm",
    "SEditorCriticInfo",
    "SEditorInfo",
    "SEditorLossInfo",
    "TimeStep",
]

Mode = Enum("Mode", ("predict", "rollout", "train"))

# The proposed action ``a``, its edit ``da``, their distributions, and the edited action.
ActPredOutput = namedtuple(
    "ActPredOutput", ["a", "da", "a_dist", "da_dist", "output"], default_value=()
)
# Edited actions through which only one of the two actors is trained: the safety editor (SE) where
# the utility maximizer (UM) is detached, and the other way round; what the detached UM proposed.
Actions = namedtuple(
    "Actions", ["out_a_UM_detached", "out_a_SE_detached", "a_UM_detached"], default_value=()
)
SEditorActorInfo = namedtuple(
    "SEditorActorInfo",
    ["a_loss", "da_loss", "a_entropy", "da_entropy", "change_a_loss", "a_l2"],
    default_value=(),
)
SEditorCriticInfo = namedtuple("SEditorCriticInfo", ["critics", "target_critic"], default_value=())
SEditorInfo = namedtuple(
    "SEditorInfo",
    ["ap_out", "reward", "step_type", "discount", "actor", "critic", "alpha"],
    default_value=(),
)
SEditorLossInfo = namedtuple("SEditorLossInfo", ["actor", "critic", "alpha"], default_value=())

_UTILITY, _CONSTRAINT = 0, 1


@configurable
class SEditorAlgorithm(OffPolicyAlgorithm):
    """Two soft actors: UM proposes an action, SE edits it so that a constraint is kept.

    The reward is a pair (utility, constraint); more of each is better. UM maximizes the utility of
    the edited action. SE maximizes the value of the constraint, and keeps the utility that the edit
    costs low. The weights of the two are ``reward_weights``; an ``Agent`` can adapt them by
    ``LagrangianRewardWeightAlgorithm``.

    Each actor learns through a copy of the other, which is renewed after each update.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec,
        actor_network_ctor: Callable[..., Network] = ActorDistributionNetwork,
        critic_network_ctor: Callable[..., Network] = CriticNetwork,
        reward_weights: list[float] | None = None,
        num_critic_replicas: int = 2,
        initial_alpha: float | tuple | list = 1.0,
        train_alpha: bool = True,
        epsilon_greedy: float | None = None,
        soft_clipping: bool = False,
        hinge_softness: float = 0.1,
        regularize_action_diff: bool = False,
        env: Any = None,
        config: TrainerConfig | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        critic_loss_ctor: Callable | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        target_entropy: float | Callable | tuple | list | None = None,
        name: str = "SEditorAlgorithm",
    ) -> None:
        """Build two actors and the critics.

        Args:
            action_spec: one continuous action with finite bounds around 0; an edit is one too.
            reward_spec: of two numbers.
            actor_network_ctor: called with ``input_tensor_spec`` and ``action_spec``; SE's input is
                ``(observation, a)``, with ``preprocessing_combiner=NestConcat()``.
            critic_network_ctor: called with ``input_tensor_spec=(observation, action)``.
            reward_weights: of SE's two aims; None is all ones.
            initial_alpha: temperature of UM and SE, or a pair; positive.
            train_alpha: adapt them to ``target_entropy``.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            soft_clipping: bring ``a + 2 da`` into the bounds smoothly, by ``hinge_softness``.
            regularize_action_diff: SE keeps the mean squared change of the action low instead of
                the lost utility.
            critic_loss_ctor: called with ``debug_summaries`` and ``name`` for each replica; None is
                TDLoss.
            optimizer: must be without parameters; the algorithm uses its own copy.
            target_entropy: a number or a callable on the action's spec for UM and SE, or a pair.
                None is ``dist_utils.calc_default_target_entropy``.

        Raises:
            ValueError: action or reward are of another kind, or a temperature is not positive.
        """
        _check_specs(name, action_spec, reward_spec)
        (optimizer,) = own_optimizers(optimizer)
        alphas = _pair(initial_alpha)
        if len(alphas) != 2 or not all(alpha > 0 for alpha in alphas):
            raise ValueError(
                f"{name}.initial_alpha is {initial_alpha}; allowed: a positive number, or two"
            )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=(),
            reward_weights=reward_weights,
            env=env,
            config=config,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._actor_network = actor_network_ctor(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        self._editor_network = actor_network_ctor(
            input_tensor_spec=(observation_spec, action_spec),
            action_spec=action_spec,
            preprocessing_combiner=NestConcat(),
        )
        critic = critic_network_ctor(input_tensor_spec=(observation_spec, action_spec))
        self._critic_networks = critic.make_parallel(num_critic_replicas * 2)
        if any(net.state_spec != () for net in (self._actor_network, critic)):
            raise ValueError(f"{name}: its networks have states; allowed: networks without")
        self._actor_copy = self._actor_network.copy(name="um_copy")
        self._editor_copy = self._editor_network.copy(name="se_copy")
        self._target_critic_networks = self._critic_networks.copy(name="target_critics")
        self._update_target = TargetUpdater(
            models=[self._critic_networks],
            target_models=[self._target_critic_networks],
            tau=target_update_tau,
            period=target_update_period,
        )
        self._update_copies = TargetUpdater(
            models=[self._actor_network, self._editor_network],
            target_models=[self._actor_copy, self._editor_copy],
        )
        log_alpha = torch.tensor([float(alpha) for alpha in alphas]).log()
        self._log_alphas = nn.ParameterList(
            [nn.Parameter(x, requires_grad=train_alpha) for x in log_alpha]
        )
        self._train_alpha = train_alpha
        targets = _pair(target_entropy)
        if len(targets) != 2:
            raise ValueError(
                f"{name}.target_entropy is {target_entropy}; allowed: one for both actors, or two"
            )
        self._target_entropies = [
            set_target_entropy(name, target, [action_spec]) for target in targets
        ]
        self._num_critic_replicas = num_critic_replicas
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or TDLoss, num_critic_replicas, debug_summaries
        )
        self._epsilon_greedy = (
            get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._hinge_softness = hinge_softness if soft_clipping else None
        self._regularize_action_diff = regularize_action_diff

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks", "_actor_copy", "_editor_copy"]

    # Acting

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        act = self._act(inputs.observation, Mode.predict)
        return AlgStep(output=act.output, state=(), info={"ap_out": act})

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        act = self._act(inputs.observation, Mode.rollout)
        return AlgStep(output=act.output, state=(), info=act)

    def _act(
        self,
        observation: Any,
        mode: Mode,
        actor: Network | None = None,
        editor: Network | None = None,
    ) -> ActPredOutput:
        """Propose and edit an action, by the trained networks where no others are given."""
        actor = actor or self._actor_network
        editor = editor or self._editor_network
        observation = detach(observation)
        a_dist = actor(observation)[0]
        a = self._choose(a_dist, mode)
        da_dist = editor((observation, a))[0]
        da = self._choose(da_dist, mode)
        output = self._clip(a + 2 * da)
        return ActPredOutput(a=a, da=da, a_dist=a_dist, da_dist=da_dist, output=output)

    def _choose(self, distribution: Any, mode: Mode) -> Tensor:
        if mode is Mode.predict:
            return dist_utils.epsilon_greedy_sample(distribution, self._epsilon_greedy)
        if mode is Mode.rollout:
            return dist_utils.sample_action_distribution(distribution)
        return dist_utils.rsample_action_distribution(distribution)

    def _clip(self, action: Tensor) -> Tensor:
        spec = self.action_spec
        if self._hinge_softness is None:
            return spec_utils.clip_to_spec(action, spec)
        low, high = (
            torch.as_tensor(x, dtype=action.dtype, device=action.device)
            for x in (spec.minimum, spec.maximum)
        )
        return math_ops.softclip(action, low, high, self._hinge_softness)

    # Training

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: ActPredOutput) -> AlgStep:
        observation = inputs.observation
        editing = self._act(observation, Mode.train, actor=self._actor_copy)
        proposing = self._act(observation, Mode.train, editor=self._editor_copy)
        actions = Actions(
            out_a_UM_detached=editing.output,
            out_a_SE_detached=proposing.output,
            a_UM_detached=editing.a,
        )
        log_pis = [
            dist_utils.compute_log_probability(proposing.a_dist, proposing.a),
            dist_utils.compute_log_probability(editing.da_dist, editing.da),
        ]
        info = SEditorInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            actor=self._actor_info(observation, actions, proposing.a, editing.da, log_pis),
            critic=self._critic_info(observation, rollout_info.output, proposing.output),
            alpha=self._alpha_loss(log_pis),
        )
        return AlgStep(output=proposing.output, state=(), info=info)

    def _actor_info(
        self,
        observation: Any,
        actions: Actions,
        a: Tensor,
        da: Tensor,
        log_pis: Sequence[Tensor],
    ) -> SEditorActorInfo:
        alphas = [log_alpha.detach().exp() for log_alpha in self._log_alphas]
        utility = self._values(observation, actions.out_a_SE_detached)[:, _UTILITY]
        a_loss = sac_values.action_gradient_loss(utility, [a], None)

        edited = self._values(observation, actions.out_a_UM_detached)
        proposed = actions.a_UM_detached.detach()
        a_l2 = (actions.out_a_UM_detached - proposed).square().flatten(1).mean(1)
        change = a_l2
        if not self._regularize_action_diff:
            with torch.no_grad():
                before = self._values(observation, proposed)[:, _UTILITY]
            change = (before - edited[:, _UTILITY]).relu()
        aims = torch.stack([-change, edited[:, _CONSTRAINT]], dim=-1)
        assert self.reward_weights is not None
        score = (aims * self.reward_weights).sum(-1)
        da_loss = sac_values.action_gradient_loss(score, [da], None)
        return SEditorActorInfo(
            a_loss=a_loss + alphas[0] * log_pis[0],
            da_loss=da_loss + alphas[1] * log_pis[1],
            a_entropy=-log_pis[0],
            da_entropy=-log_pis[1],
            change_a_loss=change.detach(),
            a_l2=a_l2.detach(),
        )

    def _values(self, observation: Any, action: Tensor) -> Tensor:
        """The least values [B, 2] of all replicas."""
        return self._least(self._critic_networks((observation, action))[0])

    def _least(self, values: Tensor) -> Tensor:
        values = sac_values.split_heads(values, self._num_critic_replicas, (2,))
        return sac_values.least_replica(values, self.reward_weights)

    def _critic_info(self, observation: Any, taken: Tensor, action: Tensor) -> SEditorCriticInfo:
        critics = self._critic_networks((observation, taken))[0]
        with torch.no_grad():
            targets = self._target_critic_networks((observation, action))[0]
        return SEditorCriticInfo(
            critics=sac_values.split_heads(critics, self._num_critic_replicas, (2,)),
            target_critic=self._least(targets),
        )

    def _alpha_loss(self, log_pis: Sequence[Tensor]) -> Tensor:
        if not self._train_alpha:
            return torch.zeros_like(log_pis[0])
        parts = zip(self._log_alphas, log_pis, self._target_entropies, strict=True)
        losses = [sac_values.temperature_loss(*part) for part in parts]
        return losses[0] + losses[1]

    def calc_loss(self, info: SEditorInfo) -> LossInfo:
        """Losses of both actors, of the temperatures and of all critics."""
        critic_loss = sac_losses.loss_of_replicas(
            self._critic_losses,
            SacInfo(
                reward=info.reward,
                step_type=info.step_type,
                discount=info.discount,
                critic=SacCriticInfo(*info.critic),
            ),
        )
        return LossInfo(
            loss=info.actor.a_loss + info.actor.da_loss + info.alpha + critic_loss,
            extra=SEditorLossInfo(
                actor=info.actor,
                critic=critic_loss / self._num_critic_replicas,
                alpha=info.alpha,
            ),
        )

    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._update_target()
        self._update_copies()


def _pair(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple | list) else [value, value]


def _check_specs(name: str, action_spec: Any, reward_spec: TensorSpec) -> None:
    if tuple(reward_spec.shape) != (2,):
        raise ValueError(
            f"{name}.reward_spec is {reward_spec}; allowed: two numbers, utility and constraint"
        )
    if not isinstance(action_spec, BoundedTensorSpec) or action_spec.is_discrete:
        raise ValueError(f"{name}.action_spec is {action_spec}; allowed: one continuous action")
    if not spec_utils.has_finite_bounds(action_spec):
        raise ValueError(f"{name}.action_spec is {action_spec}; allowed: finite bounds")
    if (action_spec.minimum >= 0).any() or (action_spec.maximum <= 0).any():
        raise ValueError(
            f"{name}.action_spec is {action_spec}: an edit could move the action one way only; "
            "allowed: bounds around 0"
        )
