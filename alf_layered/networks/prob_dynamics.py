"""The networks of an ensemble of dynamics models: a mixture of Gaussians and a termination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

import alf
from alf_layered.allowed import AT_LEAST_1, FINITE, checked
from alf_layered.networks.ensemble_mlp import EnsembleMLP
from alf_layered.networks.running_moments import RunningMoments
from alf_layered.networks.spaces import Space, as_spec, width


class DynamicsOutput(NamedTuple):
    """What N members say of rows L, in the network's own scale.

    Fields:
        mean: `[N, *L, M, S]`.
        log_std: `[N, *L, M, S]`.
        log_weight: `[N, *L, M]`, of the modes; normalised.
        term_logit: `[N, *L]`.
    """

    mean: torch.Tensor
    log_std: torch.Tensor
    log_weight: torch.Tensor
    term_logit: torch.Tensor


class Head(NamedTuple):
    """A part of the last layer: weight `[N, h, out]` and bias `[N, 1, out]`."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, hidden, self.weight)

    def scaled(self, unit: torch.Tensor) -> Head:
        """With outputs in another unit `[out]`.

        The matrix lies in memory column by column: with few columns a product takes a third of the
        time then.
        """
        return Head(_by_column(self.weight * unit), self.bias * unit)

    def beside(self, other: Head) -> Head:
        """Both as one, whose last outputs are the other's."""
        weight = torch.cat([self.weight, other.weight], dim=-1)
        return Head(_by_column(weight), torch.cat([self.bias, other.bias], dim=-1))


def _by_column(weight: torch.Tensor) -> torch.Tensor:
    """Matrices `[N, h, out]` that lie in memory column by column."""
    return weight.transpose(1, 2).contiguous().transpose(1, 2)


class Heads(NamedTuple):
    """The last layer by what it says."""

    mean: Head
    log_std: Head
    mode: Head
    termination: Head


@alf.configurable
@checked(n_modes=AT_LEAST_1, n_members=AT_LEAST_1, hidden=AT_LEAST_1, log_std_bounds=FINITE)
class ProbFCDynamics(nn.Module):
    """N fully connected networks from state, context and action to a mixture of M Gaussians.

    Args:
        state_space: of the latent state.
        context_space: of what is constant in an episode.
        action_space: discrete actions enter one-hot.
        n_modes: M.
        n_members: N.
        hidden: units of the hidden layers.
        ignore_context: whether the dynamics are the same in every context.
        normalize_inputs: whether the inputs are standardised by running moments, which are
            updated by training alone.
        log_std_bounds: limits of the logarithm of the deviations, in the network's scale.
    """

    def __init__(
        self,
        state_space: Space,
        context_space: Space,
        action_space: Space,
        n_modes: int = 1,
        n_members: int = 1,
        hidden: Sequence[int] = (128, 128),
        ignore_context: bool = True,
        normalize_inputs: bool = False,
        log_std_bounds: tuple[float, float] = (-10.0, 2.0),
    ) -> None:
        super().__init__()
        state, context, action = (
            width(as_spec(s)) for s in (state_space, context_space, action_space)
        )
        self._ignore_context = ignore_context
        self._log_std_bounds = log_std_bounds
        self._outputs = [n_modes * state, n_modes * state, n_modes, 1]
        self._modes = (n_modes, state)
        widths = [state, 0 if ignore_context else context, action]
        self.net = EnsembleMLP(widths, hidden, sum(self._outputs), n_members=n_members)
        self.inputs = RunningMoments(sum(widths)) if normalize_inputs else None

    def forward(
        self, state: torch.Tensor, context: torch.Tensor, action: torch.Tensor
    ) -> DynamicsOutput:
        """For parts `[N or 1, *L, width]`, whose axes L broadcast."""
        parts = self._standardized((state, context, action))
        mean, log_std, mode, termination = self.net(*parts).split(self._outputs, dim=-1)
        return DynamicsOutput(
            mean=mean.unflatten(-1, self._modes),
            log_std=log_std.unflatten(-1, self._modes).clamp(*self._log_std_bounds),
            log_weight=torch.log_softmax(mode, dim=-1),
            term_logit=termination.squeeze(-1),
        )

    def observe(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        valid: torch.Tensor,
    ) -> None:
        """Updates the inputs' moments with rows `[R, width]` where `valid` `[R]`."""
        if self.inputs is not None:
            parts = (state, action) if self._ignore_context else (state, context, action)
            self.inputs.update(torch.cat(parts, dim=-1), valid)

    def hidden_steps(
        self,
    ) -> Callable[[torch.Tensor, torch.Tensor], Callable[[int, torch.Tensor], torch.Tensor]]:
        """The hidden layers of rollouts; no gradients.

        State, context, action and a one for the bias lie side by side. To multiply the actions of
        all steps beforehand would save fewer operations than it costs to write and read
        `[H, N, R, h]` numbers.

        Returns:
            A function that for contexts `[R, C]` and actions `[H, R, A]` returns a function of a
            step and its states `[N, R, S]`.
        """
        members = self.net.n_members
        weight, bias = self.net.weights[0], self.net.biases[0]
        if self.inputs is not None:  # the moments go into the matrix: the loop knows nothing of it
            weight = weight / self.inputs.scale[:, None]
            bias = bias - torch.matmul(self.inputs.mean, weight).unsqueeze(1)
        for_rows = self.net.hidden_layers(torch.cat([weight, bias], dim=1))

        def for_actions(
            context: torch.Tensor, actions: torch.Tensor
        ) -> Callable[[int, torch.Tensor], torch.Tensor]:
            rows = actions.shape[1]
            hidden = for_rows(rows)
            x = weight.new_ones(members, rows, weight.shape[1] + 1)
            state_slot, context_slot, action_slot, _ = x.split([*self.net.widths, 1], dim=-1)
            if not self._ignore_context:
                context_slot.copy_(context)
            action = actions.unbind(0)

            def step(t: int, state: torch.Tensor) -> torch.Tensor:
                state_slot.copy_(state)
                action_slot.copy_(action[t])
                return hidden(x)

            return step

        return for_actions

    def heads(self) -> Heads:
        """The last layer, for callers that need a part of its outputs."""
        weights = self.net.weights[-1].split(self._outputs, dim=-1)
        biases = self.net.biases[-1].split(self._outputs, dim=-1)
        return Heads(*(Head(w, b) for w, b in zip(weights, biases, strict=True)))

    def std(self, log_std: torch.Tensor) -> torch.Tensor:
        """Deviations `[N, R, M, S]` from the head's output `[N, R, M S]`."""
        return log_std.unflatten(-1, self._modes).clamp(*self._log_std_bounds).exp()

    def _standardized(self, parts: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        state, context, action = parts
        if self._ignore_context:
            context = context[..., :0]
        if self.inputs is None:
            return state, context, action
        means = self.inputs.mean.split(self.net.widths)
        scales = self.inputs.scale.split(self.net.widths)
        parts = (state, context, action)
        return [(x - m) / s for x, m, s in zip(parts, means, scales, strict=True)]
