"""Network: a module with input and state specs that maps (inputs, state) to (output, state)."""

from __future__ import annotations

import abc
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import (
    FC,
    Lambda,
    make_parallel_net,
    make_parallel_spec,
    reset_parameters,
)
from alf.nest import nest
from alf.nest.utils import make_nested_module
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import (
    DistributionSpec,
    distributions_to_params,
    extract_spec,
    params_to_distributions,
)
from alf.utils.tensor_utils import BatchSquash


class Network(nn.Module, abc.ABC):
    """Base of all networks: called as ``output, new_state = net(inputs, state)``.

    The first axis of every tensor is the batch. Networks without state take and return ``()``. The
    arguments of the constructor are kept, so that :meth:`copy` can build the same network anew.

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs.
        state_spec: nest of TensorSpec of the state.
        name: for printing and summaries.
    """

    _saved_args: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_saved_args", (args, kwargs))
        return self

    def __init__(self, input_tensor_spec: Any, state_spec: Any = (), name: str = "Network") -> None:
        super().__init__()
        for spec in nest.flatten(input_tensor_spec):
            if not isinstance(spec, TensorSpec):
                raise ValueError(f"{name}: input_tensor_spec must hold TensorSpec, got {spec!r}")
        self._name = name
        self._input_tensor_spec = input_tensor_spec
        self._state_spec = state_spec
        self._output_spec: Any = None
        self._singleton_instance = False

    @abc.abstractmethod
    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        """Output and new state for a batch of inputs and states."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def saved_args(self) -> dict[str, Any]:
        """The arguments given to the constructor, by name."""
        args, kwargs = self._saved_args
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        arguments = dict(list(bound.arguments.items())[1:])
        for parameter in bound.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        return arguments

    @property
    def input_tensor_spec(self) -> Any:
        """Nest of TensorSpec of the inputs, without the batch axis."""
        return self._input_tensor_spec

    @property
    def state_spec(self) -> Any:
        """Nest of TensorSpec of the state; () for none."""
        return self._state_spec

    @property
    def is_rnn(self) -> bool:
        """Does this network have a state?"""
        return len(nest.flatten(self.state_spec)) > 0

    @property
    def output_spec(self) -> Any:
        """Nest of TensorSpec and DistributionSpec of the output, found by one trial run."""
        if self._output_spec is None:
            self._output_spec = self._try_output_spec()
        return self._output_spec

    @property
    def is_distribution_output(self) -> bool:
        """Is any part of the output a distribution?"""
        return any(isinstance(spec, DistributionSpec) for spec in nest.flatten(self.output_spec))

    def _try_output_spec(self) -> Any:
        device = next((parameter.device for parameter in self.parameters()), None)
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _evaluating(self), _on(device):
            inputs = nest.map_structure(_trial_input, self.input_tensor_spec)
            state = nest.map_structure(lambda spec: spec.zeros((2,)), self.state_spec)
            output, _ = self(inputs, state)
        return extract_spec(output)

    def copy(self, **kwargs: Any) -> Network:
        """A network built by the same arguments, with parameters of its own drawn anew.

        Networks and modules among the arguments are copied too, except singletons.

        Args:
            kwargs: arguments that replace those of this network.
        """
        if self._singleton_instance:
            return self
        args, saved = fresh_copy(self._saved_args)
        if not kwargs:
            return type(self)(*args, **saved)
        positional = iter(inspect.signature(type(self).__init__).parameters.values())
        next(positional)
        names = [p.name for p, _ in zip(positional, args, strict=False)]
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in _parameters_of(type(self))):
            return type(self)(*args, **{**saved, **kwargs})
        return type(self)(**{**dict(zip(names, args, strict=True)), **saved, **kwargs})

    def singleton(self, singleton_instance: bool = True) -> Network:
        """Make :meth:`copy` return this network itself, for example to share a preprocessor."""
        self._singleton_instance = singleton_instance
        return self

    def make_parallel(self, n: int) -> Network:
        """n networks like this one as one network, each with parameters of its own.

        Its outputs have shape [B, n, ...], its state specs (n, ...). Inputs may be [B, ...], shared
        by the replicas, or [B, n, ...].
        """
        return NaiveParallelNetwork(self, n)


def _parameters_of(cls: type) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())


def _trial_input(spec: TensorSpec) -> Tensor:
    if isinstance(spec, BoundedTensorSpec) and spec.is_discrete:
        return spec.sample((2,))
    return spec.zeros((2,))


def _on(device: torch.device | None) -> AbstractContextManager[Any]:
    """Make new tensors on ``device`` within the block; None for the default device."""
    return nullcontext() if device is None else device


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; each part returns to its own mode after it."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def fresh_copy(value: Any) -> Any:
    """``value`` with each network and module in it replaced by a copy that has new parameters."""
    if isinstance(value, Network):
        return value.copy()
    if isinstance(value, nn.Module):
        module = copy.deepcopy(value)
        reset_parameters(module)
        return module
    if nest.is_namedtuple(value):
        return type(value)(*(fresh_copy(item) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(fresh_copy(item) for item in value)
    if isinstance(value, dict):
        return type(value)((key, fresh_copy(item)) for key, item in value.items())
    return value


def nested_modules(nested: Any) -> nn.Module | None:
    """A module that registers those of a nest; None for a single one, which registers itself."""
    return make_nested_module(nested) if nest.is_nested(nested) else None


def input_of_replica(inputs: Any, spec: Any, i: int) -> Any:
    """What replica ``i`` sees: its slice of tensors [B, n, ...]; tensors [B, ...] are shared."""
    return nest.map_structure(
        lambda x, s: x if x.ndim == s.ndim + 1 else x.select(1, i), inputs, spec
    )


@configurable
class NaiveParallelNetwork(Network):
    """n copies of a network called one after another; works for every network.

    Args:
        network: what to copy; it is not itself one of the copies.
        n: number of copies.
        name: by default that of ``network`` with "naive_parallel_" before it.
    """

    def __init__(self, network: Network, n: int, name: str | None = None) -> None:
        super().__init__(
            network.input_tensor_spec,
            make_parallel_spec(network.state_spec, n),
            name or f"naive_parallel_{network.name}",
        )
        self._networks = nn.ModuleList(
            network.copy(name=f"{network.name}_{i}") if _has_name(network) else network.copy()
            for i in range(n)
        )
        self._n = n
        self._replica_output_spec: Any = None

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        results = []
        for i, network in enumerate(self._networks):
            replica_state = nest.map_structure(lambda x, i=i: x[:, i], state)
            replica_inputs = input_of_replica(inputs, self._input_tensor_spec, i)
            results.append(network(replica_inputs, replica_state))
        outputs = [output for output, _ in results]
        new_state = nest.map_structure(_stack, *(state for _, state in results))
        return self._stack_outputs(outputs), new_state

    def _stack_outputs(self, outputs: list[Any]) -> Any:
        if self._replica_output_spec is None:
            self._replica_output_spec = extract_spec(outputs[0])
        params = [distributions_to_params(output) for output in outputs]
        return params_to_distributions(
            nest.map_structure(_stack, *params), self._replica_output_spec
        )


def _has_name(network: Network) -> bool:
    return any(parameter.name == "name" for parameter in _parameters_of(type(network)))


def _stack(*tensors: Tensor) -> Tensor:
    return torch.stack(tensors, dim=1)


class NetworkWrapper(Network):
    """A module or function as a network.

    Args:
        module: called as ``module(x)``, or as ``module(x, state)`` returning output and new state
            if ``state_spec`` is not ().
        input_tensor_spec: nest of TensorSpec of x.
        state_spec: nest of TensorSpec of the state.
        name: for printing.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        input_tensor_spec: Any,
        state_spec: Any = (),
        name: str = "NetworkWrapper",
    ) -> None:
        super().__init__(input_tensor_spec, state_spec, name)
        if not callable(module):
            raise TypeError(f"module must be callable, got {module!r}")
        if not isinstance(module, nn.Module) and state_spec == ():
            module = Lambda(module)
        self._module = module

    def forward(self, x: Any, state: Any = ()) -> tuple[Any, Any]:
        if self._state_spec == ():
            return self._module(x), state
        return self._module(x, state)

    def make_parallel(self, n: int) -> Network:
        if self._state_spec != ():
            return super().make_parallel(n)
        return NetworkWrapper(
            make_parallel_net(self._module, n),
            make_parallel_spec(self._input_tensor_spec, n),
            name=f"parallel_{self.name}",
        )


