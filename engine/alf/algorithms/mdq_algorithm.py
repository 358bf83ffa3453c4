"""Multi-dimensional Q learning: a soft policy over the bins of a continuous action."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticInfo, SacInfo
from alf.algorithms.sac.temperatures import set_target_entropy
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.algorithms.training.row_layout import ReadsRowLayout
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, spec_utils, tensor_utils
from alf.utils._periodic import TargetUpdater
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "MdqAlgorithm",
    "MdqAlphaInfo",
    "MdqCriticInfo",
    "MdqCriticState",
    "MdqInfo",
    "MdqLossInfo",
    "MdqState",
]

MdqCriticState = namedtuple("MdqCriticState", ["critic", "target_critic"], default_value=())
MdqCriticInfo = namedtuple(
    "MdqCriticInfo",
    [
        "critic_free_form",
        "target_critic_free_form",
        "critic_adv_form",
        "distill_target",
        "kl_wrt_prior",
    ],
)
MdqState = namedtuple("MdqState", ["critic"])
MdqAlphaInfo = namedtuple("MdqAlphaInfo", ["alpha_loss", "neg_entropy"])
MdqInfo = namedtuple(
    "MdqInfo",
    ["reward", "step_type", "discount", "action", "critic", "alpha"],
    default_value=(),
)
MdqLossInfo = namedtuple("MdqLossInfo", ["critic", "distill", "alpha"])


@configurable
class MdqAlgorithm(ReadsRowLayout, OffPolicyAlgorithm):
    """Soft Q learning with a policy that is drawn exactly, one action dimension after another.

    The critic has two forms, see :mod:`alf.networks.mdq_critic_networks`. The free form learns by
    temporal differences, with minus alpha times the divergence of the policy from the uniform one
    as an additional reward. The advantage form, whose soft maximum is the policy, learns to equal
    the target of the free form at actions near those of the policy: it is distilled from it.
    """

    _action_maximum: Tensor

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec,
        critic_network: MdqCriticNetwork,
        reward_spec: TensorSpec = TensorSpec(()),
        epsilon_greedy: float | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        target_entropy: float | Callable = dist_utils.calc_default_target_entropy_quantized,
        initial_log_alpha: float = 0.0,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        distill_noise: float = 0.01,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "MdqAlgorithm",
    ) -> None:
        """Build targets and losses.

        Args:
            action_spec: one continuous action of rank 1.
            critic_network: becomes a part of this algorithm; give no other one the same.
            reward_spec: rank 0.
            epsilon_greedy: with 0, ``predict_step`` takes the most probable bins; else it samples
                them. None takes ``TrainerConfig.epsilon_greedy``.
            critic_loss_ctor: called with ``debug_summaries`` and ``name`` for each replica; None is
                OneStepTDLoss.
            target_entropy: the entropy [nats] of the bins of an action that alpha is adapted to, a
                number or a function of the action's spec. The default function gets the number of
                bins of the critic.
            distill_noise: deviation, in units of the action's maximum, of the noise on the actions
                at which the advantage form is learned.
            critic_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other one. None leaves that part to the ``optimizer`` of a
                parent.

        Raises:
            TypeError: ``critic_network`` is something else.
            ValueError: the reward is a vector.
        """
        if not isinstance(critic_network, MdqCriticNetwork):
            raise TypeError(
                f"{name}.critic_network must be an MdqCriticNetwork, got {critic_network!r:.80}."
            )
        if reward_spec.shape:
            raise ValueError(f"{name} learns from a scalar reward only; reward_spec {reward_spec}.")
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        critic_optimizer, alpha_optimizer = own_optimizers(critic_optimizer, alpha_optimizer)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=MdqState(critic=MdqCriticState()),
            env=env,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._epsilon_greedy = epsilon_greedy
        self._distill_noise = distill_noise
        self._critic_network = critic_network
        self._target_critic_network = critic_network.copy(name="target_critic_network")
        self._log_prior = critic_network.get_uniform_prior_logpi()
        if target_entropy is dist_utils.calc_default_target_entropy_quantized:
            bins = round(math.exp(-self._log_prior))
            target_entropy = functools.partial(
                dist_utils.calc_default_target_entropy_quantized, num_bins=bins
            )
        self._target_entropy = set_target_entropy(name, target_entropy, nest.flatten(action_spec))
        self._log_alpha = nn.Parameter(torch.tensor(float(initial_log_alpha)))
        maximum = torch.as_tensor(action_spec.maximum, dtype=torch.float32)
        self.register_buffer("_action_maximum", maximum, persistent=False)
        if critic_optimizer is not None:
            self.add_optimizer(critic_optimizer, [critic_network])
        if alpha_optimizer is not None:
            self.add_optimizer(alpha_optimizer, [self._log_alpha])
        self._num_critic_replicas = critic_network.output_spec.shape[0]
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or OneStepTDLoss, self._num_critic_replicas, debug_summaries
        )
        self._update_target = TargetUpdater(
            models=[self._critic_network],
            target_models=[self._target_critic_network],
            tau=target_update_tau,
            period=target_update_period,
        )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_network"]

    # Acting

    def predict_step(self, time_step: TimeStep, state: MdqState) -> AlgStep:
        return self._act(time_step, greedy=self._epsilon_greedy == 0)

    def rollout_step(self, time_step: TimeStep, state: MdqState) -> AlgStep:
        """Sample an action."""
        return self._act(time_step, greedy=False)

    @torch.no_grad()
    def _act(self, time_step: TimeStep, greedy: bool) -> AlgStep:
        """The action [B, D] of the first replica's policy."""
        actions, _ = self._critic_network.get_action(
            time_step.observation, alpha=self._alpha(), greedy=greedy
        )
        action = actions[:, 0]
        return AlgStep(
            output=action, state=MdqState(critic=MdqCriticState()), info=MdqInfo(action=action)
        )

    def _alpha(self) -> Tensor:
        return self._log_alpha.detach().exp()

    # Training

    def train_step(self, inputs: TimeStep, state: MdqState, rollout_info: MdqInfo) -> AlgStep:
        """What the losses need; the output is the policy's action [B, R, D], the first replica's.

        Shapes: values [B, R]; ``critic_adv_form`` and ``kl_wrt_prior`` [B, R, D].
        """
        observation, alpha = inputs.observation, self._alpha()
        with torch.no_grad():
            actions, log_pi = self._critic_network.get_action(observation, alpha, greedy=False)
            action, log_pi = actions[:, 0], log_pi[:, :1].expand_as(log_pi)
            noise = self._distill_noise * self._action_maximum * torch.randn_like(action)
            noisy = spec_utils.clip_to_spec(action + noise, self.action_spec)
            target, distill_target = self._target_values(observation, action, noisy)
        adv_form, _ = self._critic_network((observation, noisy), alpha)
        info = MdqInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            critic=MdqCriticInfo(
                critic_free_form=self._values(observation, rollout_info.action),
                target_critic_free_form=target,
                critic_adv_form=adv_form,
                distill_target=distill_target,
                # of dimension i and all after it
                kl_wrt_prior=tensor_utils.reverse_cumsum(log_pi - self._log_prior, dim=-1),
            ),
            alpha=self._alpha_loss(log_pi.sum(-1).mean(1)),
        )
        output = action.unsqueeze(1).expand_as(actions)
        return AlgStep(output=output, state=MdqState(critic=MdqCriticState()), info=info)

    def _values(self, observation: Any, taken: Tensor) -> Tensor:
        """The free form [B, R] of the actions taken.

        Where it is known which time steps the rows are, those of the last step, which is not
        trained, are 0.
        """
        layout = self.sequences_of(taken.shape[0])
        if layout is None:
            return self._critic_network((observation, taken), 1.0, free_form=True)[0]
        B = layout.batch_size
        earlier = nest.map_structure(lambda x: x[:-B], (observation, taken))
        values, _ = self._critic_network(earlier, 1.0, free_form=True)
        return torch.cat([values, torch.zeros_like(values[:B])])

    def _target_values(
        self, observation: Any, action: Tensor, noisy: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The free form [B, R] of the target at the policy's action, and at the noisy one."""
        twice = nest.map_structure(lambda x: torch.cat([x, x]), observation)
        actions = torch.cat([action, noisy])
        values, _ = self._target_critic_network((twice, actions), 1.0, free_form=True)
        return values.chunk(2)

    def _alpha_loss(self, log_pi: Tensor) -> LossInfo:
        """The loss [B] of the temperature; ``log_pi`` [B] is that of the whole action."""
        loss = sac_values.temperature_loss(self._log_alpha, log_pi, self._target_entropy)
        return LossInfo(loss=loss, extra=MdqAlphaInfo(alpha_loss=loss, neg_entropy=log_pi))

    # The loss

    def calc_loss(self, info: MdqInfo) -> LossInfo:
        critic, alpha = info.critic, self._alpha()
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                summary.scalar("alpha", alpha)
        target = critic.target_critic_free_form.amin(2) - alpha * critic.kl_wrt_prior[..., 0, 0]
        values = SacCriticInfo(critics=critic.critic_free_form, target_critic=target.detach())
        critic_loss = sac_losses.loss_of_replicas(
            self._critic_losses,
            SacInfo(
                reward=info.reward,
                step_type=info.step_type,
                discount=info.discount,
                critic=values,
            ),
        )
        wanted = critic.distill_target.detach().amin(2, keepdim=True)
        distill_loss = (critic.critic_adv_form[..., -1] - wanted).square().mean(2)
        return LossInfo(
            loss=critic_loss + distill_loss + info.alpha.loss,
            extra=MdqLossInfo(
                critic=critic_loss / self._num_critic_replicas,
                distill=distill_loss,
                alpha=info.alpha.extra,
            ),
        )

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._critic_network.sync_net()
        self._update_target()
