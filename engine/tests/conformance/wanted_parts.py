"""Cases of ``parts`` where the engine differs from ALF on purpose: case -> reason."""

CASES: dict[str, str] = {
    "checkpoint.missing_step_loads_minus_one": (
        "-1 is documented; ALF returns the step that the same object saved last"
    ),
    "config.defined_twice_is_refused": (
        "a conf file or a notebook cell that runs twice defines its configurables again"
    ),
    "metrics.AverageEnvInfo.vector_value_is_refused": (
        "a vector in env_info is averaged component by component"
    ),
    "metrics.MetricBuffer": "latest() is the value appended last; ALF gives an older one",
    "replay.episodes.recorded_returns.shape": (
        "[B, T]: TD losses bound the target of every step, not of the first one alone"
    ),
    "nest.transform_nests.list_level_refused": "a position in a list is a path, too",
}