def get_input_tensor_spec(net: Any) -> Any:
    """The spec of the inputs of a network or layer, as far as it tells; else None."""
    if isinstance(net, Network):
        return net.input_tensor_spec
    if isinstance(net, FC):
        return TensorSpec((net.input_size,))
    return None


def wrap_as_network(net: Callable[..., Any], input_tensor_spec: Any) -> Network:
    """``net`` if it is a network, else a network around it.

    Raises:
        ValueError: if ``input_tensor_spec`` is None and ``net`` does not tell its own.
    """
    if isinstance(net, Network):
        return net
    if input_tensor_spec is None:
        input_tensor_spec = get_input_tensor_spec(net)
    if input_tensor_spec is None:
        raise ValueError(f"input_tensor_spec is needed to make a network of {net!r}")
    return NetworkWrapper(net, input_tensor_spec)


@configurable
class BatchSquashNetwork(Network):
    """Calls a network without state on inputs with several batch axes, such as [T, B, ...].

    Args:
        network: the wrapped network.
        batch_dims: number of batch axes.
        name: for printing.
    """

    def __init__(
        self, network: Network, batch_dims: int = 2, name: str = "BatchSquashNetwork"
    ) -> None:
        if network.state_spec != ():
            raise ValueError(f"BatchSquashNetwork takes no network with a state: {network.name}")
        super().__init__(network.input_tensor_spec, (), name)
        self._network, self._batch_dims = network, batch_dims

    def _try_output_spec(self) -> Any:
        return self._network.output_spec

    def forward(self, x: Any, state: Any = ()) -> tuple[Any, Any]:
        squash = BatchSquash(self._batch_dims)
        output, _ = self._network(nest.map_structure(squash.flatten, x))
        if isinstance(output, Tensor):
            return squash.unflatten(output), state
        spec = self._network.output_spec
        params = nest.map_structure(squash.unflatten, distributions_to_params(output))
        return params_to_distributions(params, spec), state
