"""Learners with small networks as levels, and the contextual bandit on which they have to learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.config import TrainerConfig
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.algorithms.doac_algorithm import DOacAlgorithm
from alf.algorithms.dqn_algorithm import DqnAlgorithm
from alf.algorithms.dsac_algorithm import DSacAlgorithm
from alf.algorithms.iql_algorithm import IqlAlgorithm
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByMoves
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.mdq_algorithm import MdqAlgorithm
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.algorithms.oac_algorithm import OacAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss, OneStepTDQRLoss
from alf.algorithms.ppg.ppg_aux_algorithm import PPGAuxOptions
from alf.algorithms.ppg_algorithm import PPGAlgorithm
from alf.algorithms.ppo_algorithm import PPOAlgorithm
from alf.algorithms.ppo_loss import PPOLoss
from alf.algorithms.qrsac_algorithm import QrsacAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.sarsa_algorithm import SarsaAlgorithm
from alf.algorithms.taac_algorithm import (
    TaacAlgorithm,
    TaacLAlgorithm,
    TaacQAlgorithm,
    TAACTDLoss,
)
from alf.algorithms.trac_algorithm import TracAlgorithm
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.networks import (
    ActorDistributionNetwork,
    ActorNetwork,
    CriticNetwork,
    CriticQuantileNetwork,
    EncodingNetwork,
    MdqCriticNetwork,
    NormalProjectionNetwork,
    QNetwork,
    ValueNetwork,
)
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import clipped_exp
from alf_layered import HierarchyAgent, OnPolicyOptions, TrainingOptions

GAMMA = 0.9

_actor = partial(
    ActorDistributionNetwork,
    fc_layer_params=(32,),
    continuous_projection_net_ctor=partial(
        NormalProjectionNetwork,
        state_dependent_std=True,
        scale_distribution=True,
        std_transform=clipped_exp,
    ),
)
_value = partial(ValueNetwork, fc_layer_params=(32,))
_critic = partial(CriticNetwork, joint_fc_layer_params=(32,))
_loss = partial(OneStepTDLoss, gamma=GAMMA)


def _optimizers(*names: str) -> dict[str, Any]:
    return {f"{name}_optimizer": Adam(lr=1e-2) for name in names}


def ppo(**networks: Any) -> partial:
    """`networks` are options of actor and value network."""
    return partial(
        PPOAlgorithm,
        loss_class=partial(PPOLoss, gamma=GAMMA),
        optimizer=Adam(lr=1e-2),
        actor_network_ctor=partial(_actor, **networks),
        value_network_ctor=partial(_value, **networks),
    )


def actor_critic() -> partial:
    return partial(
        ActorCriticAlgorithm,
        actor_network_ctor=_actor,
        value_network_ctor=_value,
        loss_class=partial(ActorCriticLoss, gamma=GAMMA, use_gae=True),
        optimizer=Adam(lr=1e-2),
    )


def ppg(interval: int = 3) -> Any:
    def make(**arguments: Any) -> PPGAlgorithm:
        # Its losses are configured by name alone, which is refused after their first use.
        alf.reset_configs()
        alf.config("PPOLoss", compute_advantages_internally=True, gamma=GAMMA)
        alf.config("PPGAuxPhaseLoss", gamma=GAMMA)
        try:
            return PPGAlgorithm(
                encoding_network_ctor=partial(EncodingNetwork, fc_layer_params=(32,)),
                aux_options=PPGAuxOptions(interval=interval, num_updates_per_train_iter=2),
                **_optimizers("policy", "aux"),
                **arguments,
            )
        finally:
            alf.reset_configs()

    return make


def trac(wrapped: Any = actor_critic) -> partial:
    return partial(TracAlgorithm, ac_algorithm_cls=wrapped())


def dqn(**network_options: Any) -> partial:
    network = partial(QNetwork, fc_layer_params=(32,), **network_options)
    return partial(DqnAlgorithm, q_network_cls=network, critic_loss_ctor=_loss, **_optimizers("q"))


def ddpg() -> partial:
    return partial(
        DdpgAlgorithm,
        actor_network_ctor=partial(ActorNetwork, fc_layer_params=(32,)),
        critic_network_ctor=_critic,
        num_critic_replicas=2,
        rollout_random_action=0.3,
        critic_loss_ctor=_loss,
        **_optimizers("actor", "critic"),
    )


def qrsac() -> partial:
    return partial(
        QrsacAlgorithm,
        actor_network_cls=_actor,
        critic_network_cls=partial(_critic, output_tensor_spec=TensorSpec((5,))),
        critic_loss_ctor=partial(OneStepTDQRLoss, num_quantiles=5, gamma=GAMMA),
        **_optimizers("actor", "critic", "alpha"),
    )


def dsac(cls: Any = DSacAlgorithm, **options: Any) -> partial:
    return partial(
        cls,
        num_quantiles=5,
        actor_network_cls=_actor,
        critic_network_cls=partial(
            CriticQuantileNetwork,
            obs_act_joint_fc_layer_params=(32,),
            tau_embedding_dim=16,
            obs_act_tau_joint_fc_layer_params=(32,),
        ),
        critic_loss_ctor=partial(OneStepTDQRLoss, num_quantiles=5, gamma=GAMMA),
        **_optimizers("actor", "critic", "alpha"),
        **options,
    )


def doac() -> partial:
    return dsac(DOacAlgorithm, explore_delta=1.0, beta_ub=1.0)


def sac(**q_network_options: Any) -> partial:
    return partial(
        SacAlgorithm,
        actor_network_cls=_actor,
        critic_network_cls=_critic,
        q_network_cls=partial(QNetwork, fc_layer_params=(32,), **q_network_options),
        critic_loss_ctor=_loss,
        **_optimizers("actor", "critic", "alpha"),
    )


def oac() -> partial:
    return partial(
        OacAlgorithm,
        actor_network_cls=_actor,
        critic_network_cls=_critic,
        critic_loss_ctor=_loss,
        explore_delta=1.0,
        beta_ub=1.0,
        **_optimizers("actor", "critic", "alpha"),
    )


def taac(cls: Any = TaacAlgorithm) -> partial:
    return partial(
        cls,
        actor_network_cls=_actor,
        critic_network_cls=_critic,
        critic_loss_ctor=partial(TAACTDLoss, gamma=GAMMA),
        **_optimizers("actor", "critic", "alpha"),
    )


def sarsa(**options: Any) -> partial:
    return partial(
        SarsaAlgorithm,
        **{
            "actor_network_ctor": _actor,
            "critic_network_ctor": _critic,
            "critic_loss_cls": _loss,
            "target_update_period": 1,
            **_optimizers("actor", "critic", "alpha"),
            **options,
        },
    )


def iql() -> partial:
    return partial(
        IqlAlgorithm,
        actor_network_cls=_actor,
        critic_network_cls=_critic,
        v_network_cls=_value,
        critic_loss_ctor=_loss,
        temperature=0.1,
        **_optimizers("actor", "critic", "value"),
    )


def mdq() -> Callable:
    """Its critic is made for the specs that the level gives."""

    def make(observation_spec: Any, action_spec: Any, **options: Any) -> MdqAlgorithm:
        critic = MdqCriticNetwork(
            (observation_spec, action_spec),
            obs_encoding_layer_params=(32,),
            post_encoding_layer_params=(32,),
            free_form_fc_layer_params=(32,),
        )
        return MdqAlgorithm(
            observation_spec,
            action_spec,
            critic,
            critic_loss_ctor=_loss,
            target_entropy=-1.0,
            **_optimizers("critic", "alpha"),
            **options,
        )

    return make


def muzero(**options: Any) -> partial:
    """`options` are the algorithm's; a `MuzeroLevel` gives the discount itself."""
    mcts = partial(
        MCTSAlgorithm,
        num_simulations=4,
        root_dirichlet_alpha=0.5,
        root_exploration_fraction=0.25,
        pb_c_init=1.25,
        pb_c_base=19652,
        is_two_player_game=False,
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves([(10, 1.0)]),
    )
    learner = partial(
        MuzeroRepresentationImpl,
        model_ctor=partial(SimpleMCTSModel, num_unroll_steps=2),
        num_unroll_steps=2,
        td_steps=2,
        optimizer=Adam(lr=3e-3),
    )
    return partial(
        MuzeroAlgorithm,
        mcts_algorithm_ctor=mcts,
        representation_learner_ctor=learner,
        **options,
    )


