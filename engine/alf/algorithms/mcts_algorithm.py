"""Monte-Carlo tree search with a model, as an algorithm that acts; the settings of the papers."""

from __future__ import annotations

from typing import Any

import torch

from alf.algorithms.mcts.acting import MCTSAlgorithm, MCTSInfo, MCTSState
from alf.algorithms.mcts.model import MCTSModel
from alf.algorithms.mcts.policy import (
    calculate_exploration_policy,
    calculate_kl_exploration_policy,
)
from alf.algorithms.mcts.temperatures import (
    VisitSoftmaxTemperatureByMoves,
    VisitSoftmaxTemperatureByProgress,
)
from alf.algorithms.mcts.tuples import ModelOutput
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep

__all__ = [
    "MAXIMUM_FLOAT_VALUE",
    "AlgStep",
    "LossInfo",
    "MCTSAlgorithm",
    "MCTSInfo",
    "MCTSModel",
    "MCTSState",
    "ModelOutput",
    "TimeStep",
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
]

MAXIMUM_FLOAT_VALUE = torch.finfo(torch.float32).max


@configurable
def create_board_game_mcts(
    observation_spec: Any,
    action_spec: Any,
    dirichlet_alpha: float,
    pb_c_init: float = 1.25,
    num_simulations: int = 800,
    debug_summaries: bool = False,
) -> MCTSAlgorithm:
    """A search for board games (MuZero, appendices B and C): two players, outcomes from -1 to 1.

    Args:
        dirichlet_alpha: ``root_dirichlet_alpha`` of `MCTSAlgorithm`.
        pb_c_init: see `MCTSAlgorithm`.
        num_simulations: see `MCTSAlgorithm`.
    """
    return MCTSAlgorithm(
        observation_spec,
        action_spec,
        num_simulations=num_simulations,
        root_dirichlet_alpha=dirichlet_alpha,
        root_exploration_fraction=0.25,
        pb_c_init=pb_c_init,
        pb_c_base=19652,
        discount=1.0,
        is_two_player_game=True,
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves([(30, 1.0), (10000, 1e-4)]),
        known_value_bounds=(-1.0, 1.0),
        debug_summaries=debug_summaries,
    )


def _one_player_mcts(
    observation_spec: Any, action_spec: Any, num_simulations: int, debug_summaries: bool
) -> MCTSAlgorithm:
    return MCTSAlgorithm(
        observation_spec,
        action_spec,
        num_simulations=num_simulations,
        root_dirichlet_alpha=0.25,
        root_exploration_fraction=0.25,
        pb_c_init=1.25,
        pb_c_base=19652,
        discount=0.997,
        is_two_player_game=False,
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByProgress(),
        debug_summaries=debug_summaries,
    )


@configurable
def create_go_mcts(observation_spec: Any, action_spec: Any, debug_summaries: bool) -> MCTSAlgorithm:
    """The search for Go."""
    return create_board_game_mcts(
        observation_spec, action_spec, dirichlet_alpha=0.03, debug_summaries=debug_summaries
    )


@configurable
def create_chess_mcts(
    observation_spec: Any, action_spec: Any, debug_summaries: bool
) -> MCTSAlgorithm:
    """The search for chess."""
    return create_board_game_mcts(
        observation_spec, action_spec, dirichlet_alpha=0.3, debug_summaries=debug_summaries
    )


@configurable
def create_shogi_mcts(
    observation_spec: Any, action_spec: Any, debug_summaries: bool
) -> MCTSAlgorithm:
    """The search for shogi."""
    return create_board_game_mcts(
        observation_spec, action_spec, dirichlet_alpha=0.15, debug_summaries=debug_summaries
    )


@configurable
def create_atari_mcts(observation_spec: Any, action_spec: Any) -> MCTSAlgorithm:
    """The search for Atari games: 50 simulations, discount 0.997."""
    return _one_player_mcts(observation_spec, action_spec, 50, False)


@configurable
def create_control_mcts(
    observation_spec: Any,
    action_spec: Any,
    num_simulations: int = 50,
    debug_summaries: bool = False,
) -> MCTSAlgorithm:
    """The search for control tasks, as that for Atari games.

    Args:
        num_simulations: see `MCTSAlgorithm`.
    """
    return _one_player_mcts(observation_spec, action_spec, num_simulations, debug_summaries)
