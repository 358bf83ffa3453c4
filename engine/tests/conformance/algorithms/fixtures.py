"""Small specs, time steps and nets shared by the cases."""

from functools import partial

import torch
from harness import seq, set_params, wave

import alf
from alf.data_structures import StepType, TimeStep, namedtuple
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBS = TensorSpec((3,))
ACT = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
DISC = BoundedTensorSpec((), dtype=torch.int64, minimum=0, maximum=2)
REW2 = TensorSpec((2,))
F, M, L = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


def config(**kw):
    from alf.algorithms.config import TrainerConfig

    kw.setdefault("root_dir", "unused")
    kw.setdefault("unroll_length", 4)
    kw.setdefault("mini_batch_length", 2)
    kw.setdefault("mini_batch_size", 4)
    kw.setdefault("num_updates_per_train_iter", 1)
    kw.setdefault("epsilon_greedy", 0.0)
    return TrainerConfig(**kw)


def nets():
    """Constructors for small networks."""
    from alf.networks import (
        ActorDistributionNetwork,
        ActorNetwork,
        CriticNetwork,
        EncodingNetwork,
        QNetwork,
        ValueNetwork,
    )

    t = torch.tanh
    return dict(
        actor_dist=partial(ActorDistributionNetwork, fc_layer_params=(4,), activation=t),
        actor=partial(ActorNetwork, fc_layer_params=(4,), activation=t),
        critic=partial(CriticNetwork, joint_fc_layer_params=(4,), activation=t),
        q=partial(QNetwork, fc_layer_params=(4,), activation=t),
        value=partial(ValueNetwork, fc_layer_params=(4,), activation=t),
        enc=partial(EncodingNetwork, fc_layer_params=(4,), activation=t),
    )


def squashed_actor():
    """Actor whose normal has a state dependent deviation and a tanh squash."""
    from alf.networks import ActorDistributionNetwork, NormalProjectionNetwork

    return partial(
        ActorDistributionNetwork,
        fc_layer_params=(4,),
        activation=torch.tanh,
        continuous_projection_net_ctor=partial(
            NormalProjectionNetwork,
            state_dependent_std=True,
            scale_distribution=True,
            std_transform=torch.nn.functional.softplus,
        ),
    )


def step(
    B=2,
    obs=None,
    step_type=None,
    reward=None,
    discount=None,
    action_spec=ACT,
    prev_action=None,
    rdim=None,
    observation=None,
):
    """A batch of time steps with fixed contents."""
    if observation is None:
        observation = wave(B, 3) if obs is None else obs
    if step_type is None:
        step_type = torch.full((B,), M, dtype=torch.int32)
    elif not isinstance(step_type, torch.Tensor):
        step_type = torch.tensor(step_type, dtype=torch.int32)
    if reward is None:
        reward = seq(B) if rdim is None else seq(B, rdim)
    if discount is None:
        discount = torch.ones(B)
    if prev_action is None:
        prev_action = alf.nest.map_structure(
            lambda s: (
                wave(B, *s.shape, amp=0.8) if s.is_continuous else (torch.arange(B) % 3).to(s.dtype)
            ),
            action_spec,
        )
    return TimeStep(
        step_type=step_type,
        reward=reward,
        discount=discount,
        observation=observation,
        prev_action=prev_action,
        env_id=torch.arange(B),
    )


# [T=4, B=3]: an episode end with discount 0, a time limit and a plain stretch
STEP_TYPES = torch.tensor([[F, M, M], [M, L, M], [L, F, M], [F, M, M]], dtype=torch.int32)
DISCOUNTS = torch.tensor([[1.0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
REWARDS = torch.tensor([[0.0, 1, -1], [2, 0.5, 1], [-1, 0, 3], [0.25, 1, -2]])
VALUES = torch.tensor([[0.5, -0.2, 1], [1.5, 0.3, -1], [0.1, 0.9, 2], [-0.7, 0.4, 0.6]])
TARGETS = torch.tensor([[0.4, -0.1, 0.9], [1.2, 0.5, -0.8], [0.3, 0.7, 1.5], [-0.5, 0.2, 0.8]])
REWARDS2 = torch.stack([REWARDS, 0.5 * REWARDS + 1], dim=-1)
VALUES2 = torch.stack([VALUES, 1 - VALUES], dim=-1)
TARGETS2 = torch.stack([TARGETS, 1 - TARGETS], dim=-1)

_PRISTINE = {
    n: t.clone()
    for n, t in dict(
        STEP_TYPES=STEP_TYPES,
        DISCOUNTS=DISCOUNTS,
        REWARDS=REWARDS,
        VALUES=VALUES,
        TARGETS=TARGETS,
        REWARDS2=REWARDS2,
        VALUES2=VALUES2,
        TARGETS2=TARGETS2,
    ).items()
}


def restore():
    """Undo what code under test did to the shared tensors in place."""
    for n, t in _PRISTINE.items():
        globals()[n].copy_(t)


TrajInfo = namedtuple(
    "TrajInfo",
    [
        "reward",
        "step_type",
        "discount",
        "action",
        "action_distribution",
        "value",
        "reward_weights",
        "log_prob",
    ],
    default_value=(),
)


def traj(multi=False, **kw):
    return TrajInfo(
        reward=REWARDS2 if multi else REWARDS,
        step_type=STEP_TYPES,
        discount=DISCOUNTS,
        value=VALUES2 if multi else VALUES,
        **kw,
    )


def sgd(lr=0.1):
    return alf.optimizers.SGD(lr=lr)


def zero_state(spec, B=2):
    return alf.nest.map_structure(lambda s: s.zeros((B,)), spec)


def time_major(step_fn, T=2):
    """Stack the infos of T calls along a new leading axis."""
    from alf.utils import dist_utils

    infos = [step_fn(t) for t in range(T)]
    spec = dist_utils.extract_spec(infos[0])
    infos = [dist_utils.distributions_to_params(i) for i in infos]
    out = alf.nest.map_structure(lambda *xs: torch.stack(xs), *infos)
    return dist_utils.params_to_distributions(out, spec)
