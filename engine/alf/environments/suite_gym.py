"""Loading gymnasium environments by their names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alf.config_util import configurable
from alf.environments._single_wrappers import TimeLimit
from alf.environments.alf_environment import AlfEnvironment
from alf.environments.alf_gym_wrapper import AlfGymWrapper

if TYPE_CHECKING:
    import gymnasium


@configurable
def load(
    environment_name: str,
    env_id: int | None = None,
    discount: float = 1.0,
    max_episode_steps: int | None = None,
    gym_env_wrappers: Sequence[Callable[[Any], Any]] = (),
    alf_env_wrappers: Sequence[Callable[[Any], Any]] = (),
    image_channel_first: bool = True,
) -> AlfEnvironment:
    """The gymnasium environment of that name as an ALF environment (numpy based, not batched).

    Continuous actions are mapped to [-1, 1] and clipped to that.

    Args:
        environment_name: an id registered with gymnasium, or "module:id".
        env_id: number of the environment among those that run in parallel.
        discount: of all but terminating steps.
        max_episode_steps: where episodes are cut off; None: what the environment was registered
            with; 0: never.
        gym_env_wrappers: each is called with the gymnasium environment and returns a new one.
        alf_env_wrappers: each is called with the ALF environment and returns a new one.
        image_channel_first: images come as `[C, H, W]`.
    """
    return wrap_env(
        _make(environment_name, max_episode_steps),
        env_id,
        discount,
        gym_env_wrappers=gym_env_wrappers,
        alf_env_wrappers=alf_env_wrappers,
        image_channel_first=image_channel_first,
    )


@configurable
def wrap_env(
    gym_env: gymnasium.Env,
    env_id: int | None = None,
    discount: float = 1.0,
    max_episode_steps: int | None = 0,
    gym_env_wrappers: Sequence[Callable[[Any], Any]] = (),
    time_limit_wrapper: Callable[..., AlfEnvironment] = TimeLimit,
    normalize_action: bool = True,
    clip_action: bool = True,
    alf_env_wrappers: Sequence[Callable[[Any], Any]] = (),
    image_channel_first: bool = True,
    auto_reset: bool = True,
) -> AlfEnvironment:
    """A gymnasium environment as an ALF environment (numpy based, not batched).

    Args:
        gym_env: the environment.
        env_id: number of the environment among those that run in parallel.
        discount: of all but terminating steps.
        max_episode_steps: where episodes are cut off; 0 or None: where `gym_env` says.
        gym_env_wrappers: each is called with the gymnasium environment and returns a new one.
        time_limit_wrapper: called with the ALF environment and `max_episode_steps`, if that is
            positive.
        normalize_action: map continuous actions with finite bounds to [-1, 1].
        clip_action: clip continuous actions to their bounds; otherwise they go to `gym_env` as they
            are.
        alf_env_wrappers: each is called with the ALF environment and returns a new one.
        image_channel_first: images come as `[C, H, W]`.
        auto_reset: begin a new episode in the step after a LAST one.
    """
    # imported here, so that reading a configuration does not import gymnasium
    from alf.environments import gym_wrappers

    for wrapper in gym_env_wrappers:
        gym_env = wrapper(gym_env)
    if image_channel_first:
        gym_env = gym_wrappers.ImageChannelFirst(gym_env)
    if gym_wrappers.has_continuous_actions(gym_env.action_space):
        if normalize_action:
            gym_env = gym_wrappers.NormalizedAction(gym_env)
        if clip_action:
            gym_env = gym_wrappers.ContinuousActionClip(gym_env)
    env: AlfEnvironment = AlfGymWrapper(
        gym_env,
        env_id=env_id,
        discount=discount,
        auto_reset=auto_reset,
        check_actions=clip_action,
    )
    if max_episode_steps is not None and max_episode_steps > 0:
        env = time_limit_wrapper(env, max_episode_steps)
    for wrapper in alf_env_wrappers:
        env = wrapper(env)
    return env


def _make(name: str, max_episode_steps: int | None) -> gymnasium.Env:
    import gymnasium
    from gymnasium.error import Error

    if max_episode_steps is not None and max_episode_steps < 0:
        raise ValueError(
            f"max_episode_steps is {max_episode_steps}; allowed: None, 0 (no limit), or more"
        )
    try:
        # a colon means that a module registers the id; gymnasium imports it when it makes one
        if ":" not in name:
            gymnasium.spec(name)
    except Error as error:
        near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.4)
        raise ValueError(
            f"gymnasium knows no environment {name!r} ({error}). Nearest names: "
            f"{', '.join(near) or 'none'}. An environment of another package is registered when "
            "that package is imported, or write 'module:id'."
        ) from None
    limit = -1 if max_episode_steps == 0 else max_episode_steps
    return gymnasium.make(name, max_episode_steps=limit, disable_env_checker=True)
