"""State of the process-wide random number generators as plain values that a checkpoint can hold."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def get_rng_state() -> dict[str, Any]:
    """State of python's, numpy's, torch's and all cuda generators: ints, strings and tensors."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    state = {
        "python": [version, torch.tensor(words, dtype=torch.int64, device="cpu"), gauss],
        "numpy": [
            str(name),
            torch.tensor(np.asarray(keys, np.int64), device="cpu"),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Undo of `get_rng_state`; cuda states are used as far as there are such devices now."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    words = keys.numpy().astype(np.uint32)
    np.random.set_state((name, words, position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].to("cpu"))
    for device, cuda_state in enumerate(state.get("cuda", ())[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda_state.to("cpu"), device)


@contextlib.contextmanager
def preserved_rng_state() -> Iterator[None]:
    """Whatever is drawn inside does not change what is drawn afterwards."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


class RngState:
    """The generators dressed up as something a Checkpointer can save and load."""

    def state_dict(self) -> dict[str, Any]:
        return get_rng_state()

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        set_rng_state(state_dict)
