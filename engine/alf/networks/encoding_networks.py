"""Encoding networks, from nested inputs to one vector, with and without memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.layers import (
    FC,
    FCBatchEnsemble,
    ParallelFC,
    Reshape,
    make_parallel_net,
    make_parallel_spec,
)
from alf.nest.utils import NestConcat
from alf.networks._ensemble_members import BesideMembers, members_spec, without_members
from alf.networks._image_decoders import (
    AutoShapeImageDeconvNetwork,
    SpatialBroadcastDecodingNetwork,
)
from alf.networks._image_networks import (
    ImageDecodingNetwork,
    ImageDecodingNetworkV2,
    ImageEncodingNetwork,
)
from alf.networks.containers import _Sequential
from alf.networks.network import Network
from alf.networks.networks import LSTMCell
from alf.networks.preprocessor_networks import InputPreprocessing
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

__all__ = [
    "AutoShapeImageDeconvNetwork",
    "EncodingNetwork",
    "ImageDecodingNetwork",
    "ImageDecodingNetworkV2",
    "ImageEncodingNetwork",
    "LSTMEncodingNetwork",
    "ParallelEncodingNetwork",
    "SpatialBroadcastDecodingNetwork",
]

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


class _ParallelEncoding(_Sequential):
    """n replicas of an encoding network."""

    def __init__(
        self, single: _Sequential, n: int, allow_non_parallel_input: bool, name: str | None = None
    ) -> None:
        preprocessing, *rest = [single[i] for i in range(len(single))]
        nets = [make_parallel_net(net, n) for net in rest]
        may_share = bool(nets) and isinstance(nets[0], ParallelFC)
        first = preprocessing.make_parallel(n, may_share=may_share)
        spec = single.input_tensor_spec
        super().__init__(
            [first, *nets],
            input_tensor_spec=spec if allow_non_parallel_input else make_parallel_spec(spec, n),
            name=name or f"parallel_{single.name}",
        )


@configurable
class EncodingNetwork(_Sequential):
    """Preprocessors, combiner, convolutions, then fully connected layers.

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs.
        output_tensor_spec: the output is reshaped to it; None for a vector.
        input_preprocessors: nest with the structure of the inputs of networks, modules, or None for
            the identity. Networks are copied unless they are singletons.
        input_preprocessors_ctor: called with ``input_tensor_spec`` to make them instead.
        preprocessing_combiner: makes one tensor of nested inputs; its result must have rank 3 with
            convolutions, else rank 1.
        conv_layer_params: for each layer (filters, kernel_size, strides[, padding]).
        fc_layer_params: sizes of the fully connected layers.
        activation: of all layers but the last.
        kernel_initializer: of all layers but the last; None for variance scaling.
        use_fc_bn: batch normalisation in the fully connected layers.
        use_fc_ln: layer normalisation in the fully connected layers.
        use_batch_ensemble: convolutions and fully connected layers are those of
            :class:`alf.layers.FCBatchEnsemble`. The output is a pair: the result and the member [B]
            of each row.
        ensemble_size: number of members.
        input_with_ensemble_ids: the input is a pair of what ``input_tensor_spec`` tells and the
            member [B] (int64) of each row; otherwise each row goes to a random member. Only with
            ``use_batch_ensemble``.
        last_layer_size: size of one more layer; by default the number of elements of
            ``output_tensor_spec`` if that is given, else there is none.
        last_activation: of that layer; must be given with ``last_layer_size``.
        last_kernel_initializer: of that layer; None for variance scaling.
        last_use_fc_bn: batch normalisation in that layer.
        last_use_fc_ln: layer normalisation in that layer.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec | None = None,
        input_preprocessors: Any = None,
        input_preprocessors_ctor: Callable[[Any], Any] | None = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_fc_bn: bool = False,
        use_fc_ln: bool = False,
        use_batch_ensemble: bool = False,
        ensemble_size: int = 10,
        input_with_ensemble_ids: bool = False,
        last_layer_size: int | None = None,
        last_activation: Activation | None = None,
        last_kernel_initializer: Initializer | None = None,
        last_use_fc_bn: bool = False,
        last_use_fc_ln: bool = False,
        name: str = "EncodingNetwork",
    ) -> None:
        if input_with_ensemble_ids and not use_batch_ensemble:
            raise ValueError(
                f"{name}: input_with_ensemble_ids=True needs use_batch_ensemble=True, it is False"
            )
        if input_preprocessors is None and input_preprocessors_ctor is not None:
            input_preprocessors = input_preprocessors_ctor(input_tensor_spec)
        preprocessing = InputPreprocessing(
            input_tensor_spec, input_preprocessors, preprocessing_combiner
        )
        nets: list[Any] = [preprocessing]
        spec = preprocessing.output_spec
        if input_with_ensemble_ids:
            nets = [BesideMembers(preprocessing)]
            input_tensor_spec = (input_tensor_spec, members_spec(ensemble_size))
        if conv_layer_params:
            if spec.ndim != 3:
                raise ValueError(f"{name}: convolutions need one input [C, H, W], got {spec}")
            conv = ImageEncodingNetwork(
                spec.shape[0],
                tuple(spec.shape[1:]),
                conv_layer_params,
                use_batch_ensemble=use_batch_ensemble,
                ensemble_size=ensemble_size,
                activation=activation,
                kernel_initializer=kernel_initializer,
                flatten_output=True,
            )
            nets.append(conv)
            spec = without_members(conv.output_spec) if use_batch_ensemble else conv.output_spec
        layer: Any = FC
        if use_batch_ensemble:
            layer = functools.partial(FCBatchEnsemble, ensemble_size=ensemble_size)
        make_fc = functools.partial(
            layer,
            activation=activation,
            kernel_initializer=kernel_initializer,
            use_bn=use_fc_bn,
            use_ln=use_fc_ln,
        )
        last_layer_size = _last_size(last_layer_size, last_activation, output_tensor_spec, name)
        sizes = list(fc_layer_params or ())
        if (sizes or last_layer_size is not None) and spec.ndim != 1:
            raise ValueError(
                f"{name}: fully connected layers need one input of rank 1, got {spec}; "
                "use input_preprocessors, preprocessing_combiner or conv_layer_params"
            )
        size = spec.shape[0] if spec.ndim else 1
        for output_size in sizes:
            nets.append(make_fc(size, output_size))
            size = output_size
        if last_layer_size is not None:
            nets.append(
                layer(
                    size,
                    last_layer_size,
                    activation=last_activation or identity,
                    kernel_initializer=last_kernel_initializer,
                    use_bn=last_use_fc_bn,
                    use_ln=last_use_fc_ln,
                )
            )
            size = last_layer_size
        has_members = input_with_ensemble_ids or (use_batch_ensemble and len(nets) > 1)
        if output_tensor_spec is not None:
            reshape = Reshape(tuple(output_tensor_spec.shape))
            nets.append(BesideMembers(reshape) if has_members else reshape)
        super().__init__(nets, input_tensor_spec=input_tensor_spec, name=name)
        # Without normalisation over the batch nothing depends on a trial run.
        if has_members:
            return
        if output_tensor_spec is not None:
            self._output_spec = TensorSpec(output_tensor_spec.shape)
        elif sizes or last_layer_size is not None:
            self._output_spec = TensorSpec((size,))

    def make_parallel(self, n: int, allow_non_parallel_input: bool = False) -> Network:
        """n independent replicas; the outputs have shape [B, n, ...].

        Args:
            n: number of replicas.
            allow_non_parallel_input: whether ``input_tensor_spec`` of the result is that of inputs
                [B, ...] shared by the replicas or of [B, n, ...]. It takes both in either case.
        """
        return _ParallelEncoding(self, n, allow_non_parallel_input)


