"""`Hierarchy`: levels that act, store and learn in a Python loop of one's own, without a trainer.

    env = gymnasium.make_vec("Maze2D-UMaze-v0", num_envs=8)
    h = Hierarchy([SacLevel.options()], env=env)
    obs, info = env.reset(seed=0)
    for _ in range(10_000):
        obs, reward, terminated, truncated, info = env.step(h.get_action(obs))
        h.process_transition(obs, reward, terminated, truncated, info)
        h.learn()

It drives `HierarchyAgent`, the algorithm that ALF's trainer drives: same levels, same data.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from alf.algorithms.config import TrainerConfig
from alf_layered.hierarchy.agent import HierarchyAgent
from alf_layered.hierarchy.joints import Joint
from alf_layered.hierarchy.level import Level, LevelCtor
from alf_layered.hierarchy.observation_maps import ObservationMap
from alf_layered.hierarchy.trainer_fit import check_levels_can_train
from alf_layered.library import saving
from alf_layered.library.border import FINAL_KEYS, Border
from alf_layered.library.inspection import Inspection, look_at
from alf_layered.library.own_run import OwnRun
from alf_layered.library.rollout import Rollout

Nest = Any
_logger = logging.getLogger("absl")

_NEVER_ENDS = 2**62
"""Environment steps of a run whose length nobody has said."""


class Hierarchy:
    """Levels over one environment; most abstract first.

    Observations, rewards and flags may be NumPy arrays or tensors; actions are what observations
    were. Everything may be told of some environments alone, by `env_ids`.

    Args:
        levels: one constructor for each, such as `SacLevel.options(control_interval=15)`.
        env: a gymnasium environment or vector environment; it is asked for its spaces, not stepped.
        joints: what passes between each pair of neighbours; see `HierarchyAgent`.
        env_obs_maps: what each level sees of the environment: None (everything), `select(...)`, an
            `ObservationMap`, or a function of the observation, tensors `[B, ...]`.
        mapped_env_obs_shapes: the shapes of what the functions return, or `-m` where a vector
            loses m dimensions; None: found by calling them once.
        joint_end: see `HierarchyAgent`.
        reward_mode: see `HierarchyAgent`.
        autoreset_mode: "NEXT_STEP", "SAME_STEP" or "DISABLED", for a vector environment that does
            not say how it begins new episodes.
        seed: of this hierarchy's own random numbers; None: drawn from torch's generator.
        device: of its tensors; None: torch's default.
        writer: a TensorBoard writer for the levels' losses.

    Raises:
        ValueError: levels, joints and spaces do not fit together.
    """

    def __init__(
        self,
        levels: Sequence[LevelCtor],
        env: gymnasium.Env | VectorEnv,
        joints: Sequence[Joint] | None = None,
        env_obs_maps: Sequence[Any] | None = None,
        mapped_env_obs_shapes: Sequence[Any] | None = None,
        *,
        joint_end: Literal["bootstrap", "continue"] = "bootstrap",
        reward_mode: Literal["discounted", "mean"] = "discounted",
        autoreset_mode: Any = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        writer: Any = None,
    ) -> None:
        self._settings = {
            "levels": levels,
            "joints": joints,
            "env_obs_maps": env_obs_maps,
            "mapped_env_obs_shapes": mapped_env_obs_shapes,
            "joint_end": joint_end,
            "reward_mode": reward_mode,
            "autoreset_mode": autoreset_mode,
        }
        self._border = Border(env, autoreset_mode, device)
        self._own_run = OwnRun(seed)
        self._own_run.writer = writer
        self._config = _trainer_config()
        with self._own_run:
            self._agent = HierarchyAgent(
                self._border.observation_spec,
                self._border.action_spec,
                levels=levels,
                joints=joints,
                observation_maps=_observation_maps(
                    env_obs_maps, mapped_env_obs_shapes, len(levels)
                ),
                joint_end=joint_end,
                reward_mode=reward_mode,
                config=self._config,
            ).to(self._border.device)
            self._agent.set_path("")
        self.training = True
        """Whether it explores, stores and learns."""
        self.n_total_env_steps = 0
        """Environment steps of training so far, all environments together."""
        self._shares_agent = False
        self._begin(self._border.num_envs)

    # ---- what it is -----------------------------------------------------------------------------

    @property
    def agent(self) -> HierarchyAgent:
        """The levels as one ALF algorithm."""
        return self._agent

    @property
    def levels(self) -> list[Level]:
        """The levels, most abstract first."""
        return self._agent.levels

    @property
    def n_env_instances(self) -> int:
        """Number of environments."""
        return self._border.num_envs

    @property
    def autoreset_mode(self) -> str:
        """How its environment begins new episodes: "DISABLED" where the caller does."""
        return self._border.mode

    def write_to(self, writer: Any, interval: int = 100) -> None:
        """Writes the levels' losses.

        Args:
            writer: of TensorBoard; None: they are not written.
            interval: calls of `learn()` from one record to the next.
        """
        self._own_run.writer, self._own_run.summary_interval = writer, interval

    def set_n_env_instances(self, n_env_instances: int) -> None:
        """Goes on with another number of environments; replay buffers become empty.

        Raises:
            ValueError: the number is less than 1, or this is a copy.
        """
        if n_env_instances < 1:
            raise ValueError(f"n_env_instances is {n_env_instances}, it must be at least 1")
        self._border.num_envs = n_env_instances
        self._begin(n_env_instances)

    def _begin(self, num_envs: int) -> None:
        if not self._shares_agent:
            check_levels_can_train(self.levels, self._config, num_envs)
            for name, level in zip(self._agent._level_names, self.levels, strict=True):
                options = level.training_options
                if options is None:
                    continue
                level._replay_buffer = None
                if name in self._agent._replay_buffer:
                    del self._agent._replay_buffer[name]
                level.set_replay_buffer(
                    num_envs, options.replay_buffer_length, options.priority_replay
                )
        self._new_rollout()

    def _new_rollout(self) -> None:
        self._rollout = Rollout(
            self._agent,
            self._border.num_envs,
            learns=self.training,
            device=self._border.device,
        )
        self._acted_on: Any = None
        self._arrived: Any = None

    # ---- the loop -------------------------------------------------------------------------------

    def get_action(self, obs: Nest, *, env_ids: Any = None) -> Nest:
        """The actions for the present observations.

        Args:
            obs: `[B, ...]` of the observation space; without the axis B for a single environment.
            env_ids: `[B]`, the environments that they are of; None: all, in order.

        Returns:
            `[B, ...]` of the action space: tensors if the observations are, else NumPy arrays.

        Raises:
            ValueError: shapes do not fit, or `process_transition` was left out.
        """
        ids = self._border.ids(env_ids)
        present = obs
        if obs is self._acted_on and self._arrived is not None:
            # a loop without `obs = obs_next`, as LayeredRL's documents print it
            present = self._arrived
        observation = self._border.observations(present, len(ids))
        with self._own_run:
            self._set_training_mode(False)
            action = self._rollout.act(observation, ids)
        self._acted_on, self._arrived = obs, None
        return self._border.actions(action, like=obs)

    def process_transition(
        self,
        obs_next: Nest,
        rew: Any,
        terminated: Any,
        truncated: Any,
        info: Mapping[str, Any] | None = None,
        *,
        env_ids: Any = None,
    ) -> None:
        """Takes what an environment's `step` returned, and finds the last observations of episodes.

        Where a vector environment begins the next episode in the same step, the last observation of
        the one before is in `info`. Without `info`, `obs_next` has to have it.

        Args:
            obs_next: `[B, ...]`.
            rew: `[B]`.
            terminated: `[B]`.
            truncated: `[B]`.
            info: as `step` returned it.
            env_ids: `[B]`, the environments that they are of; None: all, in order.

        Raises:
            ValueError: shapes do not fit, a reward is NaN, `get_action` was left out, or `info`
                lacks the last observations.
        """
        border = self._border
        ids = border.ids(env_ids)
        rows = len(ids)
        terminated_B = border.flags(terminated, rows, "terminated")
        truncated_B = border.flags(truncated, rows, "truncated")
        observation = border.observations(obs_next, rows)
        reward = border.numbers(rew, rows, torch.float32, "rew")
        final = self._final(info, terminated_B | truncated_B)
        with self._own_run:
            self._set_training_mode(False)
            stepped = self._rollout.arrive(
                observation,
                reward,
                terminated_B,
                truncated_B,
                ids,
                begins_next_step=border.mode == "NEXT_STEP",
                final=final,
            )
        self._arrived = obs_next
        if self.training:
            self.n_total_env_steps += int(stepped.sum())

    def _final(self, info: Mapping[str, Any] | None, ended: np.ndarray) -> Nest:
        """`[n, ...]`, the last observations of rows that end; `()` where `obs_next` has them."""
        if self._border.mode != "SAME_STEP" or not ended.any():
            return ()
        if info is None:
            _warn_once(self)
            return ()
        for key in FINAL_KEYS:
            if key in info:
                return self._border.final_observations(info[key], np.flatnonzero(ended))
        raise ValueError(
            "the environment begins new episodes in the step that ends the old ones, but info has "
            f"no 'final_obs'; it has {sorted(info)}"
        )

    def learn(self) -> int:
        """Makes the updates that new transitions pay for; returns how many records it trained on.

        Raises:
            ValueError: it evaluates.
        """
        if not self.training:
            raise ValueError("learn() while the hierarchy evaluates; call train() first")
        with self._own_run:
            self._own_run.count()
            self._set_training_mode(True)
            steps = self._agent.train_from_replay_buffer(update_global_counter=True)
            self._agent.after_train_iter(None, None)
        return steps

    def _set_training_mode(self, mode: bool) -> None:
        if self._agent.training != mode:
            self._agent.train(mode)

    # ---- modes and episodes ---------------------------------------------------------------------

    def train(self) -> Hierarchy:
        """Explores, stores and learns from now on; episodes begin anew. Returns itself.

        Raises:
            ValueError: this is a copy, whose data would mix with those of the original.
        """
        if self._shares_agent:
            raise ValueError("a copy made by get_copy() evaluates only; train the original")
        return self._set_mode(True)

    def eval(self) -> Hierarchy:
        """Evaluates from now on: does not explore, changes nothing; episodes begin anew."""
        return self._set_mode(False)

    def _set_mode(self, training: bool) -> Hierarchy:
        if self.training != training:
            self.soft_reset()
            self.training = training
            self._new_rollout()
        return self

    def reset(self) -> None:
        """As `soft_reset()`: levels keep what they have learned and stored."""
        self.soft_reset()

    def soft_reset(self, *, env_ids: Any = None) -> None:
        """Says that environments were reset from outside: their episodes count as truncated.

        Args:
            env_ids: which environments; None: all.
        """
        with self._own_run:
            self._set_training_mode(False)
            self._rollout.begin_anew(self._border.ids(env_ids))
        self._acted_on = self._arrived = None

    def get_copy(
        self, n_env_instances: int | None = None, seed: int | None = None, *, env: Any = None
    ) -> Hierarchy:
        """A hierarchy for test rollouts: it evaluates, with this one's parameters and no others.

        It has its own episodes and random numbers, so that nothing it does changes the original.

        Args:
            n_env_instances: of its environment; None: as many as here.
            seed: of its random numbers.
            env: its environment, of the same spaces; None: one that begins episodes as this one's.

        Raises:
            ValueError: `env` has other spaces.
        """
        made = copy.copy(self)
        made._border = copy.copy(self._border)
        if env is not None:
            made._border = Border(env, self._settings["autoreset_mode"], self._border.device)
            made._border.check_like(self._border)
        made._own_run = OwnRun(0 if seed is None else seed)
        made._shares_agent = True
        made.training = False
        made._border.num_envs = n_env_instances or self._border.num_envs
        made._new_rollout()
        return made

    def inspect(self, env_id: int = 0) -> Inspection:
        """What each level holds in one environment; printed as a table."""
        self._border.ids([env_id])
        return look_at(self._agent, self._rollout.state, env_id)

    # ---- files ----------------------------------------------------------------------------------

    def save(self, path: str | Path, *, buffers: bool = False) -> None:
        """Writes parameters, optimizers, counters, random numbers and settings into a folder.

        Args:
            path: the folder, made if it is not there.
            buffers: whether also what `save_buffers` writes.
        """
        saving.save(self, self._settings, Path(path))
        if buffers:
            self.save_buffers(path)

    load = saving.LoadMethod()
    """`h.load(path)` loads into a hierarchy; `Hierarchy.load(path, env=env)` makes one, and runs
    the functions that its settings have: load only what you trust. With `levels=`, `joints=`, ...
    the file of settings is not read. Replay buffers are loaded if they were saved. Episodes begin
    anew."""

    def save_buffers(self, path: str | Path) -> None:
        """Writes the levels' replay buffers into a folder."""
        saving.save_buffers(self, Path(path))

    def load_buffers(self, path: str | Path) -> None:
        """Loads what `save_buffers` wrote.

        Raises:
            FileNotFoundError: nothing is there.
            ValueError: it is of other levels or of another number of environments.
        """
        saving.load_buffers(self, Path(path))

    @classmethod
    def from_settings(cls, env: Any, settings: dict[str, Any]) -> Hierarchy:
        """A hierarchy with arguments as `Hierarchy` takes them, whatever the subclass takes."""
        made = cls.__new__(cls)
        Hierarchy.__init__(made, env=env, **settings)
        return made

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimizers, counters and random numbers; no replay buffers."""
        return {
            "agent": saving.without_buffers(self._agent.state_dict()),
            "run": self._own_run.state_dict(),
            "n_total_env_steps": self.n_total_env_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo of `state_dict`; episodes begin anew.

        Raises:
            ValueError: it is of other levels.
        """
        saving.load_agent(self._agent, state["agent"])
        self._own_run.load_state_dict(state["run"])
        self.n_total_env_steps = int(state["n_total_env_steps"])
        self._new_rollout()