ROUNDS = OnPolicyOptions(transitions=64, epochs=4, mini_batch_size=32)
ONE_UPDATE = OnPolicyOptions(transitions=64, epochs=1, mini_batch_size=0)
IN_ORDER = OnPolicyOptions(transitions=64, epochs=8, mini_batch_size=0)
REPLAY = TrainingOptions(mini_batch_size=64, updates_per_transition=0.1, warm_up=50)
SPANS = TrainingOptions(
    mini_batch_size=64, mini_batch_length=3, updates_per_transition=0.1, warm_up=50
)
DISCRETE, CONTINUOUS = ActionType.Discrete, ActionType.Continuous
SYMMETRIC = "symmetric"
"""Continuous, within [-1, 1] in place of [0, 1]."""

LEARNERS: dict[str, tuple[Any, Any, TrainingOptions, int]] = {
    "PPO": (ppo, DISCRETE, ROUNDS, 25),
    "actor-critic": (actor_critic, DISCRETE, ONE_UPDATE, 100),
    "PPG": (ppg, DISCRETE, IN_ORDER, 40),
    "TRAC": (trac, DISCRETE, ONE_UPDATE, 100),
    "TRAC of PPO": (partial(trac, ppo), DISCRETE, ROUNDS, 25),
    "DQN": (dqn, DISCRETE, REPLAY, 30),
    "DDPG": (ddpg, CONTINUOUS, REPLAY, 60),
    "QRSAC": (qrsac, CONTINUOUS, REPLAY, 60),
    "SAC": (sac, CONTINUOUS, REPLAY, 60),
    "DSAC": (dsac, CONTINUOUS, REPLAY, 60),
    "DOAC": (doac, CONTINUOUS, REPLAY, 60),
    "OAC": (oac, CONTINUOUS, REPLAY, 60),
    "TAAC": (taac, CONTINUOUS, SPANS, 60),
    "TAAC-L": (partial(taac, TaacLAlgorithm), SYMMETRIC, SPANS, 60),
    "TAAC-Q": (partial(taac, TaacQAlgorithm), SYMMETRIC, SPANS, 60),
    "SARSA": (sarsa, CONTINUOUS, REPLAY, 60),
    "IQL": (iql, CONTINUOUS, REPLAY, 60),
    "MDQ": (mdq, CONTINUOUS, REPLAY, 60),
}


