"""What every algorithm is: the methods that trainers and parent algorithms call."""

from __future__ import annotations

from typing import Any

from torch import nn

from alf.data_structures import AlgStep, LossInfo

__all__ = ["AlgStep", "AlgorithmInterface", "LossInfo"]

Nest = Any


class AlgorithmInterface(nn.Module):
    """The interface of algorithms, reinforcement learning or not.

    Time is the first axis of what was gathered over time: `[T, B, ...]`. One iteration is

    1. rollout: `rollout_step()` for every environment step; what it returns as `info` goes to
       `calc_loss()` (on-policy) or to the replay buffer (off-policy);
    2. training: `train_from_unroll()`, or `train_from_replay_buffer()` which calls
       `preprocess_experience()`, `train_step()`, `calc_loss()`; each gradient step is followed by
       `after_update()`;
    3. `after_train_iter()`.
    """

    @property
    def on_policy(self) -> bool | None:
        """Is the training on-policy? None where it is not known yet."""
        raise NotImplementedError(f"{type(self).__name__}.on_policy")

    def set_on_policy(self, is_on_policy: bool) -> None:
        """Say whether the training is on-policy."""
        raise NotImplementedError(f"{type(self).__name__}.set_on_policy()")

    @property
    def path(self) -> str:
        """Dotted path of this algorithm's part inside `state` and `rollout_info` of the buffer."""
        raise NotImplementedError(f"{type(self).__name__}.path")

    def set_path(self, path: str) -> None:
        """Set `path`; an algorithm with parts that read the buffer sets theirs too."""
        raise NotImplementedError(f"{type(self).__name__}.set_path()")

    def predict_step(self, inputs: Nest, state: Nest) -> AlgStep:
        """Compute the output for evaluation.

        Args:
            inputs: nest of [B, ...].
            state: as `predict_state_spec` says.

        Returns:
            `AlgStep`; its info is for looking at only.
        """
        raise NotImplementedError(f"{type(self).__name__}.predict_step()")

    def rollout_step(self, inputs: Nest, state: Nest) -> AlgStep:
        """Compute the output during interaction. It must not write to anything of this object.

        Args:
            inputs: nest of [B, ...].
            state: as `rollout_state_spec` says.

        Returns:
            `AlgStep`; its info has the same structure at every step. Its leaves are tensors or
            distributions.
        """
        raise NotImplementedError(f"{type(self).__name__}.rollout_step()")

    def train_step(self, inputs: Nest, state: Nest, rollout_info: Nest) -> AlgStep:
        """Compute what `calc_loss()` needs, from replayed data.

        Args:
            inputs: nest of [B, ...], or of [T * B, ...] if steps are trained independently.
            state: as `train_state_spec` says.
            rollout_info: what `rollout_step()` gave as info.
        """
        raise NotImplementedError(f"{type(self).__name__}.train_step()")

    def train_step_offline(
        self, inputs: Nest, state: Nest, rollout_info: Nest, pre_train: bool = False
    ) -> AlgStep:
        """As `train_step()`, for data of an offline buffer.

        Args:
            pre_train: whether this is before any interaction.
        """
        raise NotImplementedError(f"{type(self).__name__}.train_step_offline()")

    def calc_loss(self, info: Nest) -> LossInfo:
        """The loss of each step of each sample, from infos stacked to [T, B, ...]."""
        raise NotImplementedError(f"{type(self).__name__}.calc_loss()")

    def calc_loss_offline(self, info: Nest, pre_train: bool = False) -> LossInfo:
        """As `calc_loss()`, for infos of `train_step_offline()`."""
        raise NotImplementedError(f"{type(self).__name__}.calc_loss_offline()")

    def preprocess_experience(
        self, root_inputs: Nest, rollout_info: Nest, batch_info: Any
    ) -> tuple[Nest, Nest]:
        """Change a batch from the replay buffer before it is trained on.

        Args:
            root_inputs: nest of [B, T, ...], the inputs of the root algorithm.
            rollout_info: nest of [B, T, ...], this algorithm's own.
            batch_info: `BatchInfo`; gives access to the replay buffer.

        Returns:
            `root_inputs` and `rollout_info`, whose structure may be another one.
        """
        return root_inputs, rollout_info

    def train_iter(self) -> int:
        """One iteration; returns the number of trained samples, repeated ones counted again."""
        raise NotImplementedError(f"{type(self).__name__}.train_iter()")

    def train_from_unroll(self, experience: Nest, train_info: Nest) -> int:
        """Train from what an unroll gave, `[T, B, ...]`; returns the number of trained samples."""
        raise NotImplementedError(f"{type(self).__name__}.train_from_unroll()")

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        """Train from this algorithm's own replay buffer; returns the number of trained samples.

        Args:
            update_global_counter: whether each mini batch may count in the global counter; it does
                if `config.update_counter_every_mini_batch`. Only for the root algorithm.
        """
        raise NotImplementedError(f"{type(self).__name__}.train_from_replay_buffer()")

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        """Called after each gradient step.

        Args:
            root_inputs: nest of [T, B, ...], the inputs of the root algorithm.
            info: nest of [T, B, ...], what `calc_loss()` got.
        """

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        """Called at the end of each iteration that had an unroll.

        Args:
            root_inputs: nest of [T, B, ...], the inputs of the root algorithm; None if
                `config.use_root_inputs_for_after_train_iter` is False.
            rollout_info: nest of [T, B, ...], this algorithm's own.
        """
