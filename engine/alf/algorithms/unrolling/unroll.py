"""The interaction loop: rollout steps, environment steps, and where their results go."""

from __future__ import annotations

from typing import Any

import torch

from alf.data_structures import AlgStep, Experience, TimeStep, make_experience, namedtuple
from alf.nest import nest
from alf.utils import dist_utils
from alf.utils._policy_state import detach, get_initial_time_step, reset_state_if_necessary
from alf.utils._waiting import waiting_for
from alf.utils.finite_checks import check_action, explained
from alf.utils.finite_steps import FiniteSteps, ending_once
from alf.utils.summary_utils import record_time

Nest = Any

Interacted = namedtuple(
    "Interacted",
    ["time_step", "transformed", "policy_step", "policy_state", "repeats"],
    default_value=(),
)
Interacted.__doc__ = """One rollout step and what it was an answer to.

Fields:
    time_step: raw `TimeStep`, `[B, ...]`.
    transformed: the same as the algorithm saw it.
    policy_step: `AlgStep` of the rollout step.
    policy_state: the state before it.
    repeats: [B], where `time_step` repeats the end of a skipped episode; `()`: nowhere. See
        `FiniteChecks.bad_episode`.
"""


class Interaction:
    """An environment and the algorithm that acts in it, step by step.

    Args:
        alg: the root algorithm.
        env: a batched environment.
    """

    def __init__(self, alg: Any, env: Any) -> None:
        self._alg = alg
        self._env = env
        self.start_anew()

    def start_anew(self) -> None:
        """Begin the next step at the environment's current time step, with a new state."""
        self._finite = FiniteSteps("training", self._alg)
        self._repeats: Any = ()
        self._time_step: TimeStep | None = None
        self._policy_state: Nest = ()
        self._transform_state: Nest = ()
        self._initial_state: Nest = ()
        self._has_state = False

    def state(self) -> dict[str, Any] | None:
        """All that the next step depends on but parameters and the environment; None: nothing yet.

        See `set_state()`.
        """
        if self._time_step is None:
            return None
        return {
            "time_step": self._time_step,
            "policy_state": self._policy_state,
            "transform_state": self._transform_state,
        }

    def set_state(self, leaves: dict[str, tuple[Any, ...]], like: TimeStep) -> None:
        """Go on where `state()` was.

        Args:
            leaves: those of each entry of `state()`, on any device.
            like: a time step of the environment.
        """
        self._begin()
        structures = {
            "time_step": like,
            "policy_state": self._policy_state,
            "transform_state": self._transform_state,
        }
        for name, structure in structures.items():
            own = nest.flatten(structure)
            moved = [x.to(o.device) for x, o in zip(leaves[name], own, strict=True)]
            setattr(self, f"_{name}", nest.pack_sequence_as(structure, moved))
        assert self._time_step is not None
        self._finite.taken(self._time_step)

    def detach(self) -> None:
        """Let no gradients go from later steps to earlier ones."""
        self._policy_state = detach(self._policy_state)

    def step(self) -> Interacted:
        """One rollout step, and one step of the environment with its action."""
        if self._time_step is None:
            self._begin()
        alg, time_step = self._alg, self._time_step
        policy_state = self._policy_state
        if self._has_state:
            policy_state = reset_state_if_necessary(
                policy_state, self._initial_state, time_step.is_first()
            )
        transformed, self._transform_state = alg.transform_timestep(
            time_step, self._transform_state
        )
        with explained(alg, "rollout", observation=transformed.observation, state=policy_state):
            policy_step = alg.rollout_step(transformed, policy_state)
            unseen = check_action(alg, policy_step.output, transformed.observation)
            action = detach(policy_step.output)
            with record_time("time/unroll_env_step"), waiting_for(self._env):
                next_time_step = self._env.step(action)
        next_time_step = self._finite.taken(next_time_step, unseen)
        repeats, self._repeats = self._repeats, self._finite.repeats
        if alg._overwrite_policy_output:
            policy_step = policy_step._replace(output=next_time_step.prev_action)
        self._time_step, self._policy_state = next_time_step, policy_step.state
        return Interacted(time_step, transformed, policy_step, policy_state, repeats)

    def _begin(self) -> None:
        batch_size = self._env.batch_size
        with waiting_for(self._env):
            time_step = get_initial_time_step(self._env)
        self._time_step = self._finite.taken(time_step)
        self._policy_state = self._alg.get_initial_rollout_state(batch_size)
        self._initial_state = self._alg.get_initial_rollout_state(batch_size)
        self._has_state = len(nest.flatten(self._initial_state)) > 0
        self._transform_state = self._alg.get_initial_transform_state(batch_size)


class Unroller:
    """Steps an environment with an algorithm, from wherever the last unroll ended.

    Args:
        alg: the root algorithm.
        env: a batched environment.
    """

    def __init__(self, alg: Any, env: Any) -> None:
        self._alg = alg
        self._env = env
        self._interaction = Interaction(alg, env)
        self.waits = True
        """Whether nothing can be trained before there are more steps."""

    def start_anew(self) -> None:
        """Begin the next unroll at the environment's current time step, with a new state."""
        self._interaction.start_anew()

    def state(self) -> dict[str, Any] | None:
        """See `Interaction.state()`."""
        return self._interaction.state()

    def set_state(self, leaves: dict[str, tuple[Any, ...]], like: TimeStep) -> None:
        """See `Interaction.set_state()`."""
        self._interaction.set_state(leaves, like)

    def close(self) -> None:
        """Free what the unroller holds; the environment is not closed."""

    def unroll(self, length: int, keep: bool = True) -> Experience | None:
        """Make `length` steps in each environment.

        Args:
            keep: False returns None, and saves the memory.

        Returns:
            `Experience` [T, B, ...] of transformed time steps.
        """
        steps = []
        for _ in range(length):
            step = self._interaction.step()
            observe(self._alg, step)
            if keep:
                steps.append(experience_of(step))
        if torch.is_grad_enabled():
            self._interaction.detach()
        return stack(self._alg, steps)


def observe(alg: Any, step: Interacted) -> None:
    """Show a step to the metrics and, for an off-policy algorithm, to the replay buffer."""
    if alg._rollout_info_spec is None:
        alg._rollout_info_spec = dist_utils.extract_spec(step.policy_step.info)
    with record_time("time/unroll_store_exp"):
        time_step = step.time_step
        raw = time_step if time_step.reward.device.type == "cpu" else time_step.cpu()
        alg.observe_for_metrics(ending_once(raw, step.repeats))
        if not alg.on_policy:
            alg.observe_for_replay(make_experience(raw, step.policy_step, step.policy_state))


def experience_of(step: Interacted) -> Experience:
    """What an unroll returns of one step, `[B, ...]`, distributions as parameters."""
    policy_step: AlgStep = step.policy_step
    return Experience(
        time_step=step.transformed,
        action=policy_step.output,
        rollout_info=dist_utils.distributions_to_params(policy_step.info),
        state=detach(step.policy_state),
    )


def stack(alg: Any, steps: list[Experience]) -> Experience | None:
    """The steps as `[T, B, ...]`, with distributions; None if there are none."""
    if not steps:
        return None
    if len(steps) == 1:
        experience = nest.map_structure(lambda x: x.unsqueeze(0), steps[0])
    else:
        experience = nest.map_structure(lambda *xs: torch.stack(xs), *steps)
    info = dist_utils.params_to_distributions(experience.rollout_info, alg.rollout_info_spec)
    return experience._replace(rollout_info=info)
