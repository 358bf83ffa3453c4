"""DIAYN: skills that states can be told apart by (Eysenbach et al., 2019, arXiv 1802.06070)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import alf
from alf.algorithms.algorithm import Algorithm
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec
from alf_layered.allowed import checked
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.level import Level
from alf_layered.hierarchy.transitions import is_outcome, reached
from alf_layered.levels.default_sac import default_sac
from alf_layered.skills.discriminator import Discriminator
from alf_layered.skills.options import SkillOptions
from alf_layered.skills.records import SkillInfo, SkillRows
from alf_layered.skills.rewards import clipped, diayn
from alf_layered.skills.skill_level import SkillLevel

Nest = Any

DiscriminatorInfo = namedtuple(
    "DiscriminatorInfo", ["algorithm", "state", "skill", "valid"], default_value=()
)
DiscriminatorInfo.__doc__ = """What the discriminator learns from, with the algorithm's own info.

Fields:
    algorithm: the algorithm's info.
    state: `[B, S]`, state of the level above.
    skill: `[B, ...]`, that led there.
    valid: `[B]`, bool, whether one did.
"""


@alf.configurable
@checked()
class DIAYNLevel(SkillLevel):
    """Each decision earns what the state after it tells of the skill, by a network of this level.

    The planner above shows the state and plans with the skills; its model has no part in the
    reward.

    Args:
        discriminator_ctor: called with the number of dimensions of the state and the skills' spec.
    """

    symmetry_breaking_steps = 0  # the discriminator tells skills apart, not the planner's model

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: BoundedTensorSpec,
        *args: Any,
        above: Level,
        algorithm_ctor: Callable[..., Algorithm] = default_sac,
        discriminator_ctor: Callable[..., Discriminator] = Discriminator,
        options: SkillOptions = SkillOptions(),
        optimizer: torch.optim.Optimizer | None = None,
        name: str = "DIAYNLevel",
        **kwargs: Any,
    ) -> None:
        check_constructor(discriminator_ctor, f"discriminator_ctor of level {name!r}")
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            *args,
            above=above,
            algorithm_ctor=algorithm_ctor,
            options=options,
            knows_start=False,
            optimizer=optimizer or Adam(lr=3e-4),
            name=name,
            **kwargs,
        )
        self.discriminator = discriminator_ctor(self.above.predictor.latent_state_dim, input_spec)

    def intrinsic_reward(self, rows: SkillRows) -> Tensor:
        posterior = self.discriminator.log_prob(rows.after, rows.skill)
        return clipped(
            diayn(posterior, self.prior.log_prob(rows.skill)),
            self._scheduled(self._options.clip_low),
            self._scheduled(self._options.clip_high),
        )

    # ---- training -------------------------------------------------------------------------------

    @torch.no_grad()
    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: SkillInfo, batch_info: Nest
    ) -> tuple[TimeStep, DiscriminatorInfo]:
        led_to = reached(root_inputs)
        state, _ = self.above.encode(led_to.above)
        valid = is_outcome(root_inputs.step_type)
        self.discriminator.observe(state, valid)
        steps, info = super().preprocess_experience(root_inputs, rollout_info, batch_info)
        return steps, DiscriminatorInfo(info, state, led_to.input, valid)

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: DiscriminatorInfo) -> AlgStep:
        step = super().train_step(inputs, state, rollout_info.algorithm)
        return step._replace(info=rollout_info._replace(algorithm=step.info))

    def calc_loss(self, info: DiscriminatorInfo) -> LossInfo:
        """With the cross entropy of the discriminator; they train different parameters."""
        found = super().calc_loss(info.algorithm)
        error = -self.discriminator.log_prob(info.state, info.skill)
        error = torch.where(info.valid, error, 0.0)
        return found._replace(loss=found.loss + (error if found.loss.ndim else error.mean()))

    def after_update(self, root_inputs: Nest, info: DiscriminatorInfo) -> None:
        super().after_update(root_inputs, info.algorithm)
