"""SAC of TorchRL, put together from its parts as in its own example, eager."""

from __future__ import annotations

import torch
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymEnv, SerialEnv
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SoftUpdate
from torchrl.objectives.sac import SACLoss

from .contender import BATCH_SIZE, CAPACITY, GAMMA, HIDDEN, LR, TAU, Contender

# Its collector has costs for each batch of frames: fewer, larger ones favour it.
STEPS_PER_BATCH = 25


class TorchRLSac(Contender):
    """Environments in a `SerialEnv`, its fastest for Pendulum; frames come in batches."""

    def __init__(self, n_envs: int) -> None:
        super().__init__(n_envs)
        env = GymEnv("Pendulum-v1") if n_envs == 1 else SerialEnv(n_envs, _make_env)
        actor, critic = _actor(), _critic()
        self._collector = Collector(
            env,
            actor,
            frames_per_batch=STEPS_PER_BATCH * n_envs,
            total_frames=-1,
            trust_policy=True,
        )
        self._frames = iter(self._collector)
        self._replay = TensorDictReplayBuffer(
            storage=LazyTensorStorage(CAPACITY), batch_size=BATCH_SIZE
        )
        self._loss = SACLoss(
            actor, critic, num_qvalue_nets=2, loss_function="l2", target_entropy=-1.0
        )
        self._loss.make_value_estimator(gamma=GAMMA)
        self._follow = SoftUpdate(self._loss, tau=TAU)
        parts = (self._loss.actor_network_params, self._loss.qvalue_network_params)
        groups = [list(part.flatten_keys().values()) for part in parts]
        groups.append([self._loss.log_alpha])
        self._optimizers = [torch.optim.Adam(group, lr=LR) for group in groups]

    def roll_out(self, steps: int) -> None:
        for _ in range(steps // STEPS_PER_BATCH):
            self._replay.extend(next(self._frames).reshape(-1))

    def update(self, updates: int) -> None:
        for _ in range(updates):
            loss = self._loss(self._replay.sample())
            total = loss["loss_actor"] + loss["loss_qvalue"] + loss["loss_alpha"]
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            total.backward()
            for optimizer in self._optimizers:
                optimizer.step()
            self._follow.step()

    def train(self, steps: int) -> None:
        for _ in range(steps // STEPS_PER_BATCH):
            self.roll_out(STEPS_PER_BATCH)
            self.update(STEPS_PER_BATCH * self.n_envs)


def _make_env() -> GymEnv:
    return GymEnv("Pendulum-v1")


def _actor() -> ProbabilisticActor:
    net = nn.Sequential(
        MLP(in_features=3, out_features=2, num_cells=list(HIDDEN), activation_class=nn.ReLU),
        NormalParamExtractor(scale_mapping="exp"),
    )
    return ProbabilisticActor(
        TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -2.0, "high": 2.0, "tanh_loc": False},
        return_log_prob=True,
    )


def _critic() -> ValueOperator:
    net = MLP(in_features=4, out_features=1, num_cells=list(HIDDEN), activation_class=nn.ReLU)
    return ValueOperator(net, in_keys=["action", "observation"])
