"""The interaction loop: rollout steps, environment steps, and where their results go."""

from __future__ import annotations

import math
from typing import Any

import torch

from alf.data_structures import Experience, TimeStep, make_experience
from alf.nest import nest
from alf.utils import common, dist_utils
from alf.utils.summary_utils import record_time

Nest = Any


class Unroller:
    """Steps an environment with an algorithm, from wherever the last unroll ended.

    Args:
        alg: the root algorithm.
        env: a batched environment.
    """

    def __init__(self, alg: Any, env: Any) -> None:
        self._alg = alg
        self._env = env
        self.start_anew()

    def start_anew(self) -> None:
        """Begin the next unroll at the environment's current time step, with a new state."""
        self._time_step: TimeStep | None = None
        self._policy_state: Nest = ()
        self._transform_state: Nest = ()
        self._initial_state: Nest = ()
        self._has_state = False

    def unroll(self, length: int, keep: bool = True) -> Experience | None:
        """Make `length` steps in each environment.

        Args:
            keep: False returns None, and saves the memory.

        Returns:
            `Experience` [T, B, ...] of transformed time steps.
        """
        if self._time_step is None:
            self._begin()
        steps = []
        for _ in range(length):
            step = self._step(keep)
            if step is not None:
                steps.append(step)
        if torch.is_grad_enabled():
            self._policy_state = common.detach(self._policy_state)
        if not steps:
            return None
        experience = _stack(steps)
        info = dist_utils.params_to_distributions(
            experience.rollout_info, self._alg.rollout_info_spec
        )
        return experience._replace(rollout_info=info)

    def _begin(self) -> None:
        batch_size = self._env.batch_size
        self._time_step = common.get_initial_time_step(self._env)
        _check_reward(self._time_step)
        self._policy_state = self._alg.get_initial_rollout_state(batch_size)
        self._initial_state = self._alg.get_initial_rollout_state(batch_size)
        self._has_state = len(nest.flatten(self._initial_state)) > 0
        self._transform_state = self._alg.get_initial_transform_state(batch_size)

    def _step(self, keep: bool) -> Experience | None:
        alg, time_step = self._alg, self._time_step
        policy_state = self._policy_state
        if self._has_state:
            policy_state = common.reset_state_if_necessary(
                policy_state, self._initial_state, time_step.is_first()
            )
        transformed, self._transform_state = alg.transform_timestep(
            time_step, self._transform_state
        )
        policy_step = alg.rollout_step(transformed, policy_state)
        if alg._rollout_info_spec is None:
            alg._rollout_info_spec = dist_utils.extract_spec(policy_step.info)
        with record_time("time/unroll_env_step"):
            next_time_step = self._env.step(common.detach(policy_step.output))
        _check_reward(next_time_step)
        if alg._overwrite_policy_output:
            policy_step = policy_step._replace(output=next_time_step.prev_action)
        with record_time("time/unroll_store_exp"):
            raw = time_step if time_step.reward.device.type == "cpu" else time_step.cpu()
            alg.observe_for_metrics(raw)
            if not alg.on_policy:
                alg.observe_for_replay(make_experience(raw, policy_step, policy_state))
        self._time_step, self._policy_state = next_time_step, policy_step.state
        if not keep:
            return None
        return Experience(
            time_step=transformed,
            action=policy_step.output,
            rollout_info=dist_utils.distributions_to_params(policy_step.info),
            state=common.detach(policy_state),
        )


def _stack(steps: list[Experience]) -> Experience:
    if len(steps) == 1:
        return nest.map_structure(lambda x: x.unsqueeze(0), steps[0])
    return nest.map_structure(lambda *xs: torch.stack(xs), *steps)


def _check_reward(time_step: TimeStep) -> None:
    """Refuse a reward which would ruin everything learnt so far."""
    # One number is looked at, not each element: NaN and infinity survive a sum.
    if math.isfinite(float(time_step.reward.sum())):
        return
    finite = torch.isfinite(time_step.reward)
    bad = ~finite.reshape(finite.shape[0], -1).all(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"environment {int(time_step.env_id[row])} gave the reward "
            f"{time_step.reward[row].tolist()}; rewards must be finite numbers"
        )
