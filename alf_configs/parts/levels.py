"""Levels: a keyword sets or changes an option of the level or of its `TrainingOptions`.

`--conf_param _CONFIG._USER.<name>_warm_up=...` changes a level's warm-up.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import alf
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler
from alf_layered import (
    ICEM,
    MPPI,
    AlgorithmLevel,
    Exploration,
    Goal,
    IdentityEncoder,
    PlannerLevel,
    PlanningSettings,
    PlanObjective,
    PredictorFactory,
    ProbabilisticEnsemble,
    ProbFCDynamics,
    RewardNet,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    ValueNet,
    get_default_predictor_factory,
    model_of_size,
)


def level(kind: Callable, name: str, **options: Any) -> Callable:
    """A level of this kind."""
    fields = TrainingOptions.__dataclass_fields__
    training = {word: options.pop(word) for word in list(options) if word in fields}
    return partial(kind, name=name, training=TrainingOptions(**training), **options)


def flat_sac_level(learner: Callable) -> Callable:
    """The only level of a maze run."""
    rate = {"updates_per_transition": 0.25, "warm_up": 2000, "replay_buffer_length": 10_000}
    return level(AlgorithmLevel, "sac", algorithm_ctor=learner, **rate)


def subgoal_level(learner: Callable, kind: Callable = AlgorithmLevel, **options: Any) -> Callable:
    """Chooses subgoals."""
    usual = {
        "random_warm_up": True,
        "updates_per_transition": 1.0,
        "warm_up": alf.define_config("subgoals_warm_up", 1000),
        "mini_batch_size": 128,
        "replay_buffer_length": 2000,
    }
    return level(kind, "subgoals", algorithm_ctor=learner, **(usual | options))


def reach_level(learner: Callable, **options: Any) -> Callable:
    """Reaches subgoals."""
    usual = {
        "control_interval": 15,
        "goal": Goal(radius=0.3),
        "random_warm_up": True,
        "updates_per_transition": 0.25,
        "warm_up": alf.define_config("reach_warm_up", 2000),
        "replay_buffer_length": 10_000,
    }
    return level(AlgorithmLevel, "reach", algorithm_ctor=learner, **(usual | options))


def planner_level(model: Callable, **options: Any) -> Callable:
    """Plans over decisions of the level below, with the dynamics and rewards that it learns."""
    usual = {
        "planner": ICEM(n_samples=128, n_iterations=5),
        "horizon": 16,
        # The model does not see the goal, so it cannot tell where episodes end.
        "objective": PlanObjective(use_term_prob=False),
        # The model stays wrong where plans alone do not lead.
        "exploration": Exploration(
            alternate_with_noise=True,
            switch_random_prob=0.1,
            switch_planner_prob=0.1,
            resample_random_action_prob=0.5,
        ),
        "updates_per_transition": 2.0,
        "warm_up": alf.define_config("planner_warm_up", 1000),
        "replay_buffer_length": 600,
        "optimizer": Adam(
            lr=LinearScheduler("percent", [(0, 2e-3), (0.4, 2e-3), (1.0, 2e-4)]),
            gradient_clipping=20.0,
        ),
    }
    return level(PlannerLevel, "planner", predictor_factory=model, **(usual | options))


def random_skills(model: Callable, *, lr: float, warm_up: int, **options: Any) -> Callable:
    """Chooses random skills and learns where they lead."""
    return level(
        PlannerLevel,
        "planner",
        predictor_factory=model,
        exploration=Exploration(only_noise=True),
        optimizer=Adam(lr=lr, gradient_clipping=20.0),
        warm_up=alf.define_config("planner_warm_up", warm_up),
        **options,
    )


def skill_level(kind: Callable, learner: Callable, warm_up: int = 2000, **options: Any) -> Callable:
    """Learns skills of ten environment steps."""
    usual = {
        "control_interval": 10,
        "updates_per_transition": 0.25,
        "warm_up": alf.define_config("skills_warm_up", warm_up),
        "replay_buffer_length": 5_000,
    }
    return level(kind, "skills", algorithm_ctor=learner, **(usual | options))


def small_tdmpc2(*, terminates: bool = True, acts_by: str = "plan") -> TDMPC2Settings:
    """TD-MPC2 with a small world model and a small search, for a CPU."""
    mppi = MPPI(n_samples=64, n_iterations=3, elite_ratio=0.25)
    planning = PlanningSettings(acts_by=acts_by, mppi=mppi, n_policy_plans=16)
    model = model_of_size("small", terminates=terminates)
    return TDMPC2Settings(model=model, planning=planning, lr=1e-3)


def tdmpc2_level(*, terminates: bool = True, **options: Any) -> Callable:
    """The only level of a run, with `small_tdmpc2`."""
    usual = {"mini_batch_size": 128, "updates_per_transition": 0.5, "warm_up": 1000}
    settings = small_tdmpc2(terminates=terminates)
    return level(TDMPC2Level, "tdmpc2", settings=settings, **(usual | options))


def maze_model(made_up_start: int = 0, *, layers: int = 3, beta_nll: float = 0.5) -> Callable:
    """Learned model of where a decision leads in a maze, and of its reward.

    Args:
        made_up_start: environment steps until which the model expects made-up skills.
        layers: hidden layers of the dynamics.
        beta_nll: with 0, the plain likelihood, the edges of walls pass for noise, and plans lead
            through them.
    """
    # Positions are numbers from 0 to 8.
    net = partial(ProbFCDynamics, normalize_inputs=True, hidden=(128,) * layers)
    return get_default_predictor_factory(
        sb_start_duration=made_up_start,
        sb_start_factor=2.0,
        n_modes=1,
        partial_model=partial(ProbabilisticEnsemble, partial_net=net, beta_nll=beta_nll),
    )


def flat_model(partial_model: Callable = ProbabilisticEnsemble, **options: Any) -> Callable:
    """Learned model whose state is the whole observation; `options` are of `PredictorFactory`."""
    return PredictorFactory(
        partial_model=partial_model,
        partial_val_func=ValueNet,
        partial_rew_func=RewardNet,
        partial_encoder=IdentityEncoder,
        **options,
    )