def small_config() -> TrainerConfig:
    return TrainerConfig(
        root_dir="",
        unroll_length=8,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        mini_batch_length=2,
    )


class SymmetricBandit(PolicyUnittestEnv):
    """The bandit with its action, of [0, 1], as a number of [-1, 1]."""

    def __init__(self, batch_size: int, episode_length: int) -> None:
        super().__init__(batch_size, episode_length, action_type=CONTINUOUS)

    def _make_action_spec(self, action_type: ActionType) -> BoundedTensorSpec:
        return BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)

    def _reward_of(self, action: Any, shown: torch.Tensor) -> torch.Tensor:
        return super()._reward_of((action + 1) / 2, shown)


def _bandit(batch_size: int, action_type: Any) -> PolicyUnittestEnv:
    if action_type == SYMMETRIC:
        return SymmetricBandit(batch_size, 6)
    return PolicyUnittestEnv(batch_size, 6, action_type=action_type)


def make_agent(levels: list[Any], action_type: Any, joints: Any = ()) -> HierarchyAgent:
    env = _bandit(16, action_type)
    return HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=levels,
        joints=list(joints),
        env=env,
        config=small_config(),
    )


@torch.no_grad()
def mean_reward(agent: HierarchyAgent, action_type: Any) -> float:
    """Of the greedy policy, per step; a random one gets 0.5."""
    env = _bandit(32, action_type)
    step, total = env.reset(), 0.0
    state = agent.get_initial_predict_state(32)
    for _ in range(5):
        result = agent.predict_step(step, state)
        state, step = result.state, env.step(result.output)
        total += float(step.reward.mean()) / 5
    return total
