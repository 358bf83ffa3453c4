"""What TD-MPC2 remembers of an environment, and what it learns from.

Axis letters: B environments or spans, T = H + 1 records, H horizon, A action.
"""

from __future__ import annotations

from alf.data_structures import namedtuple

TDMPC2State = namedtuple("TDMPC2State", ["mean", "actions", "left"], default_value=())
TDMPC2State.__doc__ = """What is remembered of an environment.

Fields:
    mean: `[B, H, A]`, of the last search; the next one starts from it, shifted.
    actions: `[B, H, A]`, the plan that is executed, in [-1, 1].
    left: `[B]`, int64, decisions of it that are still to be made; 0: a new plan is due.
"""

TDMPC2Info = namedtuple(
    "TDMPC2Info",
    ["observation", "prev_action", "reward", "discount", "step_type", "reached"],
    default_value=(),
)
TDMPC2Info.__doc__ = """The fields of a time step that are learned from, `[T, B, ...]`.

`reached` is what was observed when the decision before ended; `()`: the observation. A level whose
input may change within an episode fills it in, see `transitions.reached`.
"""
