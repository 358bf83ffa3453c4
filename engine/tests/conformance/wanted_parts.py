"""Cases of ``parts`` where the engine differs from ALF on purpose: case -> reason."""

CASES: dict[str, str] = {
    "trainer.TrainerConfig.defaults": "the engine has settings of its own besides those of ALF",
    "checkpoint.missing_step_loads_minus_one": (
        "-1 is documented; ALF returns the step that the same object saved last"
    ),
    "config.defined_twice_is_refused": (
        "a conf file or a notebook cell that runs twice defines its configurables again"
    ),
    "create_environment.nonparallel_of_several_is_refused": (
        "play asks for one environment of configurations that say how many run in training"
    ),
    "gym_wrapper.env_info": "float32, as all other numbers of a time step",
    "wrappers.PerformanceProfiler.passes_steps_on": (
        "ALF's wrapper takes the first step for a second reset and loses its action"
    ),
    "metrics.AverageEnvInfo.vector_value_is_refused": (
        "a vector in env_info is averaged component by component"
    ),
    "metrics.MetricBuffer": "latest() is the value appended last; ALF gives an older one",
    "replay.episodes.recorded_returns.shape": (
        "[B, T]: TD losses bound the target of every step, not of the first one alone"
    ),
    "nest.transform_nests.list_level_refused": "a position in a list is a path, too",
    "layers.ParamFC.refusals": (
        "layer normalisation takes the number of groups from the parameters that are set"
    ),
    "norm.BatchNorm1d.steps_have_their_own_statistics": (
        "a step beyond the last has the statistics of the last one, in training as in evaluation"
    ),
    "networks.QNetwork.minimum_above_zero": (
        "a network chooses among 0..n-1: an action from 1 on would get what is out of its bounds"
    ),
    "projection.Categorical.minimum_above_zero": (
        "a categorical draws 0..n-1: an action from 1 on would get what is out of its bounds"
    ),
    "distributions.TruncatedNormal.kl": (
        "the integral is 1.14474 as here; ALF's 1.14437 has lost digits of its float32 masses"
    ),
    "mdq.ActionQuantizer.bounds_must_be_scalars": ("each dimension may have bounds of its own"),
    "optimizers.NeroPlus.not_initialized_is_refused": (
        "parameters are projected when they are added"
    ),
    "optimizers.parvi.gfsf": (
        "with ALF's smaller diagonal 30 particles of a standard normal spread to 2.6, here to 1.04"
    ),
}
