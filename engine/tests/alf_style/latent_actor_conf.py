"""SAC whose actor is a normal latent variable behind a normalizing flow."""

import functools

import alf
from alf.networks import LatentActorDistributionNetwork
from alf.networks.normalizing_flow_networks import RealNVPNetwork

alf.import_config("sac_agent_pendulum_conf.py")
alf.config(
    "SacAlgorithm",
    actor_network_cls=functools.partial(
        LatentActorDistributionNetwork,
        normalizing_flow_network_ctor=functools.partial(
            RealNVPNetwork, fc_layer_params=(16,), num_layers=4
        ),
        scale_distribution=True,
    ),
)
