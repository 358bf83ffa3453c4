"""Cases of ``parts`` where the engine differs from ALF on purpose: case -> reason."""

CASES: dict[str, str] = {
    "checkpoint.missing_step_loads_minus_one": (
        "-1 is documented; ALF returns the step that the same object saved last"
    ),
    "metrics.AverageEnvInfo.vector_value_is_refused": (
        "a vector in env_info is averaged component by component"
    ),
    "metrics.MetricBuffer": "latest() is the value appended last; ALF gives an older one",
    "nest.transform_nests.list_level_refused": "a position in a list is a path, too",
}
