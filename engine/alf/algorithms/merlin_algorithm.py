"""MERLIN: a predictor with an external memory, and an actor (Wayne et al., arXiv:1803.10760).

Differences to the paper: actions are no part of what is decoded; nothing is written into the memory
in hindsight; the value does not depend on the action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from alf.algorithms._merlin_images import ResnetDecodingNetwork, ResnetEncodingNetwork
from alf.algorithms.actor_critic_algorithm import ActorCriticInfo
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.algorithms.vae import VariationalAutoEncoder
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.nest.utils import NestConcat, make_nested_module
from alf.networks.action_encoder import SimpleActionEncoder
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.memory import MemoryWithUsage
from alf.networks.value_networks import ValueNetwork
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf.utils._run_numbers import get_epsilon_greedy
from alf.utils.math_ops import identity

__all__ = [
    "MBPLossInfo",
    "MBPState",
    "MemoryBasedActor",
    "MemoryBasedPredictor",
    "MerlinAlgorithm",
    "MerlinInfo",
    "MerlinLossInfo",
    "MerlinState",
    "ResnetDecodingNetwork",
    "ResnetEncodingNetwork",
]

MBPState = namedtuple(
    "MBPState", ["latent_vector", "mem_readout", "rnn_state", "memory"], default_value=()
)
"""Latent [B, Z] and what was read [B, K * Z] of the step before, LSTM states, memory states."""
MBPLossInfo = namedtuple("MBPLossInfo", ["decoder", "vae"], default_value=())
MerlinState = namedtuple("MerlinState", ["mbp_state", "mba_state"], default_value=())
MerlinLossInfo = namedtuple("MerlinLossInfo", ["mba", "mbp"], default_value=())
MerlinInfo = namedtuple("MerlinInfo", ["mbp_info", "mba_info"], default_value=())


@configurable
class MemoryBasedPredictor(Algorithm):
    """Encodes observation, action and memory into a latent vector that decodes the observation."""

    def __init__(
        self,
        action_spec: Any,
        encoders: Any,
        decoders: Any,
        num_read_keys: int = 3,
        lstm_size: Sequence[int] = (256, 256),
        latent_dim: int = 200,
        memory_size: int = 1350,
        loss_weight: float = 1.0,
        name: str = "mbp",
    ) -> None:
        """Build the networks and the memory.

        Args:
            encoders: nest of networks like the observation, each to a vector.
            decoders: nest of ``DecodingAlgorithm`` like the observation, each from the latent.
            num_read_keys: how many times the memory is read in a step.
            lstm_size: sizes of the LSTM cells.
            latent_dim: Z, size of the latent vector and of a slot of the memory.
            memory_size: number of slots.
            loss_weight: factor of the loss.
        """
        action_encoder = SimpleActionEncoder(action_spec)
        latent_spec = TensorSpec((latent_dim,))
        readout_spec = TensorSpec((num_read_keys * latent_dim,))
        size = latent_dim + action_encoder.output_spec.numel + readout_spec.numel
        rnn = LSTMEncodingNetwork(
            TensorSpec((size,)), hidden_size=tuple(lstm_size), name=f"{name}.lstm"
        )
        # Usage grows with each reading and is never forgotten, as in the paper.
        memory = MemoryWithUsage(latent_dim, memory_size, usage_decay=1.0, name=f"{name}.memory")
        state_spec = MBPState(
            latent_vector=latent_spec,
            mem_readout=readout_spec,
            rnn_state=rnn.state_spec,
            memory=memory.state_spec,
        )
        super().__init__(train_state_spec=state_spec, name=name)
        self._action_encoder, self._rnn, self._memory = action_encoder, rnn, memory
        self._encoders, self._decoders = encoders, decoders
        self._encoder_modules = make_nested_module(encoders)
        self._decoder_modules = make_nested_module(decoders)
        self._keynet = memory.create_keynet(rnn.output_spec, num_read_keys)
        self._loss_weight = loss_weight
        prior_spec = (rnn.output_spec, readout_spec)
        prior = EncodingNetwork(
            prior_spec,
            preprocessing_combiner=NestConcat(),
            fc_layer_params=(2 * latent_dim, 2 * latent_dim),
            activation=torch.tanh,
            last_layer_size=2 * latent_dim,
            last_activation=identity,
            name=f"{name}.prior",
        )
        self._vae = VariationalAutoEncoder(
            latent_dim,
            input_tensor_spec=nest.map_structure(lambda e: e.output_spec, encoders),
            z_prior_network=prior,
            name=f"{name}.vae",
        )

    @property
    def memory(self) -> MemoryWithUsage:
        """The memory; between two steps it holds what the last one left."""
        return self._memory

    def encode_step(self, inputs: tuple[Any, Any], state: MBPState) -> AlgStep:
        """The latent [B, Z] of an observation and the previous action.

        The prior of the latent is that of what LSTM and memory tell.

        Args:
            inputs: pair of observation and previous action.

        Returns:
            Latent as output; the loss [B] of the VAE as info.
        """
        observation, action = inputs
        self._memory.from_states(state.memory)
        code, _ = self._action_encoder(action)
        before = torch.cat([state.latent_vector, code, state.mem_readout], dim=-1)
        h, rnn_state = self._rnn(before, state.rnn_state)
        readout = self._memory.genkey_and_read(self._keynet, h)
        self._memory.write(state.latent_vector.detach())
        encodings = nest.map_structure(lambda net, x: net(x)[0], self._encoders, observation)
        vae = self._vae.train_step(((h, readout), encodings))
        latent = vae.output.z
        state = MBPState(latent, readout, rnn_state, self._memory.states)
        return AlgStep(output=latent, state=state, info=vae.info.loss)

    def decode_step(self, latent_vector: torch.Tensor, observations: Any) -> LossInfo:
        """The loss of decoding ``latent_vector`` [B, Z]; those of the decoders are its extra."""
        steps = nest.map_structure(
            lambda decoder, x: decoder.train_step((latent_vector, x)).info,
            self._decoders,
            observations,
        )
        leaves = nest.flatten_up_to(self._decoders, steps)
        return LossInfo(loss=torch.stack([x.loss for x in leaves]).sum(0), extra=steps)

    def predict_step(self, inputs: tuple[Any, Any], state: MBPState) -> AlgStep:
        """The latent, without losses."""
        return self.encode_step(inputs, state)._replace(info=())

    def train_step(self, inputs: tuple[Any, Any], state: MBPState) -> AlgStep:
        """The latent [B, Z]; the loss [B] as info, with ``MBPLossInfo`` as extra."""
        step = self.encode_step(inputs, state)
        decoded = self.decode_step(step.output, inputs[0])
        info = LossInfo(
            loss=self._loss_weight * (decoded.loss + step.info),
            extra=MBPLossInfo(decoder=decoded.extra, vae=step.info),
        )
        return step._replace(info=info)


@configurable
class MemoryBasedActor(OnPolicyAlgorithm):
    """Acts by the latent, an LSTM and the predictor's memory; learns by advantage actor-critic."""

    def __init__(
        self,
        observation_spec: TensorSpec,
        action_spec: Any,
        memory: MemoryWithUsage,
        reward_spec: TensorSpec = TensorSpec(()),
        epsilon_greedy: float | None = None,
        num_read_keys: int = 1,
        lstm_size: Sequence[int] = (256, 256),
        latent_dim: int = 200,
        loss: ActorCriticLoss | None = None,
        loss_class: Callable[..., ActorCriticLoss] = ActorCriticLoss,
        loss_weight: float = 1.0,
        debug_summaries: bool = False,
        name: str = "mba",
    ) -> None:
        """Build the networks.

        Args:
            observation_spec: spec of the latent [Z].
            memory: that of a ``MemoryBasedPredictor``, whose step comes first.
            epsilon_greedy: as for ``ActorCriticAlgorithm``.
            num_read_keys: how many times the memory is read in a step.
            lstm_size: sizes of the LSTM cells.
            latent_dim: Z.
            loss: None is ``loss_class(debug_summaries=...)``.
            loss_weight: factor of the loss.
        """
        rnn = LSTMEncodingNetwork(
            observation_spec, hidden_size=tuple(lstm_size), name=f"{name}.lstm"
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=rnn.state_spec,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._rnn, self._memory = rnn, memory
        self._keynet = memory.create_keynet(rnn.output_spec, num_read_keys)
        readout_spec = TensorSpec((num_read_keys * latent_dim,))
        self._actor_network = ActorDistributionNetwork(
            (observation_spec, rnn.output_spec, readout_spec),
            action_spec,
            preprocessing_combiner=NestConcat(),
            fc_layer_params=(200,),
            activation=torch.tanh,
            name=f"{name}.actor",
        )
        value_network = ValueNetwork(
            observation_spec, fc_layer_params=(200,), activation=torch.tanh, name=f"{name}.value"
        )
        if reward_spec.numel > 1:
            value_network = value_network.make_parallel(reward_spec.numel)
        self._value_network = value_network
        self._epsilon_greedy = (
            get_epsilon_greedy(None) if epsilon_greedy is None else epsilon_greedy
        )
        self._loss = loss_class(debug_summaries=debug_summaries) if loss is None else loss
        self._loss_weight = loss_weight

    def _distribution(self, latent: torch.Tensor, state: Any) -> tuple[Any, Any]:
        h, state = self._rnn(latent, state)
        readout = self._memory.genkey_and_read(self._keynet, h)
        return self._actor_network((latent.detach(), h, readout))[0], state

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        distribution, state = self._distribution(time_step.observation, state)
        action = dist_utils.epsilon_greedy_sample(distribution, self._epsilon_greedy)
        info = ActorCriticInfo(action_distribution=distribution)
        return AlgStep(output=action, state=state, info=info)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        """``time_step.observation`` is the latent [B, Z]."""
        latent = time_step.observation
        distribution, state = self._distribution(latent, state)
        action = dist_utils.sample_action_distribution(distribution)
        info = ActorCriticInfo(
            step_type=time_step.step_type,
            discount=time_step.discount,
            reward=time_step.reward,
            action=action,
            action_distribution=distribution,
            value=self._value_network(latent)[0],
        )
        return AlgStep(output=action, state=state, info=info)

    def calc_loss(self, train_info: ActorCriticInfo) -> LossInfo:
        loss = self._loss(train_info)
        return loss._replace(loss=self._loss_weight * loss.loss)


@configurable
class MerlinAlgorithm(OnPolicyAlgorithm):
    """The predictor, and the actor on its latent vectors, trained together on each unroll."""

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        encoders: Any,
        decoders: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        latent_dim: int = 200,
        lstm_size: Sequence[int] = (256, 256),
        memory_size: int = 1350,
        rl_loss: ActorCriticLoss | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "Merlin",
    ) -> None:
        """Build predictor and actor.

        Args:
            encoders: as for ``MemoryBasedPredictor``.
            decoders: as for ``MemoryBasedPredictor``.
            latent_dim: size of the latent vector.
            lstm_size: sizes of the LSTM cells of both.
            memory_size: number of slots.
            rl_loss: None is ``ActorCriticLoss()``.
            optimizer: must be without parameters; the algorithm uses its own copy.
        """
        (optimizer,) = own_optimizers(optimizer)
        mbp = MemoryBasedPredictor(
            action_spec=action_spec,
            encoders=encoders,
            decoders=decoders,
            latent_dim=latent_dim,
            lstm_size=lstm_size,
            memory_size=memory_size,
        )
        mba = MemoryBasedActor(
            observation_spec=TensorSpec((latent_dim,)),
            action_spec=action_spec,
            memory=mbp.memory,
            reward_spec=reward_spec,
            epsilon_greedy=None if config is None else config.epsilon_greedy,
            lstm_size=lstm_size,
            latent_dim=latent_dim,
            loss=rl_loss,
            debug_summaries=debug_summaries,
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=MerlinState(
                mbp_state=mbp.train_state_spec, mba_state=mba.train_state_spec
            ),
            env=env,
            config=config,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._mbp, self._mba = mbp, mba

    def rollout_step(self, time_step: TimeStep, state: MerlinState) -> AlgStep:
        mbp = self._mbp.train_step((time_step.observation, time_step.prev_action), state.mbp_state)
        mba = self._mba.rollout_step(time_step._replace(observation=mbp.output), state.mba_state)
        return AlgStep(
            output=mba.output,
            state=MerlinState(mbp_state=mbp.state, mba_state=mba.state),
            info=MerlinInfo(mbp_info=mbp.info, mba_info=mba.info),
        )

    def predict_step(self, time_step: TimeStep, state: MerlinState) -> AlgStep:
        mbp = self._mbp.predict_step(
            (time_step.observation, time_step.prev_action), state.mbp_state
        )
        mba = self._mba.predict_step(time_step._replace(observation=mbp.output), state.mba_state)
        state = MerlinState(mbp_state=mbp.state, mba_state=mba.state)
        return AlgStep(output=mba.output, state=state, info=MerlinInfo(mba_info=mba.info))

    def calc_loss(self, info: MerlinInfo) -> LossInfo:
        """The sum of both losses."""
        mba, mbp = self._mba.calc_loss(info.mba_info), info.mbp_info
        return LossInfo(
            loss=mba.loss + mbp.loss, extra=MerlinLossInfo(mba=mba.extra, mbp=mbp.extra)
        )
