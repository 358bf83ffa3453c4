"""`HierarchyAgent`: folds a list of levels into one ALF algorithm.

The agent holds the specs, the replay data and the training of the levels; `Stepping` says what
happens at an environment step. The state of environments lives in the rollout state, so that
vectorisation, resets, evaluation and asynchronous unrolls need no code. Data reach the levels'
replay buffers in `observe_for_replay` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import checked
from alf_layered.hierarchy import clock as clocks
from alf_layered.hierarchy.assembly import bind_maps, build_levels, check_levels, joint_specs
from alf_layered.hierarchy.joints import Joint
from alf_layered.hierarchy.level import Level, LevelCtor, LevelObservation
from alf_layered.hierarchy.observation_maps import ObservationMap, select
from alf_layered.hierarchy.offline import give_offline_data
from alf_layered.hierarchy.records import LevelState
from alf_layered.hierarchy.rows import take_rows
from alf_layered.hierarchy.stepping import Stepping
from alf_layered.hierarchy.trainer_fit import check_config, check_levels_can_train

Nest = Any


@alf.configurable
@checked()
class HierarchyAgent(OffPolicyAlgorithm):
    """Levels as one ALF algorithm, for ALF's trainer, replay buffers and checkpoints.

    Args:
        observation_spec: the environment's.
        action_spec: the environment's.
        reward_spec: the environment's.
        levels: one constructor for each level, most abstract first, called with `observation_spec`,
            `action_spec`, `input_spec`, `reward_spec`, `config`, `debug_summaries` and `name`.
        joints: one for each pair of neighbouring levels: the spec of what passes from the upper to
            the lower one, or a function from the observation spec to it. None: the lower levels
            declare their `input_spec` themselves.
        observation_maps: what each level sees of the environment; None: everything.
        joint_end: what a level sees where its input changes in the middle of the environment's
            episode: "bootstrap": a LAST step with the old input and discount as is, then a FIRST
            step with the new one; "continue": one MID step with the new input, which remembers the
            old one (see `transitions.reached`).
        reward_mode: "discounted": a decision of k environment steps earns `sum_j gamma^j r_j` and
            is discounted by `gamma^k`; "mean": it earns the mean reward per environment step and
            is discounted by `gamma` (LayeredRL's convention).
        env: the training environment; only ALF's trainer gives one.
        config: the trainer's; each level gets a copy with its own settings.
    """

    _level_names: Sequence[str] = ()  # ALF's base constructor asks for them
    _has_offline_data = False

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        reward_spec: TensorSpec = TensorSpec(()),
        levels: Sequence[LevelCtor] = (),
        joints: Sequence[Joint] | None = None,
        observation_maps: Sequence[ObservationMap | select | None] | None = None,
        joint_end: Literal["bootstrap", "continue"] = "bootstrap",
        reward_mode: Literal["discounted", "mean"] = "discounted",
        env: Any = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "HierarchyAgent",
    ) -> None:
        check_levels(levels)
        check_config(config)
        maps = bind_maps(observation_maps, len(levels), observation_spec)
        built = build_levels(
            levels,
            observation_specs=[m.spec for m in maps],
            joints=joint_specs(joints, levels, observation_spec),
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            discounts_time=reward_mode == "discounted",
        )
        clock_spec = clocks.clock_spec(reward_spec)

        def state_spec(algorithm_specs: Sequence[Nest]) -> tuple[LevelState, ...]:
            return tuple(
                LevelState(
                    algorithm=spec,
                    decision=level.action_spec,
                    clock=clock_spec,
                    decisions=TensorSpec((), dtype=torch.int64),
                )
                for level, spec in zip(built, algorithm_specs, strict=True)
            )

        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=(),
            rollout_state_spec=state_spec([level.rollout_state_spec for level in built]),
            predict_state_spec=state_spec([level.predict_state_spec for level in built]),
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        # Before the levels: a module is saved under the first path that leads to it, and ALF's
        # checkpointer keeps what begins with "_replay_buffer." in a file of its own.
        self._replay_buffer = nn.ModuleDict()
        self._level_names = [f"level_{i}_{level.name}" for i, level in enumerate(built)]
        for level_name, level in zip(self._level_names, built, strict=True):
            self.add_module(level_name, level)
        self.environment_reward_spec = reward_spec
        self._maps = maps
        self._stepping = Stepping(
            built,
            maps,
            continues=joint_end == "continue",
            averages_reward=reward_mode == "mean",
        )
        self._ensure_summary = alf.summary.EnsureSummary()
        if env is not None:
            assert config is not None, "only ALF's trainer gives an environment"
            check_levels_can_train(built, config, env.batch_size)
            for level in built:
                options = level.training_options
                if options is not None:
                    level.set_replay_buffer(
                        env.batch_size, options.replay_buffer_length, options.priority_replay
                    )

    @property
    def levels(self) -> list[Level]:
        """The levels, most abstract first."""
        return [getattr(self, name) for name in self._level_names]

    def observe(self, observation: Nest, index: int) -> LevelObservation:
        """The environment's observation as level `index` sees it, without an input."""
        return LevelObservation(self._maps[index](observation))

    def _named_levels(self) -> list[tuple[str, Level]]:
        return list(zip(self._level_names, self.levels, strict=True))

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> AlgStep:
        """Steps every level that is due; `info` holds one `LevelRecords` for each level."""
        return self._stepping.step(inputs, state, "rollout_step")

    def told_step(
        self, inputs: TimeStep, state: tuple[LevelState, ...], decisions: Sequence[Nest]
    ) -> AlgStep:
        """`rollout_step()`, had those levels that are due decided for `decisions`, top first."""
        return self._stepping.step(inputs, state, "rollout_step", decisions)

    def predict_step(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> AlgStep:
        return self._stepping.step(inputs, state, "predict_step")._replace(info=())

    # ---- data and training ----------------------------------------------------------------------

    def observe_for_replay(self, exp: Experience) -> None:
        """Hands each level its records; levels fill at different rates and never wait for one
        another.
        """
        for (name, level), records in zip(self._named_levels(), exp.rollout_info, strict=True):
            if level.training_options is None:
                continue
            for record in (records.closing, records.deciding):
                if record == () or not bool(record.mask.any()):
                    continue
                rows = take_rows(record.mask, record._replace(mask=()))
                level.observe_for_replay(
                    Experience(
                        time_step=rows.time_step,
                        action=rows.action,
                        rollout_info=rows.info,
                        state=rows.state,
                    )
                )
            self._replay_buffer[name] = level._replay_buffer

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        """Trains every level from its own replay buffer; returns the number of steps trained on.

        Before `TrainerConfig.rl_train_after_update_steps` levels train from offline data alone.
        """
        self._ensure_summary.tick()
        steps = 0
        pretrains = self._pretrains()
        with self._ensure_summary:
            for name, level in self._named_levels():
                with alf.summary.scope(name):
                    if pretrains:
                        steps += level.pretrain()
                    else:
                        steps += level.train_from_replay_buffer(update_global_counter=False)
        return steps

    # ---- offline data ---------------------------------------------------------------------------

    @property
    def has_offline(self) -> bool:
        """Whether there are offline data, so that ALF's loop pretrains before it unrolls."""
        return self._has_offline_data

    def load_offline_replay_buffer(self, untransformed_observation_spec: Nest) -> None:
        """Gives each level its part of `TrainerConfig.offline_buffer_dir`; see `offline`."""
        if self._config is not None:
            self._has_offline_data = give_offline_data(
                self, self._config, untransformed_observation_spec
            )

    def _pretrains(self) -> bool:
        if not self._has_offline_data:
            return False
        return alf.summary.get_global_counter() < self._config.rl_train_after_update_steps

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        """Tells the levels that an iteration is over; what they saw has no common length."""
        for name, level in self._named_levels():
            with alf.summary.scope(name):
                level.after_train_iter(None, None)

    def _looks_at_unroll(self) -> bool:
        """The engine asks whether it has to keep an unroll; upstream ALF always does."""
        return alf.summary.should_record_summaries()

    def set_path(self, path: str) -> None:
        super().set_path(path)
        for level in self.levels:
            level.set_path("")  # the path inside its own replay buffer

    def activate_ddp(self, rank: int) -> None:
        for level in self.levels:
            level.activate_ddp(rank)

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_replay_buffer", *self._level_names]
