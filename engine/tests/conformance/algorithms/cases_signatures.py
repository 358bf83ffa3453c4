"""Argument names and simple defaults of the public classes and functions."""

import importlib
import inspect

from harness import case

PUBLIC = {
    "actor_critic_algorithm": ["ActorCriticAlgorithm"],
    "actor_critic_loss": ["ActorCriticLoss"],
    "agent": ["Agent"],
    "agent_helpers": ["AgentHelper"],
    "algorithm": ["Algorithm", "Loss"],
    "async_unroller": ["AsyncUnroller"],
    "bc_algorithm": ["BcAlgorithm"],
    "causal_bc_algorithm": ["CausalBcAlgorithm"],
    "config": ["TrainerConfig"],
    "containers": ["AlgorithmContainer", "EchoAlg", "RLAlgWrapper", "SequentialAlg"],
    "data_transformer": [
        "DataTransformer",
        "FrameStacker",
        "FunctionalRewardTransformer",
        "HindsightExperienceTransformer",
        "IdentityDataTransformer",
        "ImageScaleTransformer",
        "ObservationNormalizer",
        "RewardClipping",
        "RewardNormalizer",
        "RewardScaling",
        "RewardShifting",
        "RewardTransformer",
        "SequentialDataTransformer",
        "SimpleDataTransformer",
        "UntransformedTimeStep",
        "create_data_transformer",
        "l2_dist_close_reward_fn",
    ],
    "ddpg_algorithm": ["DdpgAlgorithm"],
    "decoding_algorithm": ["DecodingAlgorithm"],
    "diayn_algorithm": ["DIAYNAlgorithm", "create_discrete_skill_spec"],
    "doac_algorithm": ["DOacAlgorithm"],
    "dqn_algorithm": ["DqnAlgorithm"],
    "dsac_algorithm": ["DSacAlgorithm"],
    "dynamic_action_repeat_agent": ["DynamicActionRepeatAgent"],
    "dynamics_learning_algorithm": [
        "DeterministicDynamicsAlgorithm",
        "DynamicsLearningAlgorithm",
        "StochasticDynamicsAlgorithm",
    ],
    "encoding_algorithm": ["EncodingAlgorithm"],
    "entropy_target_algorithm": [
        "EntropyTargetAlgorithm",
        "NestedEntropyTargetAlgorithm",
        "SGDEntropyTargetAlgorithm",
    ],
    "functional_particle_vi_algorithm": ["FuncParVIAlgorithm"],
    "generator": ["CriticAlgorithm", "Generator", "InverseMVPAlgorithm"],
    "goal_generator": ["RandomCategoricalGoalGenerator"],
    "handcrafted_algorithm": ["HandcraftedAlgorithm", "SimpleCarlaAlgorithm"],
    "hypernetwork_algorithm": ["HyperNetwork"],
    "icm_algorithm": ["ICMAlgorithm"],
    "iql_algorithm": ["IqlAlgorithm"],
    "lagrangian_reward_weight_algorithm": [
        "LagrangianPredRewardWeightAlgorithm",
        "LagrangianRewardWeightAlgorithm",
    ],
    "mbrl_algorithm": ["LatentMbrlAlgorithm", "MbrlAlgorithm"],
    "mcts_algorithm": [
        "MCTSAlgorithm",
        "VisitSoftmaxTemperatureByMoves",
        "VisitSoftmaxTemperatureByProgress",
        "calculate_exploration_policy",
        "calculate_kl_exploration_policy",
        "create_atari_mcts",
        "create_board_game_mcts",
        "create_chess_mcts",
        "create_control_mcts",
        "create_go_mcts",
        "create_shogi_mcts",
    ],
    "mcts_models": [
        "MCTSModel",
        "SimpleMCTSModel",
        "SimplePredictionNet",
        "create_simple_dynamics_net",
        "create_simple_encoding_net",
        "create_simple_prediction_net",
        "get_unique_num_actions",
    ],
    "mdq_algorithm": ["MdqAlgorithm"],
    "merlin_algorithm": [
        "MemoryBasedActor",
        "MemoryBasedPredictor",
        "MerlinAlgorithm",
        "ResnetDecodingNetwork",
        "ResnetEncodingNetwork",
    ],
    "mi_estimator": ["MIEstimator"],
    "monet_algorithm": ["MoNetAlgorithm", "MoNetUNet"],
    "muzero_algorithm": ["MuzeroAlgorithm"],
    "muzero_representation_learner": [
        "LinearTdStepFunc",
        "MuzeroRepresentationImpl",
        "MuzeroRepresentationLearner",
    ],
    "oac_algorithm": ["OacAlgorithm", "dist_transform_action", "prepare_critic_action"],
    "off_policy_algorithm": ["OffPolicyAlgorithm"],
    "on_policy_algorithm": ["OnPolicyAlgorithm"],
    "one_step_loss": ["OneStepTDLoss", "OneStepTDQRLoss"],
    "particle_vi_algorithm": ["ParVIAlgorithm"],
    "planning_algorithm": ["CEMPlanAlgorithm", "PlanAlgorithm", "RandomShootingAlgorithm"],
    "ppg": ["DisjointPolicyValueNetwork", "PPGAuxAlgorithm", "PPGAuxPhaseLoss"],
    "ppg_algorithm": ["PPGAlgorithm"],
    "ppo_algorithm": ["PPOAlgorithm"],
    "ppo_loss": ["PPOLoss"],
    "predictive_representation_learner": ["PredictiveRepresentationLearner", "SimpleDecoder"],
    "prior_actor": ["SameActionPriorActor", "TruncatedNormal", "UniformPriorActor", "normcdf"],
    "qrsac_algorithm": ["QrsacAlgorithm"],
    "reward_learning_algorithm": ["FixedRewardFunction", "RewardEstimationAlgorithm"],
    "rl_algorithm": ["RLAlgorithm", "adjust_replay_buffer_length"],
    "rnd_algorithm": ["RNDAlgorithm"],
    "sac_algorithm": ["SacAlgorithm"],
    "sarsa_algorithm": ["SarsaAlgorithm"],
    "seditor_algorithm": ["SEditorAlgorithm"],
    "taac_algorithm": [
        "TAACTDLoss",
        "TaacAlgorithm",
        "TaacAlgorithmBase",
        "TaacLAlgorithm",
        "TaacQAlgorithm",
    ],
    "td_loss": ["TDLoss", "TDQRLoss"],
    "trac_algorithm": ["TracAlgorithm"],
    "vae": ["DiscreteVAE", "VariationalAutoEncoder"],
    "vq_vae": ["Vqvae"],
}


def _plain(v):
    if v is None or isinstance(v, (bool, int, float, str)):
        return v
    if isinstance(v, (tuple, list)):
        return [_plain(i) for i in v]
    return "object"


for _m in sorted(PUBLIC):
    for _n in PUBLIC[_m]:

        @case("signature.%s.%s" % (_m, _n))
        def _(m=_m, n=_n):
            """Names (in any order) and defaults; "required" where there is none."""
            f = getattr(importlib.import_module("alf.algorithms." + m), n)
            f = f.__init__ if inspect.isclass(f) else f
            out = {}
            for p in inspect.signature(f).parameters.values():
                if p.name == "self" or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                    continue
                out[p.name] = "required" if p.default is p.empty else _plain(p.default)
            return out
