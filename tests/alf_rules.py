"""Narrows the engine to what ALF itself (commit 23aca492) allows: `pytest --alf-rules`.

The engine takes more than ALF does. What the plugin, its configurations and its tests use of that
would fail, or pass in silence, on ALF; under these rules it fails here. Rules that concern the
caller hold for code of `alf_layered` and `alf_configs`, as the engine's own code may use torch.

`narrow()` applies them in this process; child processes get them by `alf_rules_site`, see
`environment`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.training import optimizer_tree
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.nest import nest
from alf.optimizers import optimizers

_OURS = ("alf_layered", "alf_configs", "_alf_conf_")
_OPT_ARGS = {"fixed_norm", "weight_decay"}


class RuleBroken(AssertionError):
    """ALF would not take this."""


def environment() -> dict[str, str]:
    """Environment variables under which every child process follows the rules."""
    site = str(Path(__file__).with_name("alf_rules_site"))
    path = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join([site, *filter(None, [path])])}


def narrow() -> None:
    """Applies the rules to this process."""
    _buffers()
    _plain_loss_lists()
    _optimizer_options()
    _optimizer_tree_rules()
    _ignored_attributes()
    _muzero_lookups()
    _episodic_buffers()


def _caller_is_ours() -> bool:
    return sys._getframe(2).f_globals.get("__name__", "").startswith(_OURS)


def _buffers() -> None:
    """`register_buffer` takes no `persistent`, and a registered buffer is not bound anew."""
    register, bind = nn.Module.register_buffer, nn.Module.__setattr__

    def register_buffer(
        self: nn.Module, name: str, tensor: Any, *more: Any, **options: Any
    ) -> None:
        if (more or options) and _caller_is_ours():
            raise RuleBroken(f"register_buffer({name!r}) with persistent")
        register(self, name, tensor, *more, **options)

    def set_attribute(self: nn.Module, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", ()) and _caller_is_ours():
            raise RuleBroken(f"buffer {name!r} of {type(self).__name__} is bound anew")
        bind(self, name, value)

    nn.Module.register_buffer = register_buffer  # type: ignore[method-assign]
    nn.Module.__setattr__ = set_attribute  # type: ignore[method-assign]


def _plain_loss_lists() -> None:
    """SAC keeps its critic losses in a plain list, where `modules()` does not find them."""
    make = SacAlgorithm.__init__

    def init(self: SacAlgorithm, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        losses = self._modules.pop("_critic_losses", None)
        if losses is not None:
            self.__dict__["_critic_losses"] = list(losses)  # type: ignore[call-overload]

    SacAlgorithm.__init__ = init  # type: ignore[method-assign]


def _optimizer_options() -> None:
    """A parameter's `opt_args` say `fixed_norm` and `weight_decay` only."""
    split = optimizers._split_by_options

    def split_by_options(group: dict, settings: dict) -> Any:
        params = group["params"]
        for parameter in [params] if isinstance(params, torch.Tensor) else params:
            unknown = set(getattr(parameter, "opt_args", None) or ()) - _OPT_ARGS
            if unknown:
                raise RuleBroken(f"opt_args {sorted(unknown)}")
        return split(group, settings)

    optimizers._split_by_options = split_by_options


def _optimizer_tree_rules() -> None:
    """`add_optimizer` takes direct children; every optimizer gets parameters."""
    claim, fill = optimizer_tree._Tree._claims, optimizer_tree._Tree._fill

    def claims(self: Any, alg: Any, below: Any, taken: Any) -> Any:
        children = {id(x) for x in [*alg._modules.values(), *alg._parameters.values()]}
        for optimizer, objects in alg._added_optimizers:
            if type(alg).__module__.startswith(_OURS) and any(
                id(x) not in children for x in objects
            ):
                raise RuleBroken(f"{optimizer} of {alg.name!r} gets what is no direct child")
        return claim(self, alg, below, taken)

    def fill_(self: Any, alg: Any, optimizer: Any, params: Any) -> None:
        if not params:
            raise RuleBroken(f"{optimizer} of {alg.name!r} is not used")
        fill(self, alg, optimizer, params)

    optimizer_tree._Tree._claims = claims
    optimizer_tree._Tree._fill = fill_


def _ignored_attributes() -> None:
    """The base constructor asks for `_trainable_attributes_to_ignore()`."""
    make = Algorithm.__init__

    def init(self: Algorithm, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self._trainable_attributes_to_ignore()

    Algorithm.__init__ = init  # type: ignore[method-assign]


def _muzero_lookups() -> None:
    """MuZero looks up ends of episodes, and the states before sequences of one step."""
    prepare = MuzeroRepresentationImpl.preprocess_experience

    def preprocess_experience(
        self: MuzeroRepresentationImpl, root_inputs: Any, rollout_info: Any, batch_info: Any
    ) -> Any:
        buffer = batch_info.replay_buffer
        if buffer._episodes is None:
            raise RuleBroken(f"{self.name} without ReplayBuffer.keep_episodic_info")
        if root_inputs.step_type.shape[1] == 1 and not nest.flatten(buffer._data_spec.state):
            raise RuleBroken(f"{self.name} without TrainerConfig.use_rollout_state")
        return prepare(self, root_inputs, rollout_info, batch_info)

    MuzeroRepresentationImpl.preprocess_experience = preprocess_experience  # type: ignore[method-assign]


def _episodic_buffers() -> None:
    """Buffers that know episodes read `step_type` off the record, which is an `Experience`."""
    add = ReplayBuffer.add_batch

    def add_batch(self: ReplayBuffer, batch: Any, *args: Any, **kwargs: Any) -> Any:
        if self._episodes is not None and not hasattr(batch, "step_type"):
            raise RuleBroken(f"a record of {type(batch).__name__} in an episodic buffer")
        return add(self, batch, *args, **kwargs)

    ReplayBuffer.add_batch = add_batch  # type: ignore[method-assign]
