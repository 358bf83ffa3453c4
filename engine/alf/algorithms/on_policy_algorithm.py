"""Base of algorithms which learn from what they have just done."""

from __future__ import annotations

from typing import Any

from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, TimeStep


class OnPolicyAlgorithm(OffPolicyAlgorithm):
    """An algorithm that trains once on each unroll, with the gradients of `rollout_step()`.

    One iteration is, with `config` meaning `TrainerConfig`:

        for _ in range(config.unroll_length):
            step = rollout_step(time_step, state)
            time_step = env.step(step.output)
        update_with_gradient(calc_loss(all step.info))
        after_update(all time steps, all step.info)
    """

    @property
    def on_policy(self) -> bool | None:
        return True

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        """As `rollout_step()`, so that such an algorithm can also be trained by replay."""
        return self.rollout_step(inputs, state)
