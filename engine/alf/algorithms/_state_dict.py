"""State dicts of algorithms: shared and cyclic modules once, optimizers included.

A module that is reachable on several ways is saved under the first path in registration order,
depth first. So are parameters which several modules share.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from alf.utils.checkpoint_utils import is_checkpoint_enabled

# The name of the list of optimizers in the keys: `<path>_optimizers.<i>`.
_OPTIMIZERS = "_optimizers"
_MOST_CHARACTERS = 200


class IncompatibleKeys(NamedTuple):
    """What did not fit when a state was loaded.

    Attributes:
        missing_keys: keys which the algorithm has and the state lacks.
        unexpected_keys: keys of the state which the algorithm does not know.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


def _walk(
    module: nn.Module,
    prefix: str,
    visited: set[int],
    skip: Callable[[nn.Module], bool],
    skipped: list[str],
) -> Iterator[tuple[str, nn.Module]]:
    """Each module once, with its prefix; sub-trees where `skip` is true go to `skipped`."""
    if id(module) in visited:
        return
    visited.add(id(module))
    if skip(module):
        skipped.append(prefix)
        return
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.", visited, skip, skipped)


def _own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers of a module itself."""
    buffers = {
        name: buffer
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    }
    tensors = {**module._parameters, **buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _optimizers(module: nn.Module) -> list[torch.optim.Optimizer]:
    return module.__dict__.get(_OPTIMIZERS, [])


def save(
    root: nn.Module,
    destination: dict[str, Any],
    prefix: str,
    visited: set[int],
    keep_vars: bool = False,
) -> dict[str, Any]:
    """Put the state of `root` and all below it into `destination`, and return that.

    Args:
        prefix: put before each key.
        visited: ids of modules and tensors that are saved already; grows.
        keep_vars: whether tensors stay attached to the graph.
    """
    for path, module in _walk(root, prefix, visited, _is_disabled, []):
        own: dict[str, Any] = {}
        module._save_to_state_dict(own, path, keep_vars)
        for name, tensor in _own_tensors(module).items():
            if id(tensor) in visited:
                own.pop(path + name, None)
            visited.add(id(tensor))
        destination.update(own)
        for i, optimizer in enumerate(_optimizers(module)):
            if id(optimizer) not in visited:
                destination[f"{path}{_OPTIMIZERS}.{i}"] = optimizer.state_dict()
            visited.add(id(optimizer))
    return destination


def _is_disabled(module: nn.Module) -> bool:
    return not is_checkpoint_enabled(module)


def load(
    root: nn.Module,
    state_dict: dict[str, Any],
    strict: bool = True,
    skip: Callable[[nn.Module], bool] = lambda module: False,
    with_optimizers: bool = True,
) -> IncompatibleKeys:
    """Load what `save()` gave into `root`.

    Args:
        skip: sub-trees where this is true keep what they have.
        with_optimizers: whether the optimizers are loaded too.

    Raises:
        RuntimeError: a value does not fit; or a key is missing or unexpected, and `strict` is true.
    """
    state_dict = dict(state_dict)  # buffers replace entries by what fits
    missing: list[str] = []
    errors: list[str] = []
    known: set[str] = set()
    skipped: list[str] = []
    loaded: set[int] = set()
    walk = _walk(root, "", set(), lambda m: _is_disabled(m) or skip(m), skipped)
    for path, module in walk:
        own_missing: list[str] = []
        unexpected: list[str] = []
        module._load_from_state_dict(state_dict, path, {}, True, own_missing, unexpected, errors)
        # A shared tensor has its value under its first name, and lacks the others.
        tensors = _own_tensors(module)
        shared = {path + name for name, tensor in tensors.items() if id(tensor) in loaded}
        missing += [key for key in own_missing if key not in shared]
        known |= {path + name for name in tensors} - shared
        known |= {key for key in state_dict if _is_own(key, path, module) and key not in unexpected}
        loaded |= {id(tensor) for tensor in tensors.values()}
        for i, optimizer in enumerate(_optimizers(module)):
            key = f"{path}{_OPTIMIZERS}.{i}"
            known.add(key)
            is_loaded = id(optimizer) in loaded  # one that several algorithms share
            loaded.add(id(optimizer))
            if not with_optimizers or is_loaded:
                continue
            if key in state_dict:
                _load_optimizer(optimizer, state_dict[key], key, errors)
            else:
                missing.append(key)
    left_alone = tuple(skipped)
    unknown = [key for key in state_dict if key not in known and not key.startswith(left_alone)]
    if strict and (missing or unknown):
        errors.append(f"missing keys: {_some(missing)}; unexpected keys: {_some(unknown)}")
    if errors:
        raise RuntimeError(f"the state does not fit {type(root).__name__}: {in_short(errors)}")
    return IncompatibleKeys(missing, unknown)


_SIZES = re.compile(
    r"size mismatch for (\S+): copying a param with shape (?:torch\.Size\()?(\[[^\]]*\])\)? "
    r"from checkpoint, the shape in current model is (?:torch\.Size\()?(\[[^\]]*\])\)?\.?"
)


def in_short(errors: Sequence[str], most: int = 3) -> str:
    """What torch says of entries that do not fit, for people: the first few, and how many."""
    texts = [_SIZES.sub(r"\1 is \2 in the checkpoint and \3 here", e.strip()) for e in errors]
    listed = "; ".join(text[:_MOST_CHARACTERS] for text in texts[:most])
    return listed if len(texts) <= most else f"{listed}; and {len(texts) - most} more"


def _is_own(key: str, path: str, module: nn.Module) -> bool:
    """Whether a key lies directly in a module that loads some of its keys in its own way."""
    if type(module)._load_from_state_dict is nn.Module._load_from_state_dict:
        return key == f"{path}_extra_state"
    return key.startswith(path) and "." not in key[len(path) :]


def _load_optimizer(
    optimizer: torch.optim.Optimizer, state: dict[str, Any], key: str, errors: list[str]
) -> None:
    try:
        # torch keeps the given tensors: without a copy two algorithms would share their moments
        optimizer.load_state_dict(copy.deepcopy(state))
    except ValueError as error:
        errors.append(f"{key}: {error}")


def _some(keys: list[str], most: int = 4) -> str:
    listed = ", ".join(keys[:most]) or "none"
    return listed if len(keys) <= most else f"{listed} and {len(keys) - most} more"
