"""The kinds of actions of soft actor-critic: which networks and states each needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alf.algorithms.sac.data import ActionType, SacActionState, SacCriticState, SacState
from alf.algorithms.sac.policies import ContinuousPolicy, DiscretePolicy, MixedPolicy
from alf.nest import nest
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec

__all__ = [
    "ContinuousActions",
    "DiscreteActions",
    "MixedActions",
    "kind_of_actions",
    "make_networks",
]


class ContinuousActions:
    """An actor network and critics Q(s, a)."""

    type = ActionType.Continuous
    policy = ContinuousPolicy

    def __init__(self, action_spec: Any) -> None:
        self._action_spec = action_spec

    def parts(self) -> list:
        """The specs of the parts of the action, each with its own temperature."""
        return [self._action_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> Network:
        return _required_actor(actor_network_cls)(
            input_tensor_spec=observation_spec, action_spec=self._action_spec
        )

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network | None:
        """One critic; None if there is no constructor, then the algorithm can only act."""
        if critic_cls is None:
            return None
        return critic_cls(input_tensor_spec=(obs_spec, self._action_spec))

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(actor_network=actor_spec),
            actor=critic_spec,
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )


class DiscreteActions:
    """Critics alone, with a value for each action."""

    type = ActionType.Discrete
    policy = DiscretePolicy

    def __init__(self, action_spec: Any) -> None:
        self._action_spec = action_spec

    def parts(self) -> list:
        return [self._action_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> None:
        return None

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network:
        (spec,) = nest.flatten(self._action_spec)
        return _required(q_cls)(input_tensor_spec=obs_spec, action_spec=spec)

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(critic=critic_spec),
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )


class MixedActions:
    """A pair (discrete, continuous): an actor network, critics with an output per discrete one."""

    type = ActionType.Mixed
    policy = MixedPolicy

    def __init__(self, action_spec: Any) -> None:
        self._discrete_spec, self._continuous_spec = action_spec

    def parts(self) -> list:
        return [self._discrete_spec, self._continuous_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> Network:
        return _required_actor(actor_network_cls)(
            input_tensor_spec=observation_spec, action_spec=self._continuous_spec
        )

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network:
        return _required(q_cls)(
            input_tensor_spec=(obs_spec, self._continuous_spec), action_spec=self._discrete_spec
        )

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(actor_network=actor_spec, critic=critic_spec),
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )


ActionKind = ContinuousActions | DiscreteActions | MixedActions


def kind_of_actions(action_spec: BoundedTensorSpec | tuple | list | dict) -> ActionKind:
    """The kind of actions that ``action_spec`` describes.

    Raises:
        ValueError: no action, more than one discrete action, one that does not count from 0, or a
            mixture that is not a pair ``(discrete_action_spec, continuous_action_spec)``.
    """
    leaves = nest.flatten(action_spec)
    discrete = [spec for spec in leaves if spec.is_discrete]
    if not leaves:
        raise ValueError("SacAlgorithm needs an action_spec with at least one action, got none.")
    for spec in discrete:
        if len(discrete) > 1 or tuple(spec.shape) != () or int(spec.minimum) != 0:
            raise ValueError(
                "SacAlgorithm takes at most one discrete action, a scalar that counts from 0; "
                f"the action_spec is {action_spec}."
            )
    if not discrete:
        return ContinuousActions(action_spec)
    if len(leaves) == 1:
        return DiscreteActions(action_spec)
    is_pair = isinstance(action_spec, tuple | list) and len(action_spec) == 2
    first = action_spec[0] if isinstance(action_spec, tuple | list) else None
    if not is_pair or nest.is_namedtuple(action_spec) or first is not discrete[0]:
        raise ValueError(
            "A mixture of actions must be a pair (discrete_action_spec, continuous_action_spec); "
            f"the action_spec is {action_spec}."
        )
    return MixedActions(action_spec)


def make_networks(
    kind: ActionKind,
    actor_network_cls: Callable[..., Network] | None,
    critic_network_cls: Callable[..., Network] | None,
    q_network_cls: Callable[..., Network] | None,
    observation_spec: Any,
    *,
    num_critics: int,
) -> tuple[Any, Any, SacState]:
    """Actor, all critics as one network, and their states; None for what there is not."""
    actor = kind.make_actor(actor_network_cls, observation_spec)
    critic = kind.make_critic(critic_network_cls, q_network_cls, observation_spec)
    critics = None if critic is None else critic.make_parallel(num_critics)
    states = [() if network is None else network.state_spec for network in (actor, critics)]
    return actor, critics, kind.state_spec(*states)


def _required(q_network_cls: Callable | None) -> Callable:
    if q_network_cls is None:
        raise ValueError(
            "SacAlgorithm needs a q_network_cls where there is a discrete action: the policy is "
            "made from its values, in evaluation too."
        )
    return q_network_cls


def _required_actor(actor_network_cls: Callable | None) -> Callable:
    if actor_network_cls is None:
        raise ValueError(
            "SacAlgorithm needs an actor_network_cls where there is a continuous action"
        )
    return actor_network_cls
