"""MuZero: a search over a learned model of values and rewards."""

from collections.abc import Callable
from functools import partial
from typing import Any

import alf
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByProgress
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.utils.action_samplers import EpsilonGreedySampler
from alf.utils.losses import DiscreteRegressionLoss
from alf.utils.math_ops import Sqrt1pTransform
from alf_configs.parts.learners import squashed_normal


def search(num_simulations: int, last_temperature: float = 0.5, **options: Any) -> Callable:
    """Monte Carlo tree search, with a lower temperature in the second half of training."""
    temperature = VisitSoftmaxTemperatureByProgress([(0.5, 1.0), (1.0, last_temperature)])
    usual = {
        "root_dirichlet_alpha": 0.5,
        "root_exploration_fraction": 0.25,
        "pb_c_init": 1.25,
        "pb_c_base": 19652,
        "is_two_player_game": False,
        "value_min_max_delta": 0.01,
        "visit_softmax_temperature_fn": temperature,
        "predict_action_sampler": EpsilonGreedySampler(0.0),
    }
    return partial(MCTSAlgorithm, num_simulations=num_simulations, **(usual | options))


def muzero(
    mcts: Callable, num_unroll_steps: int, model: dict[str, Any], **representation: Any
) -> Callable:
    """MuZero with `SimpleMCTSModel(**model)` and `MuzeroRepresentationImpl(**representation)`."""
    # No constructor that a run calls takes these.
    alf.config("MCTSModel", apply_partial_trajectory_mask=True)
    alf.config("SimplePredictionNet", continuous_projection_net_ctor=squashed_normal())
    steps = {"num_unroll_steps": num_unroll_steps}
    learner = partial(
        MuzeroRepresentationImpl,
        model_ctor=partial(SimpleMCTSModel, **steps, **model),
        **steps,
        **representation,
    )
    return partial(MuzeroAlgorithm, mcts_algorithm_ctor=mcts, representation_learner_ctor=learner)


def categorical_values(num_quantiles: int, value_loss_weight: float) -> None:
    """The model predicts distributions of transformed values and rewards, not numbers."""
    alf.config("SimplePredictionNet", num_quantiles=num_quantiles)
    alf.config(
        "MCTSModel",
        value_loss=DiscreteRegressionLoss(transform=Sqrt1pTransform()),
        value_loss_weight=value_loss_weight,
        reward_loss=DiscreteRegressionLoss(transform=Sqrt1pTransform()),
    )
