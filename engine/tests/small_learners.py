"""Every learner with small networks, and the contextual bandit on which each has to learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.agent import Agent
from alf.algorithms.config import TrainerConfig
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.algorithms.doac_algorithm import DOacAlgorithm
from alf.algorithms.dqn_algorithm import DqnAlgorithm
from alf.algorithms.dsac_algorithm import DSacAlgorithm
from alf.algorithms.iql_algorithm import IqlAlgorithm
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByMoves
from alf.algorithms.mcts_models import (
    SimpleMCTSModel,
    create_simple_dynamics_net,
    create_simple_encoding_net,
    create_simple_prediction_net,
)
from alf.algorithms.mdq_algorithm import MdqAlgorithm
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.algorithms.oac_algorithm import OacAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss, OneStepTDQRLoss
from alf.algorithms.ppg import PPGAuxOptions
from alf.algorithms.ppg_algorithm import PPGAlgorithm
from alf.algorithms.ppo_algorithm import PPOAlgorithm
from alf.algorithms.ppo_loss import PPOLoss
from alf.algorithms.qrsac_algorithm import QrsacAlgorithm
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.sarsa_algorithm import SarsaAlgorithm
from alf.algorithms.taac_algorithm import TaacAlgorithm, TAACTDLoss
from alf.algorithms.trac_algorithm import TracAlgorithm
from alf.data_structures import StepType, TimeStep
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.actor_networks import ActorNetwork
from alf.networks.critic_networks import CriticNetwork, CriticQuantileNetwork
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.networks.q_networks import QNetwork
from alf.networks.value_networks import ValueNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.action_samplers import EpsilonGreedySampler
from alf.utils.math_ops import clipped_exp

HIDDEN = (32,)
NUM_QUANTILES = 5
LR = 1e-2

_actor = partial(
    ActorDistributionNetwork,
    fc_layer_params=HIDDEN,
    continuous_projection_net_ctor=partial(
        NormalProjectionNetwork,
        state_dependent_std=True,
        scale_distribution=True,
        std_transform=clipped_exp,
    ),
)
_critic = partial(CriticNetwork, joint_fc_layer_params=HIDDEN)
_value = partial(ValueNetwork, fc_layer_params=HIDDEN)


def actor_critic(**options: Any) -> partial:
    return partial(
        ActorCriticAlgorithm,
        **{
            "actor_network_ctor": _actor,
            "value_network_ctor": _value,
            "loss_class": partial(ActorCriticLoss, gamma=0.9, use_gae=True),
            "optimizer": Adam(lr=LR),
            **options,
        },
    )


def ppo(**options: Any) -> partial:
    return partial(
        PPOAlgorithm,
        **{
            "actor_network_ctor": _actor,
            "value_network_ctor": _value,
            "loss_class": partial(PPOLoss, gamma=0.9),
            "optimizer": Adam(lr=LR),
            **options,
        },
    )


def ppg(**options: Any) -> Any:
    def make_ppg(**arguments: Any) -> PPGAlgorithm:
        # Its losses are configured by name alone, which is refused after their first use.
        alf.reset_configs()
        alf.config("PPOLoss", compute_advantages_internally=True, gamma=0.9)
        alf.config("PPGAuxPhaseLoss", gamma=0.9)
        try:
            return PPGAlgorithm(
                **{
                    "encoding_network_ctor": partial(EncodingNetwork, fc_layer_params=HIDDEN),
                    "aux_options": PPGAuxOptions(interval=4, num_updates_per_train_iter=2),
                    "policy_optimizer": Adam(lr=LR),
                    "aux_optimizer": Adam(lr=LR),
                    **options,
                    **arguments,
                }
            )
        finally:
            alf.reset_configs()

    return make_ppg


def trac(wrapped: Any = actor_critic, **options: Any) -> partial:
    return partial(TracAlgorithm, ac_algorithm_cls=wrapped(), **options)


def dqn(**options: Any) -> partial:
    return partial(
        DqnAlgorithm,
        **{
            "q_network_cls": partial(QNetwork, fc_layer_params=HIDDEN),
            "q_optimizer": Adam(lr=LR),
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.9),
            **options,
        },
    )


def ddpg(**options: Any) -> partial:
    return partial(
        DdpgAlgorithm,
        **{
            "actor_network_ctor": partial(ActorNetwork, fc_layer_params=HIDDEN),
            "critic_network_ctor": _critic,
            "num_critic_replicas": 2,
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.9),
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            **options,
        },
    )


def sac(**options: Any) -> partial:
    return partial(
        SacAlgorithm,
        **{
            "actor_network_cls": _actor,
            "critic_network_cls": _critic,
            "q_network_cls": partial(QNetwork, fc_layer_params=HIDDEN),
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.9),
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def qrsac(**options: Any) -> partial:
    return partial(
        QrsacAlgorithm,
        **{
            "actor_network_cls": _actor,
            "critic_network_cls": partial(_critic, output_tensor_spec=TensorSpec((NUM_QUANTILES,))),
            "critic_loss_ctor": partial(OneStepTDQRLoss, num_quantiles=NUM_QUANTILES, gamma=0.9),
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def sarsa(**options: Any) -> partial:
    return partial(
        SarsaAlgorithm,
        **{
            "actor_network_ctor": _actor,
            "critic_network_ctor": _critic,
            "critic_loss_cls": partial(OneStepTDLoss, gamma=0.9),
            "target_update_period": 1,
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def deterministic_sarsa() -> partial:
    return sarsa(actor_network_ctor=partial(ActorNetwork, fc_layer_params=HIDDEN), ou_stddev=0.4)


def iql(**options: Any) -> partial:
    return partial(
        IqlAlgorithm,
        **{
            "actor_network_cls": _actor,
            "critic_network_cls": _critic,
            "v_network_cls": _value,
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.9),
            "temperature": 0.1,
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "value_optimizer": Adam(lr=LR),
            **options,
        },
    )


def mdq() -> Callable:
    """Its critic is made for the specs that it gets."""

    def make(observation_spec: Any, action_spec: Any, **options: Any) -> MdqAlgorithm:
        critic = MdqCriticNetwork(
            (observation_spec, action_spec),
            obs_encoding_layer_params=HIDDEN,
            post_encoding_layer_params=HIDDEN,
            free_form_fc_layer_params=HIDDEN,
        )
        return MdqAlgorithm(
            observation_spec,
            action_spec,
            critic,
            critic_loss_ctor=partial(OneStepTDLoss, gamma=0.9),
            critic_optimizer=Adam(lr=LR),
            alpha_optimizer=Adam(lr=LR),
            **options,
        )

    return make


def oac(**options: Any) -> partial:
    return partial(
        OacAlgorithm,
        **{
            "actor_network_cls": _actor,
            "critic_network_cls": _critic,
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.9),
            "explore_delta": 1.0,
            "beta_ub": 1.0,
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def taac(cls: Any = TaacAlgorithm, **options: Any) -> partial:
    return partial(
        cls,
        **{
            "actor_network_cls": _actor,
            "critic_network_cls": _critic,
            "critic_loss_ctor": partial(TAACTDLoss, gamma=0.9),
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def dsac(cls: Any = DSacAlgorithm, **options: Any) -> partial:
    return partial(
        cls,
        **{
            "num_quantiles": NUM_QUANTILES,
            "actor_network_cls": _actor,
            "critic_network_cls": partial(
                CriticQuantileNetwork,
                obs_act_joint_fc_layer_params=HIDDEN,
                tau_embedding_dim=16,
                obs_act_tau_joint_fc_layer_params=HIDDEN,
            ),
            "critic_loss_ctor": partial(OneStepTDQRLoss, num_quantiles=NUM_QUANTILES, gamma=0.9),
            "actor_optimizer": Adam(lr=LR),
            "critic_optimizer": Adam(lr=LR),
            "alpha_optimizer": Adam(lr=LR),
            **options,
        },
    )


def doac() -> partial:
    return dsac(DOacAlgorithm, explore_delta=1.0, beta_ub=1.0)


def muzero() -> partial:
    mcts = partial(
        MCTSAlgorithm,
        num_simulations=4,
        root_dirichlet_alpha=0.5,
        root_exploration_fraction=0.25,
        pb_c_init=1.25,
        pb_c_base=19652,
        is_two_player_game=False,
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves([(10, 1.0)]),
        predict_action_sampler=EpsilonGreedySampler(0.0),
    )
    model = partial(
        SimpleMCTSModel,
        num_unroll_steps=2,
        encoding_net_ctor=partial(create_simple_encoding_net, layers=HIDDEN, latent_size=16),
        dynamics_net_ctor=partial(create_simple_dynamics_net, layers=HIDDEN),
        prediction_net_ctor=partial(create_simple_prediction_net, layers=HIDDEN),
    )
    learner = partial(MuzeroRepresentationImpl, model_ctor=model, num_unroll_steps=2, td_steps=2)
    rl = partial(
        MuzeroAlgorithm,
        discount=0.9,
        mcts_algorithm_ctor=mcts,
        representation_learner_ctor=learner,
    )
    return partial(Agent, rl_algorithm_cls=rl, optimizer=Adam(lr=3e-3))


def replayed(**settings: Any) -> TrainerConfig:
    """Training from random spans of two steps."""
    return TrainerConfig(
        root_dir="unused",
        **{
            "unroll_length": 4,
            "whole_replay_buffer_training": False,
            "clear_replay_buffer": False,
            "mini_batch_length": 2,
            "mini_batch_size": 64,
            "num_updates_per_train_iter": 2,
            "initial_collect_steps": 64,
            **settings,
        },
    )


def spans(**settings: Any) -> TrainerConfig:
    """Training from random spans of three steps, all steps at once."""
    independent = {"mini_batch_length": 3, "temporally_independent_train_step": True}
    return replayed(**{**independent, **settings})


def searched(**settings: Any) -> TrainerConfig:
    """Training from random steps, with the updates that a model needs."""
    return replayed(**{"mini_batch_length": 1, "num_updates_per_train_iter": 8, **settings})


def whole(**settings: Any) -> TrainerConfig:
    """Training from the newest unroll, all of it."""
    return TrainerConfig(
        root_dir="unused",
        **{
            "unroll_length": 8,
            "mini_batch_length": 1,
            "mini_batch_size": 64,
            "num_updates_per_train_iter": 4,
            **settings,
        },
    )


def sequences(**settings: Any) -> TrainerConfig:
    """The same in the order of time, for losses that compute advantages."""
    return whole(**{"mini_batch_length": None, "mini_batch_size": 8, **settings})


def bandit(action_type: ActionType, num_envs: int = 16) -> PolicyUnittestEnv:
    """Says which of two actions pays next; an episode lasts five steps."""
    return PolicyUnittestEnv(num_envs, 6, action_type=action_type)


def make(ctor: Any, env: Any, config: TrainerConfig) -> RLAlgorithm:
    """The algorithm for ``env``, which it trains in, as the trainer would make it."""
    algorithm = ctor(
        observation_spec=env.observation_spec(),
        action_spec=env.action_spec(),
        env=env,
        config=config,
    )
    algorithm.set_path("")
    return algorithm


@torch.no_grad()
def mean_reward(algorithm: Any, action_type: ActionType, episodes: int = 32) -> float:
    """Of the greedy policy, per step; a random one gets 0.5."""
    env = bandit(action_type, episodes)
    step: TimeStep = env.reset()
    total, state = 0.0, algorithm.get_initial_predict_state(episodes)
    for _ in range(5):
        result = algorithm.predict_step(step, state)
        state, step = result.state, env.step(result.output)
        total += float(step.reward.mean())
    assert int(step.step_type[0]) == int(StepType.LAST)
    return total / 5


def in_time(**fields: Any) -> TimeStep:
    """A TimeStep of MID steps, from any of its fields."""
    shape = fields["reward"].shape
    return TimeStep(
        **{
            "step_type": torch.full(shape, int(StepType.MID), dtype=torch.int32),
            "discount": torch.ones(shape),
            "env_id": torch.zeros(shape, dtype=torch.int32),
            **fields,
        }
    )
