"""Networks: the public names, also reachable as ``alf.nn``."""

from alf.networks.action_encoder import SimpleActionEncoder
from alf.networks.actor_distribution_networks import (
    ActorDistributionNetwork,
    ActorDistributionNetworkBase,
    ActorDistributionRNNNetwork,
    ParallelActorDistributionNetwork,
    UnitNormalActorDistributionNetwork,
)
from alf.networks.actor_networks import ActorNetwork, ActorNetworkBase, ActorRNNNetwork
from alf.networks.containers import Branch, Echo, Parallel, Sequential
from alf.networks.critic_networks import CriticNetwork, CriticRNNNetwork
from alf.networks.encoding_networks import (
    EncodingNetwork,
    ImageDecodingNetwork,
    ImageDecodingNetworkV2,
    ImageEncodingNetwork,
    LSTMEncodingNetwork,
    ParallelEncodingNetwork,
)
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
    "BatchSquashNetwork",
    "BetaProjectionNetwork",
    "Branch",
    "CategoricalProjectionNetwork",
    "CauchyProjectionNetwork",
    "CosineEmbeddingPreprocessor",
    "CriticNetwork",
    "CriticRNNNetwork",
    "Delay",
    "Echo",
    "EmbeddingPreprocessor",
    "EncodingNetwork",
    "GRUCell",
    "ImageDecodingNetwork",
    "ImageDecodingNetworkV2",
    "ImageEncodingNetwork",
    "LSTMCell",
    "LSTMEncodingNetwork",
    "MixtureProjectionNetwork",
    "NaiveParallelNetwork",
    "Network",
    "NetworkWrapper",
    "NoisyFC",
    "NormalProjectionNetwork",
    "OnehotCategoricalProjectionNetwork",
    "Parallel",
    "ParallelActorDistributionNetwork",
    "ParallelCategoricalProjectionNetwork",
    "ParallelEncodingNetwork",
    "ParallelQNetwork",
    "ParallelValueNetwork",
    "PreprocessorNetwork",
    "QNetwork",
    "QNetworkBase",
    "QRNNNetwork",
    "Residue",
    "Sequential",
    "SimpleActionEncoder",
    "StableNormalProjectionNetwork",
    "TemporalPool",
    "TruncatedProjectionNetwork",
    "UnitNormalActorDistributionNetwork",
    "ValueNetwork",
    "ValueNetworkBase",
    "ValueRNNNetwork",
    "get_input_tensor_spec",
    "wrap_as_network",
]
