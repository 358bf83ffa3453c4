"""The part of an algorithm that is about its parameters: who trains them, how they are saved."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from alf.algorithms import _state_dict
from alf.algorithms.algorithm_interface import AlgorithmInterface
from alf.algorithms.training import optimizer_tree
from alf.utils import checkpoint_utils
from alf.utils._module_parameters import get_all_parameters

Optimizer = torch.optim.Optimizer
_CONSTRUCTING = "_is_constructing"


def _then_post_init(init: Callable[..., None]) -> Callable[..., None]:
    """`init`, with `_post_init()` called once when the outermost constructor has ended."""

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.__dict__.get(_CONSTRUCTING):
            init(self, *args, **kwargs)
            return
        self.__dict__[_CONSTRUCTING] = True
        init(self, *args, **kwargs)
        del self.__dict__[_CONSTRUCTING]
        self._post_init()

    return wrapped


class TrainedModule(AlgorithmInterface):
    """A module whose parameters are trained by optimizers and saved together with them.

    Args:
        optimizer: trains every parameter that no other optimizer trains, see `add_optimizer()`.
        checkpoint: where the first parameters come from, see `Algorithm`.
        name: used in summary tags and messages.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _then_post_init(cls.__init__)

    def __init__(self, optimizer: Optimizer | None, checkpoint: str | None, name: str) -> None:
        super().__init__()
        self._name = name
        self._checkpoint = checkpoint
        self._pre_loaded = False
        self._default_optimizer = optimizer
        self._optimizers: list[Optimizer] = [] if optimizer is None else [optimizer]
        self._added_optimizers: list[tuple[Optimizer, list[Any]]] = []
        self._force_params_visible_to_parent = False
        self._assignment: tuple[optimizer_tree.Fingerprint, optimizer_tree.Assignment] | None = None

    def _post_init(self) -> None:
        """What can only be done when all of the object is there."""
        if self._checkpoint is not None:
            self._pre_load(self._checkpoint)

    @property
    def name(self) -> str:
        """The name of this algorithm."""
        return self._name

    # ---- Optimizers -------------------------------------------------------------------------

    def _trainable_attributes_to_ignore(self) -> list[str]:
        """Names of attributes whose parameters are none of this algorithm's business."""
        return []

    def _child_algorithms(self) -> Iterable[Any]:
        """The next algorithms below, outside of ignored attributes."""
        ignored = self._trainable_attributes_to_ignore()
        stack = [m for name, m in self._modules.items() if m is not None and name not in ignored]
        seen: set[int] = {id(self)}
        while stack:
            module = stack.pop(0)
            if id(module) in seen:
                continue
            seen.add(id(module))
            if isinstance(module, TrainedModule):
                yield module
            else:
                stack.extend(m for m in module._modules.values() if m is not None)

    @property
    def default_optimizer(self) -> Optimizer | None:
        """The optimizer of all parameters that have no other one."""
        return self._default_optimizer

    def add_optimizer(
        self, optimizer: Optimizer, modules_and_params: Iterable[nn.Module | nn.Parameter]
    ) -> None:
        """Let `optimizer` train these modules and parameters, which must be attributes too."""
        if optimizer is None:
            raise ValueError(f"{self._name}.add_optimizer(): the optimizer is None")
        if all(optimizer is not known for known in self._optimizers):
            self._optimizers.append(optimizer)
        self._added_optimizers.append((optimizer, list(modules_and_params)))
        self._assignment = None

    @property
    def force_params_visible_to_parent(self) -> bool:
        """Does the parent's optimizer train this algorithm's parameters too? Normally not."""
        return self._force_params_visible_to_parent

    @force_params_visible_to_parent.setter
    def force_params_visible_to_parent(self, flag: bool) -> None:
        self._force_params_visible_to_parent = flag

    def optimizers(
        self, recurse: bool = True, include_ignored_attributes: bool = False
    ) -> list[Optimizer]:
        """The optimizers of this algorithm, each once.

        Args:
            recurse: those of child algorithms too.
            include_ignored_attributes: and of those under ignored attributes.
        """
        self._setup_optimizers()
        if not recurse:
            return list(self._optimizers)
        if include_ignored_attributes:
            algorithms = [m for m in self.modules() if isinstance(m, TrainedModule)]
        else:
            algorithms: list[Any] = [self]
            for algorithm in algorithms:
                algorithms.extend(c for c in algorithm._child_algorithms() if c not in algorithms)
        found = {id(o): o for algorithm in algorithms for o in algorithm._optimizers}
        return list(found.values())

    def _setup_optimizers(self) -> optimizer_tree.Assignment:
        """Give the optimizers their parameters; computed again only if the modules changed."""
        if self._assignment is None or not self._assignment[0].holds():
            assignment = optimizer_tree.assign(self)
            self._assignment = (optimizer_tree.Fingerprint(self), assignment)
        return self._assignment[1]

    def _setup_all_optimizers(self) -> None:
        """As `_setup_optimizers()`, for algorithms under ignored attributes as well."""
        covered: set[int] = set()
        for module in self.modules():
            if isinstance(module, TrainedModule) and id(module) not in covered:
                covered |= module._setup_optimizers().algorithms

    def get_optimizer_info(self) -> str:
        """Json text: which optimizer, with which settings, trains which parameters."""
        every = self.optimizers(include_ignored_attributes=True)
        return optimizer_tree.describe(self._setup_optimizers(), every)

    def get_unoptimized_parameter_info(self) -> str:
        """Json list of the names of all parameters no optimizer trains, in plain containers too."""
        self._setup_all_optimizers()
        optimizers = self.optimizers(include_ignored_attributes=True)
        trained = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
        # each parameter once, under the first name
        names: dict[int, str] = {}
        for name, param in get_all_parameters(self):
            if id(param) not in trained:
                names.setdefault(id(param), name)
        return json.dumps(sorted(names.values()), indent=2)

    def get_param_name(self, param: nn.Parameter) -> str | None:
        """The path of a parameter; None if it is not one of this algorithm."""
        return next((name for name, p in self.named_parameters() if p is param), None)

    def compute_paras_statistics(self) -> dict[str, np.ndarray]:
        """For each parameter of n numbers: L2 norm / n, L1 norm / n, mean, standard deviation."""
        statistics = {}
        for name, p in self.named_parameters():
            x = p.detach().double()
            deviation = x.std() if x.numel() > 1 else torch.zeros_like(x.sum())
            values = torch.stack([x.norm() / x.numel(), x.abs().mean(), x.mean(), deviation])
            statistics[name] = values.cpu().numpy()
        return statistics

    # ---- Checkpoints ------------------------------------------------------------------------

    @property
    def pre_loaded(self) -> bool:
        """Did the parameters come from the constructor's `checkpoint`?"""
        return self._pre_loaded

    def _pre_load(self, checkpoint: str) -> None:
        prefix, at, path = checkpoint.rpartition("@")
        state = checkpoint_utils.extract_sub_state_dict_from_checkpoint(
            prefix if at else "alg", path
        )
        try:
            _state_dict.load(self, state, with_optimizers=False)
        except RuntimeError as error:
            raise ValueError(
                f"checkpoint={checkpoint!r} of {self.name!r}: {error}; allowed: 'prefix@path', "
                "where the prefix leads to the same parameters"
            ) from error
        self._pre_loaded = True

    def state_dict(
        self,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        visited: set[int] | None = None,
        *,
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """The state of modules and optimizers (`<path>_optimizers.<i>`).

        Cycles end, and shared modules and parameters are saved once, under the first path in
        registration order. Modules with disabled checkpoints are left out.

        Args:
            destination: where it is put; None: a new dict.
            prefix: put before each key.
            visited: ids of what is saved already; grows.
            keep_vars: whether tensors stay attached to the graph.
        """
        self._setup_all_optimizers()
        destination = {} if destination is None else destination
        visited = set() if visited is None else visited
        return _state_dict.save(self, destination, prefix, visited, keep_vars)

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool = True, skip_preloded: bool = True
    ) -> _state_dict.IncompatibleKeys:
        """Load what `state_dict()` gave.

        Args:
            strict: raise RuntimeError listing missing and unexpected keys, if there are any.
            skip_preloded: leave algorithms alone whose parameters came from `checkpoint`.

        Returns:
            The missing and the unexpected keys.
        """
        self._setup_all_optimizers()

        def skip(module: nn.Module) -> bool:
            return skip_preloded and isinstance(module, TrainedModule) and module.pre_loaded

        return _state_dict.load(self, state_dict, strict, skip)