def _last_size(
    last_layer_size: int | None,
    last_activation: Activation | None,
    output_tensor_spec: TensorSpec | None,
    name: str,
) -> int | None:
    """Size of the last layer, None for no last layer."""
    if last_layer_size is None:
        if last_activation is None:
            return None
        if output_tensor_spec is None:
            raise ValueError(f"{name}: last_activation needs last_layer_size")
        return output_tensor_spec.numel
    if last_activation is None:
        raise ValueError(f"{name}: last_layer_size needs last_activation, which may be identity")
    if output_tensor_spec is not None and output_tensor_spec.numel != last_layer_size:
        raise ValueError(
            f"{name}: last_layer_size={last_layer_size} does not fill output_tensor_spec "
            f"{output_tensor_spec}"
        )
    return last_layer_size


@configurable
def ParallelEncodingNetwork(
    input_tensor_spec: Any,
    n: int,
    output_tensor_spec: TensorSpec | None = None,
    input_preprocessors: Any = None,
    preprocessing_combiner: Callable[[Any], Any] | None = None,
    conv_layer_params: Sequence[Any] | None = None,
    fc_layer_params: Sequence[int] | None = None,
    activation: Activation = torch.relu_,
    kernel_initializer: Initializer | None = None,
    use_fc_bn: bool = False,
    use_fc_ln: bool = False,
    last_layer_size: int | None = None,
    last_activation: Activation | None = None,
    last_kernel_initializer: Initializer | None = None,
    last_use_fc_bn: bool = False,
    last_use_fc_ln: bool = False,
    name: str = "ParallelEncodingNetwork",
) -> Network:
    """n independent encoding networks as one; see :class:`EncodingNetwork`."""
    single = EncodingNetwork(
        input_tensor_spec,
        output_tensor_spec=output_tensor_spec,
        input_preprocessors=input_preprocessors,
        preprocessing_combiner=preprocessing_combiner,
        conv_layer_params=conv_layer_params,
        fc_layer_params=fc_layer_params,
        activation=activation,
        kernel_initializer=kernel_initializer,
        use_fc_bn=use_fc_bn,
        use_fc_ln=use_fc_ln,
        last_layer_size=last_layer_size,
        last_activation=last_activation,
        last_kernel_initializer=last_kernel_initializer,
        last_use_fc_bn=last_use_fc_bn,
        last_use_fc_ln=last_use_fc_ln,
        name=name,
    )
    return single.make_parallel(n, allow_non_parallel_input=True)