def _trainer_config() -> TrainerConfig:
    """The part of ALF's settings that a loop of one's own leaves; levels have their own."""
    return TrainerConfig(
        root_dir="",
        num_iterations=0,
        num_env_steps=_NEVER_ENDS,
        mini_batch_length=2,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
    )


def _observation_maps(
    maps: Sequence[Any] | None, shapes: Sequence[Any] | None, count: int
) -> list[Any] | None:
    """Functions as `ObservationMap`s with their shapes; the caller's lists stay as they are."""
    for name, given in (("env_obs_maps", maps), ("mapped_env_obs_shapes", shapes)):
        if given is not None and len(given) != count:
            raise ValueError(f"{len(given)} {name} for {count} levels, give one (or None) for each")
    if maps is None:
        if shapes is not None and any(shape is not None for shape in shapes):
            raise ValueError(f"mapped_env_obs_shapes is {list(shapes)}, but env_obs_maps is None")
        return None
    shapes = [None] * count if shapes is None else shapes
    return [_observation_map(m, shape) for m, shape in zip(maps, shapes, strict=True)]


def _observation_map(given: Any, shape: Any) -> Any:
    if given is None or hasattr(given, "bind") or not callable(given):
        return given
    return ObservationMap(given, saving.spec_of_shape(shape))


def _warn_once(hierarchy: Hierarchy) -> None:
    if not hierarchy.__dict__.get("_warned"):
        hierarchy.__dict__["_warned"] = True
        _logger.warning(
            "process_transition got no info, and the environment begins new episodes in the step "
            "that ends the old ones: obs_next is taken for the last observation of each episode "
            "that ended; give info=info to have it found"
        )
