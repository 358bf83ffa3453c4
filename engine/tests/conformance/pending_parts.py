"""Cases that are not equal yet; `run.py --update` shortens it."""

CASES = [
    "config.defined_twice_is_refused",
    "summary_utils.summarize_gradients",
    "summary_utils.add_nested_summaries",
    "summary_utils.summarize_loss",
    "summary_utils.summarize_per_category_loss",
    "summary_utils.summarize_action.discrete_and_continuous",
    "summary_utils.summarize_distribution",
    "summary_utils.add_mean_hist_summary",
    "summary_utils.safe_mean_hist_summary.mask",
    "summary_utils.summarize_nest",
    "summary_utils.summarize_tensor_gradients",
    "create_environment.nonparallel_of_several_is_refused",
    "wrappers.PerformanceProfiler.passes_steps_on",
    "gym_wrapper.env_info",
    "metrics.AverageEnvInfo.vector_value_is_refused",
    "metrics.MetricBuffer",
    "replay.episodes.recorded_returns.shape",
    "checkpoint.missing_step_loads_minus_one",
]
