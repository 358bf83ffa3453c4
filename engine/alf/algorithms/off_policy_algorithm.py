"""Base of algorithms which learn from a replay buffer."""

from __future__ import annotations

from alf.algorithms.rl_algorithm import RLAlgorithm


class OffPolicyAlgorithm(RLAlgorithm):
    """An algorithm that stores what `rollout_step()` gives and trains with `train_step()`.

    One iteration is, with `config` meaning `TrainerConfig`:

        for _ in range(config.unroll_length):
            step = rollout_step(time_step, state)
            store (time_step, step.output, step.info) in the replay buffer
            time_step = env.step(step.output)
        for _ in range(config.num_updates_per_train_iter):
            experience = a mini batch from the replay buffer
            info = train_step(experience.time_step, state, experience.rollout_info).info
            update_with_gradient(calc_loss(info))
            after_update(experience.time_step, info)
    """

    @property
    def on_policy(self) -> bool | None:
        return False
