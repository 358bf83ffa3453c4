"""Soft actor-critic for a level that is told nothing of its learner.

`SacAlgorithm()` of ALF has no optimizers, no hidden layers, and a policy that is not squashed into
its bounds, with one deviation everywhere: it is meant to be configured. What is not gets the
settings of Haarnoja et al. (2018, arXiv 1812.05905, appendix D) here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks import (
    ActorDistributionNetwork,
    CriticNetwork,
    NormalProjectionNetwork,
    QNetwork,
)
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec
from alf.utils.math_ops import clipped_exp
from alf_layered.hierarchy.bounds import has_finite_bounds

HIDDEN = (256, 256)
LEARNING_RATE = 3e-4


def default_sac(*, action_spec: Any, own_optimizers: bool = True, **arguments: Any) -> SacAlgorithm:
    """`SacAlgorithm` with two hidden layers, a squashed Gaussian policy and Adam.

    What `alf.config` says of `SacAlgorithm` and of its networks (`ActorDistributionNetwork`,
    `CriticNetwork`, `QNetwork`, `NormalProjectionNetwork`) counts instead.

    Args:
        action_spec: of its actions.
        own_optimizers: False where an optimizer of the level takes all parameters.
        arguments: of `SacAlgorithm`.
    """
    usual = _networks(action_spec)
    if own_optimizers:
        usual |= {
            name: Adam(lr=LEARNING_RATE)
            for name in ("actor_optimizer", "critic_optimizer", "alpha_optimizer")
            if _configured(SacAlgorithm, name) is None
        }
    return SacAlgorithm(action_spec=action_spec, **(usual | arguments))


def level_sac(algorithm_ctor: Any, optimizer: torch.optim.Optimizer | None) -> Any:
    """`algorithm_ctor`; the default one leaves its parameters to an optimizer of the level."""
    if algorithm_ctor is default_sac and optimizer is not None:
        return partial(default_sac, own_optimizers=False)
    return algorithm_ctor


def _networks(action_spec: Any) -> dict[str, Any]:
    """The networks of which nothing is configured, by the argument of `SacAlgorithm`."""
    found: dict[str, Any] = {}
    for argument, network, layers, others in (
        ("actor_network_cls", ActorDistributionNetwork, "fc_layer_params", ()),
        (
            "critic_network_cls",
            CriticNetwork,
            "joint_fc_layer_params",
            ("observation_fc_layer_params", "action_fc_layer_params"),
        ),
        ("q_network_cls", QNetwork, "fc_layer_params", ()),
    ):
        if _configured(SacAlgorithm, argument) is not network:
            continue
        options: dict[str, Any] = {}
        if all(_configured(network, name) is None for name in (layers, *others)):
            options[layers] = HIDDEN
        if network is ActorDistributionNetwork and _may_be_squashed(action_spec):
            options["continuous_projection_net_ctor"] = partial(
                NormalProjectionNetwork,
                state_dependent_std=True,
                scale_distribution=True,
                std_transform=clipped_exp,
            )
        if options:
            found[argument] = partial(network, **options)
    return found


def _may_be_squashed(action_spec: Any) -> bool:
    """Whether real actions have finite bounds and nothing is said of their distribution."""
    bounded = [s for s in alf.nest.flatten(action_spec) if isinstance(s, BoundedTensorSpec)]
    projection = NormalProjectionNetwork
    return (
        bool(bounded)
        and all(map(has_finite_bounds, bounded))
        and _configured(ActorDistributionNetwork, "continuous_projection_net_ctor") is projection
        and not _configured(projection, "state_dependent_std")
        and not _configured(projection, "scale_distribution")
    )


def _configured(owner: type, name: str) -> Any:
    """What `alf.config` says of an argument, or its default."""
    return alf.get_config_value(f"{owner.__name__}.{name}")
