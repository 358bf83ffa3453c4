"""As bc_pendulum_conf.py, by causal behavior cloning (ResiduIL).

Nothing that lasts disturbs this expert's actions, so that the weight of plain cloning is large.
Where something does (a pilot in the wind, say), take ALF's small default.
"""

from functools import partial

import alf
from alf.algorithms.causal_bc_algorithm import CausalBcAlgorithm
from alf.networks.encoding_networks import EncodingNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import identity

alf.import_config("bc_pendulum_conf.py")

alf.config(
    "CausalBcAlgorithm",
    discriminator_network_cls=partial(
        EncodingNetwork,
        fc_layer_params=(128, 128),
        last_layer_size=1,
        last_activation=identity,
    ),
    actor_optimizer=Adam(lr=1e-3),
    discriminator_optimizer=Adam(lr=1e-3),
    bc_regulatization_weight=1.0,
)
alf.config("TrainerConfig", algorithm_ctor=CausalBcAlgorithm)
