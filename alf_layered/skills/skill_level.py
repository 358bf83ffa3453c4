"""Skill level: the reward is the information that a state carries about the skill, under the
parent's predictor.

Axis letters: B environments or spans, T records of a span, R rows, S state and C context of the
level above, N skills from the prior.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import alf
from alf.algorithms.algorithm import Algorithm
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, SHARE, checked
from alf_layered.hierarchy.constructors import called_by
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import check_replays
from alf_layered.hierarchy.rows import on_rows, where_rows
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import is_transition, reached
from alf_layered.levels.learner_checks import check_learns_from_replay
from alf_layered.levels.learner_level import LearnerLevel
from alf_layered.planning.planner_level import PlannerLevel
from alf_layered.skills.after_skill import with_what_follows
from alf_layered.skills.options import SkillOptions
from alf_layered.skills.priors import SkillPrior, prior_of
from alf_layered.skills.records import SkillInfo, SkillInput, SkillRows, SkillState
from alf_layered.skills.reward_scale import RewardScale
from alf_layered.skills.schedules import value_at
from alf_layered.tdmpc2.settings import TDMPC2Settings

Nest = Any


@checked(gamma=SHARE, control_interval=AT_LEAST_1, freeze_after=AT_LEAST_0)
class SkillLevel(LearnerLevel):
    """Learns skills by any algorithm; subclasses say what earns a reward.

    Rewards are computed when data are sampled, with the present predictor of the level above. All
    is seen through that level's observation map where it is about its predictor, and through this
    level's own where it is about decisions.

    Prioritised replay (`TrainingOptions.priority_replay`) draws spans by the algorithm's error, so
    the algorithm has to give one: SAC with `calculate_priority=True` does, TD-MPC2 does not.

    Args:
        above: the level above, a `PlannerLevel`.
        algorithm_ctor: as in `AlgorithmLevel`; its observation is a `LevelObservation` whose input
            is a `SkillInput`. It must learn from replayed data.
        options: of the reward.
        prior: of skills; None: uniform over the joint.
        control_interval: decisions of a skill.
        knows_start: whether decisions depend on where the skill began and on the time since.
        relative_start: whether they are told how far the skill has come, instead of where it began;
            None: unless the algorithm plans, because a plan needs inputs that stay as they are.
        nested_observation: as in `AlgorithmLevel`; None: if the algorithm plans.
        random_warm_up: as in `AlgorithmLevel`.
        gamma: as in `AlgorithmLevel`.
        freeze_after: own transitions after which nothing is learned any more and, by algorithms
            without a state of their own, nothing explored; 0 for skills that are taken from a
            checkpoint. None: never.
    """

    sees_above = True
    active_rows_only = True
    symmetry_breaking_steps: int = 100_000
    """Environment steps for which a planner with the default predictor starts with
    symmetry-breaking skill dynamics, so that skills differ before any is learned; 0: none."""
    usual_std: float = 1.0
    """What `SkillOptions.fixed_std` is where it is "usual"."""

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        above: Level,
        algorithm_ctor: Callable[..., Algorithm],
        options: SkillOptions,
        prior: SkillPrior | None = None,
        control_interval: int | None = 10,
        knows_start: bool = True,
        relative_start: bool | None = None,
        nested_observation: bool | None = None,
        random_warm_up: bool = True,
        freeze_after: int | None = None,
        gamma: float | None = None,
        training: TrainingOptions = TrainingOptions(),
        optimizer: torch.optim.Optimizer | None = None,
        config: Any = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "SkillLevel",
    ) -> None:
        if not isinstance(above, PlannerLevel):
            raise ValueError(
                f"level {name!r} learns from what the level above predicts of skills, but "
                f"{above.name!r} is a {type(above).__name__}, not a PlannerLevel"
            )
        if control_interval is None and knows_start:
            raise ValueError(
                f"level {name!r} needs a control_interval, the number of a skill's decisions"
            )
        check_replays(training, level=name)
        if options.fixed_std == "usual":
            options = dataclasses.replace(options, fixed_std=self.usual_std)
        ends = knows_start and options.after_skill != "same"
        planning, training = _for_planning(
            algorithm_ctor, options, control_interval if ends else None, training, gamma
        )
        relative_start = not planning if relative_start is None else relative_start
        nested_observation = bool(planning) if nested_observation is None else nested_observation
        shown_spec = LevelObservation(
            observation_spec,
            SkillInput(
                skill=input_spec,
                start=TensorSpec((above.predictor.latent_state_dim,)) if knows_start else (),
                time=TensorSpec(()) if knows_start else (),
            ),
        )
        state = SkillState(start=above.observation_spec, step=TensorSpec((), dtype=torch.int64))
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            TensorSpec(()),
            algorithm_ctor=partial(algorithm_ctor, **planning) if planning else algorithm_ctor,
            shown_spec=shown_spec,
            nested_observation=nested_observation,
            random_warm_up=random_warm_up,
            gamma=gamma,
            control_interval=control_interval,
            training=training,
            state_spec=lambda spec: state._replace(algorithm=spec),
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        if self.symmetry_breaking_steps > 0 and freeze_after != 0:
            above.break_symmetry(self.symmetry_breaking_steps)
        self._above = (above,)  # in a tuple it is no part of this module
        self._options = options
        self._prior = prior or prior_of(input_spec)
        self._scale = RewardScale(center=options.center, offset=options.offset)
        self._knows_start = knows_start
        self._relative_start = relative_start
        self._freeze_after = freeze_after
        self._remembers_nothing = not alf.nest.flatten(
            (self._algorithm.rollout_state_spec, self._algorithm.predict_state_spec)
        )

    @staticmethod
    def _check_learns(algorithm: Algorithm, training: Any, goal: Any, *, level: str) -> None:
        why = "a skill's rewards are known when data are sampled"
        check_learns_from_replay(algorithm, level=level, why=why)

    @property
    def above(self) -> PlannerLevel:
        """The level whose predictor tells what skills lead to."""
        return self._above[0]

    @property
    def prior(self) -> SkillPrior:
        """The distribution of skills that a skill is compared with."""
        return self._prior

    @property
    def frozen(self) -> bool:
        """Whether nothing is learned any more."""
        after = self._freeze_after
        return after is not None and int(self._update_clock.transitions) >= after

    # ---- the reward -----------------------------------------------------------------------------

    def intrinsic_reward(self, rows: SkillRows) -> Tensor:
        """`[R]`, before it is scaled."""
        raise NotImplementedError

    def earns(self, over: Tensor) -> Tensor:
        """Which decisions can have a reward, where `over` says which are their skill's last."""
        return torch.ones_like(over)

    def _scheduled(self, setting: Any) -> Any:
        return value_at(setting, int(self._update_clock.transitions))

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: SkillState) -> AlgStep:
        state = self._renewed(inputs, state)
        seen = self._seen(inputs, state)
        step = self._explored(seen, state.algorithm)
        if self.frozen and self._remembers_nothing:  # there is nothing to explore for
            nothing = self._algorithm.predict_state_spec
            step = step._replace(output=self._algorithm.predict_step(seen, nothing).output)
        return AlgStep(
            output=step.output,
            state=state._replace(algorithm=step.state, step=state.step + 1),
            info=SkillInfo(algorithm=step.info, start=state.start, step=state.step),
        )

    def predict_step(self, inputs: TimeStep, state: SkillState) -> AlgStep:
        state = self._renewed(inputs, state)
        step = self._algorithm.predict_step(self._seen(inputs, state), state.algorithm)
        return AlgStep(
            output=step.output, state=state._replace(algorithm=step.state, step=state.step + 1)
        )

    def _acts_at_random(self) -> bool:
        return super()._acts_at_random() and not self.frozen

    def _renewed(self, inputs: TimeStep, state: SkillState) -> SkillState:
        """With the start of the skill that begins, where one does."""
        begins = inputs.is_first()
        if isinstance(inputs.env_info, dict) and "returned" in inputs.env_info:
            # The hierarchy may go on without a LAST and a FIRST step.
            begins = begins | inputs.env_info["returned"] & ~inputs.is_last()
        return state._replace(
            start=where_rows(begins, inputs.observation.above, state.start),
            step=torch.where(begins, 0, state.step),
        )

    def _shown(self, step: TimeStep, state: SkillState | SkillInfo) -> TimeStep:
        observation = step.observation
        start: Any = ()
        time: Any = ()
        if self._knows_start:
            assert self._control_interval is not None
            start = self._encode(state.start)[0]
            if self._relative_start:
                start = self._encode(observation.above)[0] - start
            time = state.step / self._control_interval
        skill = SkillInput(observation.input, start, time)
        return step._replace(observation=LevelObservation(observation.observation, skill))

    @torch.no_grad()
    def _encode(self, observation: Nest) -> tuple[Tensor, Tensor]:
        """State and context of what the level above observes."""
        return self.above.encode(observation)

    # ---- training -------------------------------------------------------------------------------

    @property
    def learns(self) -> bool:
        return super().learns and self._freeze_after != 0

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        if self.frozen:
            return 0
        return super().train_from_replay_buffer(update_global_counter)

    @torch.no_grad()
    def _earned(self, root_inputs: TimeStep, rollout_info: SkillInfo) -> tuple[TimeStep, SkillInfo]:
        """Gives spans `[B, T]` their rewards, and the value of what follows a skill."""
        seen, made = alf.nest.map_structure(
            lambda x: x[:, :-1], (root_inputs.observation, rollout_info)
        )
        ended = root_inputs.env_info["returned"]
        reward = self._rewards(root_inputs, seen, made, ended[:, 1:])
        reward = torch.cat([torch.zeros_like(reward[:, :1]), reward], dim=1)
        steps = root_inputs._replace(reward=reward)
        return with_what_follows(
            steps,
            rollout_info,
            ended,
            after_skill=self._options.after_skill,
            prior=self._prior,
        )

    def _learner_info(self, info: SkillInfo) -> Nest:
        return info.algorithm

    def _rewards(
        self, inputs: TimeStep, seen: LevelObservation, info: SkillInfo, over: Tensor
    ) -> Tensor:
        """`[B, T - 1]`, of the decisions at the first records; 0 where the next is no successor."""
        led_to = alf.nest.map_structure(lambda x: x[:, 1:], reached(inputs))
        follows = is_transition(inputs.step_type)
        earning = follows & self.earns(over)

        def reward(rows: Nest) -> Tensor:
            seen, info, over, led_to = rows
            start, context = self._encode(info.start)
            return self.intrinsic_reward(
                SkillRows(
                    skill=seen.input,
                    start=start,
                    context=context,
                    before=self._encode(seen.above)[0],
                    after=self._encode(led_to.above)[0],
                    over=over,
                    observation=led_to.observation,
                )
            )

        rows = alf.nest.map_structure(
            lambda x: x.flatten(0, 1), (seen, info._replace(algorithm=()), over, led_to)
        )
        mask = earning.flatten()
        found = on_rows(mask, reward, rows, torch.zeros(mask.shape, device=mask.device))
        if self._options.normalize:
            self._scale.update(found, follows.flatten())
            scaled = self._scale(found)
        else:
            scaled = found + self._options.offset
        self._report(found, mask)
        return torch.where(follows, scaled.reshape(follows.shape), 0.0)

    def _report(self, reward: Tensor, earning: Tensor) -> None:
        if alf.summary.should_record_summaries():
            mean = reward.sum() / earning.sum().clamp(min=1)
            alf.summary.scalar("intrinsic_reward", mean)


def _for_planning(
    ctor: Callable[..., Algorithm],
    options: SkillOptions,
    decisions: int | None,
    training: TrainingOptions,
    gamma: float | None,
) -> tuple[dict[str, Any], TrainingOptions]:
    """What an algorithm that plans must know of skills, and the spans that it learns from."""
    called = called_by(ctor)
    if not getattr(called, "follows_skills", False):
        return {}, training
    settings = getattr(ctor, "keywords", {}).get("settings", TDMPC2Settings())
    training = dataclasses.replace(training, mini_batch_length=settings.horizon + 1)
    more: dict[str, Any] = {
        "skill_decisions": decisions,
        "values_what_follows": options.after_skill == "average",
    }
    if gamma is not None:
        more["gamma"] = getattr(ctor, "keywords", {}).get("gamma", gamma)
    return more, training
