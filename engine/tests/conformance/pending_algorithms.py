"""Cases that are not equal yet; `run.py --update` shortens it."""

CASES = [
    "mcts.search.parallel2_game_over",
    "mcts.search.parallel2_two_player",
    "mcts.search.parallel4",
]
