"""The settings of TD-MPC2 (Hansen et al., 2024, arXiv 2310.16828): defaults are the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from alf_layered.allowed import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    FINITE,
    POSITIVE,
    SHARE,
    Range,
    check_fields,
)
from alf_layered.planners.mppi import MPPI


@dataclass(frozen=True, kw_only=True)
class WorldModelSettings:
    """The networks.

    Attributes:
        encoder_layers: layers of an encoder of vectors.
        encoder_dim: units of its hidden layers.
        mlp_dim: units of both hidden layers of all other networks.
        latent_dim: S.
        n_q: members of the ensemble of action values, at least 2.
        simnorm_dim: features of a group of SimNorm.
        dropout: of the first layer of action values, while these are trained.
        num_bins: of rewards and values.
        vmin: lowest bin, `symlog` of the value.
        vmax: highest one.
        log_std_min: of the policy.
        log_std_max: of the policy.
        channels: of the convolutions, for images.
        terminates: whether terminations are predicted; False saves a head where there are none.
    """

    encoder_layers: int = 2
    encoder_dim: int = 256
    mlp_dim: int = 512
    latent_dim: int = 512
    n_q: int = 5
    simnorm_dim: int = 8
    dropout: float = 0.01
    num_bins: int = 101
    vmin: float = -10.0
    vmax: float = 10.0
    log_std_min: float = -10.0
    log_std_max: float = 2.0
    channels: int = 32
    terminates: bool = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            encoder_layers=AT_LEAST_1,
            encoder_dim=AT_LEAST_1,
            mlp_dim=AT_LEAST_1,
            latent_dim=AT_LEAST_1,
            n_q=Range(2),
            simnorm_dim=AT_LEAST_1,
            dropout=BELOW_1,
            num_bins=Range(2),
            vmin=FINITE,
            vmax=FINITE,
            log_std_min=FINITE,
            log_std_max=FINITE,
            channels=AT_LEAST_1,
        )
        if self.latent_dim % self.simnorm_dim:
            raise ValueError(
                f"latent_dim {self.latent_dim} is no multiple of simnorm_dim {self.simnorm_dim}"
            )
        for low, high in (("vmin", "vmax"), ("log_std_min", "log_std_max")):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} {getattr(self, low)} is not below {high} {getattr(self, high)}"
                )


@dataclass(frozen=True, kw_only=True)
class PlanningSettings:
    """How decisions are made.

    Attributes:
        acts_by: "plan", or "policy": the policy prior decides, at a small part of the cost.
        mppi: the search; None: the paper's, with two more iterations from 20 action dimensions on.
        n_policy_plans: candidates that come from the policy prior.
        plan_interval: decisions after which a new plan is made, at most the horizon.
        early_updates: updates during which `early_mppi` searches.
        early_mppi: a cheaper search for the time in which the model is poor anyway.
        evaluates_by: the plan that evaluation executes: the "mean" of the search, the "best" plan
            or a "random" elite as in rollouts.
    """

    acts_by: Literal["plan", "policy"] = "plan"
    mppi: MPPI | None = None
    n_policy_plans: int = 24
    plan_interval: int = 1
    early_updates: int = 0
    early_mppi: MPPI | None = None
    evaluates_by: Literal["mean", "best", "random"] = "mean"

    def __post_init__(self) -> None:
        check_fields(
            self, n_policy_plans=AT_LEAST_0, plan_interval=AT_LEAST_1, early_updates=AT_LEAST_0
        )
        if (self.early_updates > 0) != (self.early_mppi is not None):
            raise ValueError(
                f"early_updates is {self.early_updates} and early_mppi is {self.early_mppi}: "
                "give both or neither"
            )
        for mppi in (self.mppi, self.early_mppi):
            if mppi is not None and self.n_policy_plans > mppi.n_samples:
                raise ValueError(
                    f"n_policy_plans {self.n_policy_plans} is more than the search's n_samples "
                    f"{mppi.n_samples}"
                )

    def search(self, action_dim: int, updates: int) -> MPPI:
        """The search for actions of so many dimensions after so many updates."""
        if self.early_mppi is not None and updates < self.early_updates:
            return self.early_mppi
        return self.mppi or MPPI(n_iterations=6 if action_dim < 20 else 8)


@dataclass(frozen=True, kw_only=True)
class TDMPC2Settings:
    """How the model is learned and used.

    Attributes:
        model: the networks.
        planning: how decisions are made.
        horizon: H, transitions of a span and decisions of a plan.
        lr: learning rate of everything but the encoders.
        encoder_lr_scale: theirs, relative to `lr`.
        gradient_clipping: largest norm of the model's gradients, and of the policy's.
        rho: weight of each later transition of a span, relative to the one before it.
        consistency_coef: weight of the error of the latent dynamics.
        reward_coef: of the rewards' cross entropy.
        value_coef: of the action values' one.
        termination_coef: of the terminations' one.
        entropy_coef: of the policy's entropy.
        tau: share by which the target action values and the scale follow.
        log_prob: "density": the policy's log density; "upstream": that of the reference code, whose
            Gaussian part counts once more for each action dimension.
        bf16: whether matrix products are in bfloat16.
        compile: arguments of `torch.compile` for losses and plan values, e.g. `{"mode":
            "reduce-overhead"}` for CUDA graphs; None: they run as they are, which on a CPU is as
            fast.
    """

    model: WorldModelSettings = field(default_factory=WorldModelSettings)
    planning: PlanningSettings = field(default_factory=PlanningSettings)
    horizon: int = 3
    lr: float = 3e-4
    encoder_lr_scale: float = 0.3
    gradient_clipping: float = 20.0
    rho: float = 0.5
    consistency_coef: float = 20.0
    reward_coef: float = 0.1
    value_coef: float = 0.1
    termination_coef: float = 0.05
    entropy_coef: float = 1e-4
    tau: float = 0.01
    log_prob: Literal["density", "upstream"] = "density"
    bf16: bool = False
    compile: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            horizon=AT_LEAST_1,
            lr=POSITIVE,
            encoder_lr_scale=AT_LEAST_0,
            gradient_clipping=POSITIVE,
            rho=POSITIVE,
            consistency_coef=AT_LEAST_0,
            reward_coef=AT_LEAST_0,
            value_coef=AT_LEAST_0,
            termination_coef=AT_LEAST_0,
            entropy_coef=AT_LEAST_0,
            tau=SHARE,
        )
        if self.planning.plan_interval > self.horizon:
            raise ValueError(
                f"plan_interval {self.planning.plan_interval} is longer than the horizon "
                f"{self.horizon}"
            )


SIZES: Mapping[str, WorldModelSettings] = {
    "small": WorldModelSettings(
        encoder_layers=2, encoder_dim=64, mlp_dim=128, latent_dim=64, n_q=2
    ),
    "1M": WorldModelSettings(encoder_layers=2, encoder_dim=256, mlp_dim=384, latent_dim=128, n_q=2),
    "5M": WorldModelSettings(),
    "19M": WorldModelSettings(
        encoder_layers=3, encoder_dim=1024, mlp_dim=1024, latent_dim=768, n_q=5
    ),
    "48M": WorldModelSettings(
        encoder_layers=4, encoder_dim=1792, mlp_dim=1792, latent_dim=768, n_q=5
    ),
    "317M": WorldModelSettings(
        encoder_layers=5, encoder_dim=4096, mlp_dim=4096, latent_dim=1376, n_q=8
    ),
}
"""The paper's model sizes, and "small" for work without a GPU."""


def model_of_size(size: str, **changes: Any) -> WorldModelSettings:
    """One of `SIZES`, with changes."""
    if size not in SIZES:
        raise ValueError(f"there is no model size {size!r}, the sizes are {list(SIZES)}")
    return replace(SIZES[size], **changes)
