"""Input preprocessing: a module for each input, then one tensor of them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from alf.layers import make_parallel_net
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.network import Network, fresh_copy, nested_modules, wrap_as_network
from alf.tensor_specs import TensorSpec


class InputPreprocessing(nn.Module):
    """Applies a nest of preprocessors, then a combiner.

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs.
        input_preprocessors: nest with the structure of the spec (or of its upper part) of networks,
            modules, or None for the identity. They are copied, unless a network is a singleton.
        preprocessing_combiner: module that makes one tensor of the results.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._preprocessors: Any = None
        spec = input_tensor_spec
        if input_preprocessors is not None:
            preprocessors = nest.map_structure_up_to(
                input_preprocessors, _as_preprocessor, input_preprocessors, input_tensor_spec
            )
            if not all(isinstance(module, _Pass) for module in nest.flatten(preprocessors)):
                self._preprocessors = preprocessors
                self._modules_nest = nested_modules(preprocessors)
                spec = nest.map_structure_up_to(
                    preprocessors, _output_spec, preprocessors, input_tensor_spec
                )
        self._preprocessed_spec = spec
        self._combiner = None
        if nest.is_nested(spec):
            if preprocessing_combiner is None:
                raise ValueError(
                    "a preprocessing_combiner such as NestConcat is needed to make one tensor of "
                    f"the inputs {spec}"
                )
            self._combiner = preprocessing_combiner
            spec = preprocessing_combiner(spec)
        if not isinstance(spec, TensorSpec):
            raise ValueError(f"the combined inputs must be one tensor, got {spec}")
        self._output_spec = spec

    @property
    def output_spec(self) -> TensorSpec:
        """Spec of the combined input."""
        return self._output_spec

    @property
    def is_identity(self) -> bool:
        """Is there nothing to do?"""
        return self._preprocessors is None and self._combiner is None

    @property
    def combines_last_axis(self) -> bool:
        """Does the combiner work whatever the number of batch axes?"""
        combiner = self._combiner
        return combiner is None or (isinstance(combiner, NestConcat) and combiner._dim == -1)

    def forward(self, inputs: Any) -> Tensor:
        x = inputs
        if self._preprocessors is not None:
            x = nest.map_structure_up_to(
                self._preprocessors, _preprocess, self._preprocessors, inputs
            )
        return x if self._combiner is None else self._combiner(x)

    def make_parallel(self, n: int, may_share: bool = False) -> ParallelInputPreprocessing:
        """n independent replicas. Inputs may be [B, ...] or [B, n, ...], each on its own.

        Args:
            n: number of replicas.
            may_share: the result may have no replica axis if it is the same for all replicas.
        """
        return ParallelInputPreprocessing(self, n, may_share)


class ParallelInputPreprocessing(nn.Module):
    """n replicas of an :class:`InputPreprocessing`."""

    def __init__(self, single: InputPreprocessing, n: int, may_share: bool) -> None:
        super().__init__()
        self._n = n
        self._preprocessors: Any = None
        if single._preprocessors is not None:
            self._preprocessors = nest.map_structure(
                lambda net: _parallel_preprocessor(net, n), single._preprocessors
            )
            self._modules_nest = nested_modules(self._preprocessors)
        self._specs = single._preprocessed_spec
        self._combiner = None
        if single._combiner is not None:
            self._combiner = make_parallel_net(single._combiner, n)
        self._may_share = may_share and single.combines_last_axis

    def forward(self, inputs: Any) -> Tensor:
        x = inputs
        if self._preprocessors is not None:
            x = nest.map_structure_up_to(
                self._preprocessors, _preprocess, self._preprocessors, inputs
            )
        x = align_replicas(x, self._specs, self._n, self._may_share)
        return x if self._combiner is None else self._combiner(x)


def align_replicas(nested: Any, specs: Any, n: int, may_share: bool) -> Any:
    """Give a replica axis to all tensors of ``nested`` that have none.

    Args:
        nested: nest of tensors [B, ...] or [B, n, ...].
        specs: their specs, without batch and replica axes.
        n: number of replicas.
        may_share: if no tensor has the axis, leave them all without.
    """
    if may_share:
        pairs = zip(nest.flatten(nested), nest.flatten(specs), strict=True)
        if all(x.ndim == spec.ndim + 1 for x, spec in pairs):
            return nested

    def expand(x: Tensor, spec: TensorSpec) -> Tensor:
        if x.ndim > spec.ndim + 1:
            return x
        return x.unsqueeze(1).expand(-1, n, *x.shape[1:])

    return nest.map_structure(expand, nested, specs)


class _ParallelPreprocessor(nn.Module):
    """n replicas of a preprocessor, which may be given inputs without a replica axis."""

    def __init__(self, single: Network, n: int) -> None:
        super().__init__()
        self._spec, self._n = single.input_tensor_spec, n
        self._net = single.make_parallel(n)

    def forward(self, inputs: Any) -> Any:
        return self._net(align_replicas(inputs, self._spec, self._n, False))[0]


def _parallel_preprocessor(net: Any, n: int) -> Any:
    """Replicas of ``net``; singletons and the identity serve all replicas themselves."""
    if not isinstance(net, Network) or net._singleton_instance:
        return net
    return _ParallelPreprocessor(net, n)


class _Pass(nn.Module):
    """The identity, where no preprocessor is given."""

    def forward(self, x: Any) -> Any:
        return x


def _as_preprocessor(preprocessor: Any, spec: Any) -> nn.Module:
    if preprocessor is None:
        return _Pass()
    network = wrap_as_network(fresh_copy(preprocessor), spec)
    if network.state_spec != ():
        raise ValueError(f"a preprocessor must not have a state: {network.name}")
    return network


def _output_spec(preprocessor: Any, spec: Any) -> Any:
    return preprocessor.output_spec if isinstance(preprocessor, Network) else spec


def _preprocess(preprocessor: Any, x: Any) -> Any:
    return preprocessor(x)[0] if isinstance(preprocessor, Network) else preprocessor(x)


class PreprocessorNetwork(Network):
    """Base of networks that preprocess and combine their inputs first.

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs.
        input_preprocessors: nest of networks, modules or None, one for each input.
        preprocessing_combiner: makes one tensor of the preprocessed inputs.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        name: str = "PreprocessorNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._preprocessing = InputPreprocessing(
            input_tensor_spec, input_preprocessors, preprocessing_combiner
        )
        self._processed_input_tensor_spec = self._preprocessing.output_spec

    def forward(
        self, inputs: Any, state: Any = (), min_outer_rank: int = 1, max_outer_rank: int = 1
    ) -> tuple[Tensor, Any]:
        """The combined input, for a subclass to go on with.

        Raises:
            ValueError: if the number of batch axes is not within the two ranks.
        """
        first, spec = nest.flatten(inputs)[0], nest.flatten(self._input_tensor_spec)[0]
        rank = first.ndim - spec.ndim
        if not min_outer_rank <= rank <= max_outer_rank:
            raise ValueError(
                f"{self.name} takes {min_outer_rank} to {max_outer_rank} batch axes, got {rank}"
            )
        return self._preprocessing(inputs), state
