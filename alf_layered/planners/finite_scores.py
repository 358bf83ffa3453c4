"""A search in which no plan had a score that is a number has found nothing, and says so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_scores(score: Tensor, env_id: Any = (), *, owner: str) -> None:
    """Refuses a search that has no finite score for an environment.

    One plan whose score is not finite loses; where all lose, the model that scores is broken, or
    what it starts from. To look waits for an accelerator, as the environment does for the action.

    Args:
        score: `[B]`, the best score of each search.
        env_id: `[B]`, which environment each is for; `()`: its number is that of the row.
        owner: who searches, for the error.

    Raises:
        ValueError: the best score is infinite or NaN.
    """
    fine = torch.isfinite(score)
    if bool(fine.all()):
        return
    rows = (~fine).nonzero().flatten()
    ids = (env_id[rows] if isinstance(env_id, Tensor) else rows).tolist()
    shown = ", ".join(map(str, ids[:4])) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
    raise ValueError(
        f"{owner}: of all plans of the search for environment {shown} none has a finite score; the "
        "model's parameters, or the observation, hold NaN or infinity"
    )
