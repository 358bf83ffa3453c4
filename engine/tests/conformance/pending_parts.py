"""Cases that are not equal yet; `run.py --update` shortens it."""

CASES = [
    "config.defined_twice_is_refused",
    "create_environment.nonparallel_of_several_is_refused",
    "wrappers.PerformanceProfiler.passes_steps_on",
    "gym_wrapper.env_info",
    "metrics.AverageEnvInfo.vector_value_is_refused",
    "metrics.MetricBuffer",
    "replay.episodes.recorded_returns.shape",
    "checkpoint.missing_step_loads_minus_one",
]
