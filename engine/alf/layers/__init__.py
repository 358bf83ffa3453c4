"""Layers: building blocks of networks, each with a fast form of n replicas where there is one."""

from alf.layers._batch_ensemble import Conv2DBatchEnsemble, FCBatchEnsemble
from alf.layers._causal_conv import CausalConv1D
from alf.layers._compose import (
    AMPWrapper,
    Branch,
    NaiveParallelLayer,
    Sequential,
    make_parallel_input,
    make_parallel_net,
    make_parallel_spec,
    normalize_along_batch_dims,
    reset_parameters,
)
from alf.layers._compositional import CompositionalFC, FixedDecodingLayer
from alf.layers._conv import (
    Conv2D,
    ConvTranspose2D,
    ParallelConv2D,
    ParallelConvTranspose2D,
)
from alf.layers._dense import FC, ParallelFC
from alf.layers._elementwise import (
    AddN,
    Cast,
    Detach,
    ElementwiseLayerBase,
    GetFields,
    Identity,
    Lambda,
    OneHot,
    Permute,
    RandomCrop,
    ReplicationPad2d,
    Reshape,
    Scale,
    ScaleGradient,
    SimpleAttention,
    Sum,
    SummarizeGradient,
    Transpose,
)
from alf.layers._param_layers import ParamConv2D, ParamFC
from alf.layers._residue_blocks import BottleneckBlock, ResidueBlock
from alf.layers._transformer import GFT, TransformerBlock

# Algorithms written for ALF take these from here, too.
from alf.nest.utils import (
    NestConcat,
    NestMultiply,
    NestOuterProduct,
    NestSum,
    get_nested_field,
    get_outer_rank,
)
from alf.norm_layers import (
    BatchNorm1d,
    BatchNorm2d,
    ParamLayerNorm1d,
    ParamLayerNorm2d,
    prepare_rnn_batch_norm,
)
from alf.utils.math_ops import identity
from alf.utils.tensor_utils import BatchSquash

__all__ = [
    "FC",
    "GFT",
    "AMPWrapper",
    "AddN",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchSquash",
    "BottleneckBlock",
    "Branch",
    "Cast",
    "CausalConv1D",
    "CompositionalFC",
    "Conv2D",
    "Conv2DBatchEnsemble",
    "ConvTranspose2D",
    "Detach",
    "ElementwiseLayerBase",
    "FCBatchEnsemble",
    "FixedDecodingLayer",
    "GetFields",
    "Identity",
    "Lambda",
    "NaiveParallelLayer",
    "NestConcat",
    "NestMultiply",
    "NestOuterProduct",
    "NestSum",
    "OneHot",
    "ParallelConv2D",
    "ParallelConvTranspose2D",
    "ParallelFC",
    "ParamConv2D",
    "ParamFC",
    "ParamLayerNorm1d",
    "ParamLayerNorm2d",
    "Permute",
    "RandomCrop",
    "ReplicationPad2d",
    "Reshape",
    "ResidueBlock",
    "Scale",
    "ScaleGradient",
    "Sequential",
    "SimpleAttention",
    "Sum",
    "SummarizeGradient",
    "TransformerBlock",
    "Transpose",
    "get_nested_field",
    "get_outer_rank",
    "identity",
    "make_parallel_input",
    "make_parallel_net",
    "make_parallel_spec",
    "normalize_along_batch_dims",
    "prepare_rnn_batch_norm",
    "reset_parameters",
]