@configurable
class LSTMEncodingNetwork(_Sequential):
    """An encoding network, LSTM cells, then another encoding network.

    The state is a list with an entry for each part that stands in the sequence: () for an encoding
    network, for the choice of several cells' outputs and for the change to the output's shape;
    (hidden, cell) for a cell. ``hidden_size=(5, 4)`` alone has [(h5, c5), (h4, c4)].

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs.
        output_tensor_spec: the output is reshaped to it; None for a vector.
        input_preprocessors: as for :class:`EncodingNetwork`.
        preprocessing_combiner: as for :class:`EncodingNetwork`.
        conv_layer_params: as for :class:`EncodingNetwork`.
        pre_fc_layer_params: sizes of the layers before the cells.
        hidden_size: size of the cell, or sizes of stacked cells.
        lstm_output_layers: the cells whose outputs are concatenated: -1 the last one, None all, or
            indices.
        post_fc_layer_params: sizes of the layers after the cells.
        activation: of all layers but the last and the cells.
        kernel_initializer: of all layers but the last and the cells.
        last_layer_size: size of one more layer.
        last_activation: of that layer.
        last_kernel_initializer: of that layer.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec | None = None,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        pre_fc_layer_params: Sequence[int] | None = None,
        hidden_size: int | Sequence[int] = (100,),
        lstm_output_layers: int | Sequence[int] | None = -1,
        post_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        last_layer_size: int | None = None,
        last_activation: Activation | None = None,
        last_kernel_initializer: Initializer | None = None,
        name: str = "LSTMEncodingNetwork",
    ) -> None:
        steps: dict[str, Any] = {}
        spec = input_tensor_spec
        options = (input_preprocessors, preprocessing_combiner, conv_layer_params)
        if pre_fc_layer_params or any(option is not None for option in options):
            steps["pre"] = EncodingNetwork(
                input_tensor_spec,
                input_preprocessors=input_preprocessors,
                preprocessing_combiner=preprocessing_combiner,
                conv_layer_params=conv_layer_params,
                fc_layer_params=pre_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                name=f"{name}.pre",
            )
            spec = steps["pre"].output_spec
        if not isinstance(spec, TensorSpec) or spec.ndim != 1:
            raise ValueError(f"{name}: LSTM cells need one input of rank 1, got {spec}")
        cells, size = _lstm_cells(spec.shape[0], hidden_size, lstm_output_layers)
        steps.update(cells)
        if post_fc_layer_params or last_layer_size is not None or last_activation is not None:
            steps["post"] = EncodingNetwork(
                TensorSpec((size,)),
                fc_layer_params=post_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                last_layer_size=_last_size(
                    last_layer_size, last_activation, output_tensor_spec, name
                ),
                last_activation=last_activation,
                last_kernel_initializer=last_kernel_initializer,
                name=f"{name}.post",
            )
        if output_tensor_spec is not None:
            steps["output"] = Reshape(tuple(output_tensor_spec.shape))
        super().__init__((), steps, input_tensor_spec=input_tensor_spec, name=name)

    def make_parallel(self, n: int, allow_non_parallel_input: bool = False) -> Network:
        """n independent replicas; see :meth:`EncodingNetwork.make_parallel`."""

        def parallel(key: str, source: Any, net: Any) -> Any:
            if key == "pre":
                return net.make_parallel(n, allow_non_parallel_input)
            replicas = make_parallel_net(net, n)
            return replicas if source is None else (source, replicas)

        spec = self.input_tensor_spec
        return _Sequential(
            (),
            {key: parallel(key, source, net) for key, source, net, _ in self._steps},
            input_tensor_spec=spec if allow_non_parallel_input else make_parallel_spec(spec, n),
            name=f"parallel_{self.name}",
        )


def _lstm_cells(
    input_size: int, hidden_size: int | Sequence[int], output_layers: int | Sequence[int] | None
) -> tuple[dict[str, Any], int]:
    """Cells on top of one another as steps of a Sequential, and the size of the outputs chosen."""
    sizes = [hidden_size] if isinstance(hidden_size, int) else list(hidden_size)
    if not sizes:
        raise ValueError("hidden_size needs at least one cell")
    inputs = [input_size, *sizes]
    cells: dict[str, Any] = {f"lstm{i}": LSTMCell(inputs[i], size) for i, size in enumerate(sizes)}
    if output_layers is None:
        output_layers = range(len(sizes))
    elif isinstance(output_layers, int):
        output_layers = [output_layers]
    names = [f"lstm{range(len(sizes))[i]}" for i in output_layers]
    if names != [f"lstm{len(sizes) - 1}"]:
        cells["lstm_outputs"] = (names, NestConcat())
    return cells, sum(sizes[i] for i in output_layers)
