"""The ranges of the engine's settings, by the name of the parameter or of its owner and it.

A parameter that is a number, or a sequence of numbers, has the range that stands here under
"Owner.parameter", else the one under "parameter", else any number but NaN.
"""

from __future__ import annotations

from collections.abc import Iterable

from alf._allowed import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    FINITE,
    POSITIVE,
    SHARE,
    UNIT,
    Range,
)

_NAMES: dict[Range, str] = {
    UNIT: """
        gamma discount td_lambda epsilon_greedy rollout_epsilon_greedy rollout_random_action
        her_proportion capacity_ratio same_action_prob recent_data_ratio
        episode_end_probability new_noise_prob
        reanalyze_ratio ud_flip_prob lr_flip_prob update_rate root_exploration_fraction
        recurrent_gradient_scaling_factor chance unexpanded_value_score active_action_portion
        current_score_update_rate past_score_update_rate momentum usage_decay ou_damping damping
        net_moving_average_rate
        target_update_tau TargetUpdater.tau CEMOptimizer.tau CEMPlanAlgorithm.tau
        TrainerConfig.priority_replay_beta epsilon_greedy_sample.eps
        expectile calc_default_max_entropy.fraction calc_default_target_entropy.min_prob
    """,
    SHARE: "cropping_fraction capacity_ratio",
    BELOW_1: "dropout",
    POSITIVE: """
        IqlAlgorithm.temperature max_exp_advantage SarsaAlgorithm.initial_alpha
        speed reward_adapt_speed observation_adapt_speed advantage_clip target_kld_per_dim
        root_dirichlet_alpha pb_c_base learn_policy_temperature min_alpha very_slow_update_rate
        slow_update_rate fast_update_rate gradient_clipping gradient_norm_clip gumbel_temperature
        max_std init_std max_scale concentration huber_function.delta Log1pTransform.alpha
        decay_rate decay_time half_cycle_size width height progress_favor max_bootstrap_age
        TaacAlgorithmBase.initial_alpha
        EntropyTargetAlgorithm.initial_alpha NestedEntropyTargetAlgorithm.initial_alpha
        SGDEntropyTargetAlgorithm.initial_alpha FixedDecodingLayer.sigma FixedDecodingLayer.tau
        init_lambda grad_clip batch_size_ratio AsymmetricSimSiamLoss.lr dirichlet_alpha
        l2_dist_close_reward_fn.threshold initial_priority action_dist_clip_per_dim
        scalar_var distance_to_decelerate
        max_weight hinge_softness target_kld_per_categorical init_weights
        SEditorAlgorithm.initial_alpha gumbel_temp_scheduler
    """,
    AT_LEAST_0: """
        distill_noise
        num_env_steps num_iterations unroll_length max_unroll_length unroll_step_interval
        num_checkpoints summary_interval summaries_flush_secs summary_max_queue
        environment_heartbeat_secs environment_timeout_secs
        initial_collect_steps ddp_paras_check_interval priority_replay_alpha priority_replay_eps
        rl_train_after_update_steps max_episode_steps num_earliest_frames_ignored
        variance_epsilon clipping update_max_calls ou_stddev stddev same_action_noise dqda_clipping
        action_l2 td_loss_weight importance_ratio_clipping log_prob_clipping pb_c_init
        explore_delta beta_ub policy_kl_loss_weight
        ucb_break_tie_eps value_min_max_delta num_unroll_steps alpha_adjust_rate
        reset_reward_sum_period MCTSModel.initial_alpha SimpleMCTSModel.initial_alpha
        value_loss_weight reward_loss_weight policy_loss_weight game_over_loss_weight
        repr_prediction_loss_weight initial_loss_weight num_spare_envs num_spare_envs_for_reload
        warmup_period warm_up_period noop_max sx sy min_duration
        TemporallyCorrelatedNoiseWrapper.sigma
        padding num_prememory_layers num_memory_layers memory_size delay std_init min_std min_scale
        max_skipped min_concentration eps epsilon min_var max_iter_num min_capacity
        QuantileRegressionLoss.delta
        multi_quantile_huber_loss.delta bias_init_range kernel_init_gain keep_stacked_frames
        projection_output_init_gain logits_init_output_factor ensemble_group distance_to_stop
        f_norm_penalty_weight bc_regulatization_weight
        critic_l2_weight function_extra_bs_ratio function_extra_bs_std
        inverse_mvp_hidden_layers InverseMVPAlgorithm.num_hidden_layers
        VariationalAutoEncoder.beta DiscreteVAE.beta
        commitment_loss_weight MoNetAlgorithm.beta MoNetAlgorithm.gamma
        max_dims_to_summarize last_step_repeats append_blank_frames StepScheduler.start
        ProcessEnvironment.num_envs sub_dim cache_size
    """,
    AT_LEAST_1: """
        unroll_queue_size unroll_parameter_update_period num_evals eval_interval num_eval_episodes
        num_eval_environments num_summaries metric_min_buffer_size num_updates_per_train_iter
        mini_batch_length mini_batch_size replay_buffer_length offline_buffer_length
        rl_train_every_update_steps target_update_period num_critic_replicas batch_size
        batch_size_per_env eval_batch_size_per_env num_parallel_environments
        torch_num_threads_per_env num_environments max_length recent_data_steps capacity
        particle_dim num_particles noise_dim inverse_mvp_solve_iters inverse_mvp_hidden_size
        Generator.output_dim InverseMVPAlgorithm.input_dim InverseMVPAlgorithm.output_dim
        HyperNetwork.output_dim critic_iter_num critic_input_dim critic_hidden_layers
        function_bs num_train_classes CriticAlgorithm.output_dim FuncParVIAlgorithm.output_dim
        window_size stack_size hidden_size num_quantiles K average_window num_of_goals
        num_of_skills num_simulations num_parallel_sims reanalyze_td_steps reanalyze_batch_size
        min_td_steps num_sampled_actions latent_size duration actions_num random_length_range
        num_episodes process_steps episode_length obs_dim reward_dim gap frame_skip screen_size
        skip max_duration min_steps max_steps in_channels out_channels channels input_channels
        input_size output_size n ensemble_size num_classes d_model num_heads d_k d_v d_ff dilation
        num_transformations image_channels language_dim image_channels pooling_size num_features
        output_channels n_groups core_size num_attention_heads num_of_heads fc_layer_params
        lstm_hidden_size actor_fc_layer_params value_fc_layer_params joint_fc_layer_params
        observation_fc_layer_params action_fc_layer_params critic_fc_layer_params
        pre_fc_layer_params post_fc_layer_params preprocess_fc_layer_params tau_fc_layer_params
        obs_act_joint_fc_layer_params obs_act_tau_joint_fc_layer_params tau_embedding_dim
        obs_encoding_layer_params pre_encoding_layer_params mid_encoding_layer_params
        post_encoding_layer_params free_form_fc_layer_params layers hidden_layers last_layer_size
        embedding_dim num_components FIFOMemory.dim FIFOMemory.size MemoryWithUsage.dim
        MemoryWithUsage.size start_decoding_channels output_height output_width num_layers
        solution_dim population_size elite_size buffer_size dpi font_size action_bins
        period proj_hidden_size pred_hidden_size batch_dims num_bins
        num_embeddings z_dim fc_layers n_slots slot_size nonskip_fc_layers
        latent_dim lstm_size num_read_keys
        parallelism RandomCrop.size filters kernel_size render_size
        output_shape num_replicas planning_horizon particles_per_replica
        max_repeat_steps frame_max_width frames_per_sec bucket_cap_mb
        estimated_entropy.num_samples
    """,
    Range(-1): "td_steps parameter_reset_period PeriodicReset.period",
    FINITE: """
        intrinsic_reward_coef extrinsic_reward_coef entropy_regularization initial_log_alpha
        max_log_alpha loss_weight RewardScaling.scale RewardShifting.bias default_return
        bias_init_value std_bias_initializer_value scale_bias_initializer_value
        initial_game_over_bias repulsive_weight base_lr bound_lr initial_value
        game_over_logit_thresh clip_value minmax reward_weights known_value_bounds reward_clip
        mi_weight target_entropy max_entropy ScaleGradient.scale past_noise_weight
        Scale.scale MemoryWithUsage.scale masked_out_value variance_scaling_init.gain
        ImageScaleTransformer.min ImageScaleTransformer.max image_scale_transformer.min
        image_scale_transformer.max Softclip.low Softclip.high min_entropy ent_per_action_dim
    """,
}
_BY_NAME = {name: range for range, names in _NAMES.items() for name in names.split()}


def ranges_of(owner: str, names: Iterable[str]) -> dict[str, Range]:
    """The ranges of the parameters `names` of a function or class, whose last word is `owner`."""
    found = {name: _BY_NAME.get(f"{owner}.{name}") or _BY_NAME.get(name) for name in names}
    return {name: range for name, range in found.items() if range is not None}


def names_with_a_range() -> list[str]:
    """All names for which there is a range, for a test that each belongs to a setting."""
    return list(_BY_NAME)
