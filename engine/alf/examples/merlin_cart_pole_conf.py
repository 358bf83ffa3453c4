"""MERLIN on CartPole-v1: a predictor with an external memory, an actor on its latent vectors."""

from typing import Any

import alf
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.decoding_algorithm import DecodingAlgorithm
from alf.algorithms.merlin_algorithm import MerlinAlgorithm
from alf.networks import EncodingNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity
from alf.utils.schedulers import LinearScheduler

LATENT = 16

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=16)


def make_merlin(observation_spec: TensorSpec, **arguments: Any) -> MerlinAlgorithm:
    """Encoder and decoder are objects, made for the observation."""
    decoder = EncodingNetwork(
        TensorSpec((LATENT,)),
        fc_layer_params=(64,),
        last_layer_size=observation_spec.numel,
        last_activation=identity,
    )
    return MerlinAlgorithm(
        observation_spec=observation_spec,
        encoders=EncodingNetwork(observation_spec, fc_layer_params=(64,)),
        # A squared error against a divergence in nats: it sets how fine the latent is.
        decoders=DecodingAlgorithm(decoder, loss_weight=3000.0),
        latent_dim=LATENT,
        lstm_size=(64,),
        memory_size=16,
        rl_loss=ActorCriticLoss(use_gae=True, td_lambda=1.0, td_loss_weight=0.5),
        # Clipped by the norm of all gradients, that of the decoder would leave the policy none.
        optimizer=Adam(lr=LinearScheduler("percent", [(0, 3e-3), (1, 0.0)])),
        **arguments,
    )


alf.config(
    "TrainerConfig",
    algorithm_ctor=make_merlin,
    num_iterations=1200,
    unroll_length=8,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=50,
    random_seed=0,
)
