"""Networks: the public names, also reachable as ``alf.nn``."""

from alf.networks.action_encoder import SimpleActionEncoder
from alf.networks.actor_distribution_networks import (
    ActorDistributionNetwork,
    ActorDistributionNetworkBase,
    ActorDistributionRNNNetwork,
    LatentActorDistributionNetwork,
    ParallelActorDistributionNetwork,
    UnitNormalActorDistributionNetwork,
)
from alf.networks.actor_networks import ActorNetwork, ActorNetworkBase, ActorRNNNetwork
from alf.networks.containers import Branch, Echo, Parallel, Sequential
from alf.networks.critic_networks import CriticNetwork, CriticQuantileNetwork, CriticRNNNetwork
from alf.networks.dynamics_networks import DynamicsNetwork, ParallelDynamicsNetwork
from alf.networks.encoding_networks import (
    AutoShapeImageDeconvNetwork,
    EncodingNetwork,
    ImageDecodingNetwork,
    ImageDecodingNetworkV2,
    ImageEncodingNetwork,
    LSTMEncodingNetwork,
    ParallelEncodingNetwork,
    SpatialBroadcastDecodingNetwork,
)
from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.networks.memory import FIFOMemory, Memory, MemoryWithUsage
from alf.networks.network import (
    BatchSquashNetwork,
    NaiveParallelNetwork,
    Network,
    NetworkWrapper,
    get_input_tensor_spec,
    wrap_as_network,
)
from alf.networks.networks import (
    AMPWrapper,
    Delay,
    GRUCell,
    LSTMCell,
    NoisyFC,
    Residue,
    TemporalPool,
)
from alf.networks.normalizing_flow_networks import NormalizingFlowNetwork, RealNVPNetwork
from alf.networks.ou_process import OUProcess
from alf.networks.param_networks import ParamConvNet, ParamNetwork
from alf.networks.preprocessor_networks import PreprocessorNetwork
from alf.networks.preprocessors import CosineEmbeddingPreprocessor, EmbeddingPreprocessor
from alf.networks.projection_networks import (
    BetaProjectionNetwork,
    CategoricalProjectionNetwork,
    CauchyProjectionNetwork,
    MixtureProjectionNetwork,
    NormalProjectionNetwork,
    OnehotCategoricalProjectionNetwork,
    ParallelCategoricalProjectionNetwork,
    StableNormalProjectionNetwork,
    TruncatedProjectionNetwork,
)
from alf.networks.q_networks import ParallelQNetwork, QNetwork, QNetworkBase, QRNNNetwork
from alf.networks.relu_mlp import ReluMLP
from alf.networks.transformer_networks import SocialAttentionNetwork, TransformerNetwork
from alf.networks.value_networks import (
    ParallelValueNetwork,
    ValueNetwork,
    ValueNetworkBase,
    ValueRNNNetwork,
)

__all__ = [
    "AMPWrapper",
    "ActorDistributionNetwork",
    "ActorDistributionNetworkBase",
    "ActorDistributionRNNNetwork",
    "ActorNetwork",
    "ActorNetworkBase",
    "ActorRNNNetwork",
    "AutoShapeImageDeconvNetwork",
    "BatchSquashNetwork",
    "BetaProjectionNetwork",
    "Branch",
    "CategoricalProjectionNetwork",
    "CauchyProjectionNetwork",
    "CosineEmbeddingPreprocessor",
    "CriticNetwork",
    "CriticQuantileNetwork",
    "CriticRNNNetwork",
    "Delay",
    "DynamicsNetwork",
    "Echo",
    "EmbeddingPreprocessor",
    "EncodingNetwork",
    "FIFOMemory",
    "GRUCell",
    "ImageDecodingNetwork",
    "ImageDecodingNetworkV2",
    "ImageEncodingNetwork",
    "LSTMCell",
    "LSTMEncodingNetwork",
    "LatentActorDistributionNetwork",
    "MdqCriticNetwork",
    "Memory",
    "MemoryWithUsage",
    "MixtureProjectionNetwork",
    "NaiveParallelNetwork",
    "Network",
    "NetworkWrapper",
    "NoisyFC",
    "NormalProjectionNetwork",
    "NormalizingFlowNetwork",
    "OUProcess",
    "OnehotCategoricalProjectionNetwork",
    "Parallel",
    "ParallelActorDistributionNetwork",
    "ParallelCategoricalProjectionNetwork",
    "ParallelDynamicsNetwork",
    "ParallelEncodingNetwork",
    "ParallelQNetwork",
    "ParallelValueNetwork",
    "ParamConvNet",
    "ParamNetwork",
    "PreprocessorNetwork",
    "QNetwork",
    "QNetworkBase",
    "QRNNNetwork",
    "RealNVPNetwork",
    "ReluMLP",
    "Residue",
    "Sequential",
    "SimpleActionEncoder",
    "SocialAttentionNetwork",
    "SpatialBroadcastDecodingNetwork",
    "StableNormalProjectionNetwork",
    "TemporalPool",
    "TransformerNetwork",
    "TruncatedProjectionNetwork",
    "UnitNormalActorDistributionNetwork",
    "ValueNetwork",
    "ValueNetworkBase",
    "ValueRNNNetwork",
    "get_input_tensor_spec",
    "wrap_as_network",
]
