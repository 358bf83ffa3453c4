"""Networks made of networks: one after another, side by side, on one input, or fed back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceType
from typing import Any

from torch import nn

from alf.config_util import configurable
from alf.layers import make_parallel_net, make_parallel_spec
from alf.layers._compose import split_element
from alf.nest import nest
from alf.nest.utils import get_nested_field
from alf.networks.network import Network, get_input_tensor_spec, nested_modules, wrap_as_network


class _Sequential(Network):
    """Networks, modules and functions applied one after another. See :func:`Sequential`.

    Its state is the list of the states of its elements, () if none has one.
    """

    def __init__(
        self,
        elements: SequenceType[Any] = (),
        element_dict: Mapping[str, Any] | None = None,
        output: Any = "",
        input_tensor_spec: Any = None,
        name: str = "Sequential",
    ) -> None:
        named = dict(element_dict or {})
        if "input" in named:
            raise ValueError('"input" names the input of a Sequential, not one of its modules')
        pairs = [("", element) for element in elements] + list(named.items())
        if not pairs:
            raise ValueError(f"{name} needs at least one module")
        steps = [(key, *split_element(element)) for key, element in pairs]
        if input_tensor_spec is None and steps[0][1] in (None, "input"):
            input_tensor_spec = get_input_tensor_spec(steps[0][2])
        if input_tensor_spec is None:
            raise ValueError(
                f"{name}: input_tensor_spec is needed, as its first module does not tell its own"
            )
        specs = [net.state_spec if isinstance(net, Network) else () for *_, net in steps]
        has_state = any(spec != () for spec in specs)
        super().__init__(input_tensor_spec, specs if has_state else (), name)
        self._steps = [(key, source, net, isinstance(net, Network)) for key, source, net in steps]
        self._output = output
        self._has_state = has_state
        self._is_plain = output == "" and all(source is None for _, source, _ in steps)
        self._nets = nn.ModuleList(net for *_, net in steps if isinstance(net, nn.Module))

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, i: int) -> Callable[..., Any]:
        return self._steps[i][2]

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        if self._has_state or not self._is_plain:
            return self._forward_general(inputs, state)
        x = inputs
        for _, _, net, is_network in self._steps:
            x = net(x)[0] if is_network else net(x)
        return x, state

    def _forward_general(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        if not self._has_state:
            state = [()] * len(self._steps)
        elif len(state) != len(self._steps):
            raise ValueError(f"{self.name}: the state must match {self.state_spec}, got {state}")
        x, results, new_state = inputs, {"input": inputs}, []
        for (key, source, net, is_network), old in zip(self._steps, state, strict=True):
            x = x if source is None else get_nested_field(results, source)
            new = ()
            if is_network:
                x, new = net(x, old)
            else:
                x = net(x)
            new_state.append(new)
            if key:
                results[key] = x
        if self._output != "":
            x = get_nested_field(results, self._output)
        return x, new_state if self._has_state else ()

    def make_parallel(self, n: int) -> Network:
        def parallel(source: Any, net: Any) -> Any:
            net = make_parallel_net(net, n)
            return net if source is None else (source, net)

        return _Sequential(
            [parallel(source, net) for key, source, net, _ in self._steps if key == ""],
            {key: parallel(source, net) for key, source, net, _ in self._steps if key != ""},
            output=self._output,
            input_tensor_spec=make_parallel_spec(self.input_tensor_spec, n),
            name=f"parallel_{self.name}",
        )


@configurable
def Sequential(
    *modules: Any,
    output: Any = "",
    input_tensor_spec: Any = None,
    name: str = "Sequential",
    **named_modules: Any,
) -> Network:
    """A network of networks, modules and functions applied one after another.

    Args:
        modules: each a network, module or function, or a pair (nested str, such) that names the
            results it takes instead of the one before it. "input" is the input; dots reach into
            nests.
        output: name, or nest of names, of the results to return; empty for the last one.
        input_tensor_spec: needed unless the first module tells it.
        name: for printing.
        named_modules: modules after those of ``modules``, whose results can be named.
    """
    return _Sequential(
        modules, named_modules, output=output, input_tensor_spec=input_tensor_spec, name=name
    )


@configurable
class Parallel(Network):
    """A nest of modules, each applied to its part of a nested input of the same structure.

    Args:
        modules: nest of networks, modules or functions.
        input_tensor_spec: needed unless all of ``modules`` tell theirs.
        name: for printing.
    """

    def __init__(self, modules: Any, input_tensor_spec: Any = None, name: str = "Parallel") -> None:
        if input_tensor_spec is None:
            input_tensor_spec = nest.map_structure(get_input_tensor_spec, modules)
            if any(spec is None for spec in nest.flatten(input_tensor_spec)):
                raise ValueError(f"{name}: input_tensor_spec is needed, as not all modules tell it")
        networks = nest.map_structure_up_to(modules, wrap_as_network, modules, input_tensor_spec)
        specs = nest.map_structure(lambda net: net.state_spec, networks)
        self_has_state = len(nest.flatten(specs)) > 0
        super().__init__(input_tensor_spec, specs if self_has_state else (), name)
        self._networks = networks
        self._has_state = self_has_state
        self._nets = nested_modules(networks)

    @property
    def networks(self) -> Any:
        """The nest of networks."""
        return self._networks

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        if not self._has_state:
            output = nest.map_structure_up_to(
                self._networks, lambda net, x: net(x)[0], self._networks, inputs
            )
            return output, state
        results = nest.map_structure_up_to(
            self._networks,
            lambda net, x, s: _Result(net(x, s)),
            self._networks,
            inputs,
            state,
        )
        return _unzip(results)

    def make_parallel(self, n: int) -> Network:
        return Parallel(
            nest.map_structure(lambda net: make_parallel_net(net, n), self._networks),
            make_parallel_spec(self.input_tensor_spec, n),
            name=f"parallel_{self.name}",
        )


class _Result:
    """The two results of a network as one leaf of a nest."""

    def __init__(self, pair: tuple[Any, Any]) -> None:
        self.output, self.state = pair


def _unzip(results: Any) -> tuple[Any, Any]:
    return (
        nest.map_structure(lambda result: result.output, results),
        nest.map_structure(lambda result: result.state, results),
    )


class _Branch(Network):
    """A nest of modules, all applied to the same input. See :func:`Branch`."""

    def __init__(self, modules: Any, input_tensor_spec: Any = None, name: str = "Branch") -> None:
        if input_tensor_spec is None:
            told = [get_input_tensor_spec(net) for net in nest.flatten(modules)]
            input_tensor_spec = next((spec for spec in told if spec is not None), None)
        if input_tensor_spec is None:
            raise ValueError(f"{name}: input_tensor_spec is needed, as no module tells it")
        networks = nest.map_structure(lambda net: wrap_as_network(net, input_tensor_spec), modules)
        specs = nest.map_structure(lambda net: net.state_spec, networks)
        has_state = len(nest.flatten(specs)) > 0
        super().__init__(input_tensor_spec, specs if has_state else (), name)
        self._networks, self._has_state = networks, has_state
        self._nets = nested_modules(networks)

    @property
    def networks(self) -> Any:
        """The nest of networks."""
        return self._networks

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        if not self._has_state:
            return nest.map_structure(lambda net: net(inputs)[0], self._networks), state
        results = nest.map_structure_up_to(
            self._networks, lambda net, s: _Result(net(inputs, s)), self._networks, state
        )
        return _unzip(results)

    def make_parallel(self, n: int) -> Network:
        return _Branch(
            nest.map_structure(lambda net: make_parallel_net(net, n), self._networks),
            make_parallel_spec(self.input_tensor_spec, n),
            name=f"parallel_{self.name}",
        )


@configurable
def Branch(
    *modules: Any, input_tensor_spec: Any = None, name: str = "Branch", **named_modules: Any
) -> Network:
    """A network that applies several modules to the same input.

    Args:
        modules: networks, modules or functions, giving a tuple of results; or one nest of them.
        input_tensor_spec: needed unless one module tells it.
        name: for printing.
        named_modules: instead of ``modules``, giving a dict of results.
    """
    if bool(modules) == bool(named_modules):
        raise ValueError(f"{name} takes either positional or named modules")
    branches: Any = modules or named_modules
    if len(modules) == 1 and nest.is_nested(modules[0]):
        branches = modules[0]
    return _Branch(branches, input_tensor_spec, name)


@configurable
class Echo(Network):
    """Feeds back a part of the output as a part of the next input.

    Args:
        block: takes a dict(input=, echo=) and returns a dict(output=, echo=); ``echo`` is the one
            of the step before, zeros at first.
        input_tensor_spec: spec of that dict, needed unless ``block`` tells it.
    """

    def __init__(self, block: Any, input_tensor_spec: Any = None) -> None:
        block = wrap_as_network(block, input_tensor_spec)
        spec = block.input_tensor_spec
        if not (isinstance(spec, dict) and set(spec) == {"input", "echo"}):
            raise ValueError(f'Echo needs a block with inputs "input" and "echo", got {spec}')
        state_spec = (block.state_spec, spec["echo"])
        super().__init__(spec["input"], state_spec, name=f"echo_{block.name}")
        self._block = block

    def forward(self, input: Any, state: Any) -> tuple[Any, Any]:
        block_state, echo = state
        result, block_state = self._block({"input": input, "echo": echo}, block_state)
        return result["output"], (block_state, result["echo"])
