"""Reanalyze: values and policies of stored observations, found again with a recent model.

Schrittwieser et al. 2021, "Online and offline reinforcement learning by planning with a learned
model", arXiv:2104.06294.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.mcts_models import MCTSModel
from alf.algorithms.muzero.targets import inside, read
from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.nest import nest
from alf.utils import schedulers
from alf.utils._policy_state import reset_state_if_necessary

PUBLIC_MODULE = "alf.algorithms.muzero_representation_learner"  # under which names are configured


@configurable
class LinearTdStepFunc:
    """Fewer steps to the bootstrap for older samples (Ye et al. 2021, arXiv:2111.00210).

    Args:
        max_bootstrap_age: from this age on there are ``min_td_steps``.
        min_td_steps: the least number of steps.
    """

    def __init__(self, max_bootstrap_age: float, min_td_steps: int = 1) -> None:
        self._max_bootstrap_age = max_bootstrap_age
        self._min_td_steps = min_td_steps

    def __call__(self, sample_age: Tensor, max_td_steps: int, current_max_age: float) -> Tensor:
        """Steps int64 [N] for samples of age [N], 0 for the newest, at most ``current_max_age``."""
        share = (sample_age / self._max_bootstrap_age).clamp(max=1.0)
        # As in the paper (appendix A.4) the decrease is rounded down.
        decrease = ((max_td_steps - self._min_td_steps) * share).floor().long()
        return (max_td_steps - decrease).clamp(min=self._min_td_steps)


@dataclasses.dataclass(frozen=True)
class ReanalyzeSettings:
    """See `MuzeroRepresentationImpl`.

    ``autocast`` makes the context of mixed precision.
    """

    ratio: float
    td_steps: int
    td_steps_func: Callable[..., Tensor] | None
    batch_size: int | None
    full: bool
    autocast: Callable[[], Any] = contextlib.nullcontext


def call_with_offered(ctor: Callable[..., Any], offered: dict[str, Any], **arguments: Any) -> Any:
    """``ctor(**arguments)``, with those of ``offered`` that it takes.

    ALF's code gives some arguments that its documentation does not name: a constructor written by
    the documentation works too.
    """
    parameters = inspect.signature(ctor).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {name: x for name, x in offered.items() if takes_all or name in parameters}
    return ctor(**arguments, **taken)


def sample_age(buffer: Any, env_ids: Tensor, positions: Tensor) -> tuple[Tensor, float]:
    """Ages [N] of records on the scale of the training's progress, and that of the first ever."""
    oldest = schedulers.get_progress("percent")
    newest = buffer._current_pos.to(positions.device)[env_ids] - 1
    share = (newest - positions).to(torch.float32) / newest.clamp(min=1)
    return share * oldest, oldest


class Reanalyzer:
    """Searches again where a model has learnt since.

    A search starts from the rollout state that is stored with a record
    (`TrainerConfig.use_rollout_state`), else from that of a beginning.

    Args:
        algorithm: its ``predict_step()`` gives the info of a search.
        model: gives the values behind the steps that are searched.
        settings: how much.
        has_states: whether the rollout states are stored.

    Raises:
        ValueError: two players move in turn, but the observation does not say whose turn it is.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        model: MCTSModel,
        settings: ReanalyzeSettings,
        has_states: bool = False,
    ) -> None:
        if getattr(algorithm, "is_two_player_game", False) and not has_states:
            spec = algorithm.observation_spec
            if not (isinstance(spec, dict) and {"to_play", "steps"} & spec.keys()):
                raise ValueError(
                    "reanalyze has to know whose turn it is: it needs "
                    "TrainerConfig.use_rollout_state=True, or an entry 'to_play' or 'steps' of the "
                    f"observation, whose spec is {spec}"
                )
        self._algorithm = algorithm
        self._model = model
        self.settings = settings

    def td_steps(self, buffer: Any, env_ids: Tensor, positions: Tensor) -> Tensor:
        """Steps to the bootstrap [N]."""
        s = self.settings
        if s.td_steps_func is None:
            return torch.full_like(positions, s.td_steps)
        age, oldest = sample_age(buffer, env_ids, positions)
        return s.td_steps_func(age, s.td_steps, oldest).long().clamp(max=s.td_steps)

    def stored_states(self, buffer: Any, env_ids: Tensor, positions: Tensor, path: str) -> Any:
        """The states [N, S, ...] in which the records at ``positions`` [N, S] were decided.

        Args:
            path: of the algorithm, in the states of the buffer's records.

        Returns:
            () if they are not stored.
        """
        if not nest.flatten(getattr(buffer._data_spec, "state", ())):
            return ()
        return read(buffer, inside("state", path), env_ids, positions)

    @torch.no_grad()
    def search(self, time_step: TimeStep, state: Any, steps: int) -> tuple[Any, Tensor]:
        """What a new search says.

        Args:
            time_step: [N, S, ...].
            state: [N, S, ...], of rollouts; (): that at the beginning.
            steps: R + 1.

        Returns:
            The infos [N, R + 1, ...] of the searches, and values [N, S].
        """
        N, S = time_step.step_type.shape
        searched = S if self.settings.full else steps
        self._model.eval()
        with self.settings.autocast():
            part = nest.map_structure(lambda x: x[:, :searched].flatten(0, 1), (time_step, state))
            info = self._in_batches(self._search, part)
            value = info.value.float().unflatten(0, (N, searched))
            if searched < S:
                rest = nest.map_structure(
                    lambda x: x[:, searched:].flatten(0, 1), time_step.observation
                )
                more = self._in_batches(self._value, rest)
                value = torch.cat([value, more.float().unflatten(0, (N, S - searched))], dim=1)
        infos = nest.map_structure(lambda x: x.unflatten(0, (N, searched))[:, :steps], info)
        return infos, value

    def _search(self, inputs: tuple[TimeStep, Any]) -> Any:
        time_step, stored = inputs
        initial = self._algorithm.get_initial_predict_state(len(time_step.step_type))
        state = reset_state_if_necessary(_resumed(initial, stored), initial, time_step.is_first())
        return self._algorithm.predict_step(time_step, state).info

    def _value(self, observation: Any) -> Tensor:
        return self._model.initial_inference(observation).value

    def _in_batches(self, func: Callable[[Any], Any], inputs: Any) -> Any:
        rows = nest.get_nest_batch_size(inputs)
        size = self.settings.batch_size or rows
        if size >= rows:
            return func(inputs)
        results = [
            func(nest.map_structure(lambda x, i=i: x[i : i + size], inputs))
            for i in range(0, rows, size)
        ]
        return nest.map_structure(lambda *xs: torch.cat(xs), *results)


def _resumed(initial: Any, stored: Any) -> Any:
    """The stored rollout state, as far as predictions have a state of the same form."""
    fields = getattr(initial, "_fields", None)
    if fields is not None and fields == getattr(stored, "_fields", None):
        return initial._make(_resumed(x, y) for x, y in zip(initial, stored, strict=True))
    return stored if len(nest.flatten(initial)) == len(nest.flatten(stored)) else initial
