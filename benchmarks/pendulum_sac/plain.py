"""The floor: soft actor-critic on Pendulum-v1 written by hand in plain torch."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contender import BATCH_SIZE, CAPACITY, GAMMA, HIDDEN, LR, TAU, Contender

WIDTH = HIDDEN[0]


class Replay:
    """Columns of transitions."""

    def __init__(self, n_obs: int, n_act: int) -> None:
        widths = {"obs": n_obs, "action": n_act, "reward": 1, "next_obs": n_obs, "alive": 1}
        self.columns = {k: torch.zeros(CAPACITY, w) for k, w in widths.items()}
        self.size = 0

    def add(self, **rows: Tensor) -> None:
        count = len(rows["obs"])
        for name, column in self.columns.items():
            column[self.size : self.size + count] = rows[name]
        self.size += count

    def sample(self, batch_size: int) -> dict[str, Tensor]:
        index = torch.randint(self.size, (batch_size,))
        return {name: column[index] for name, column in self.columns.items()}


class PlainSac(Contender):
    """Critics are one `bmm`, Adam is fused.

    Args:
        n_envs: environments, stepped one after the other.
        both_states: train actor and temperature on both states of each transition, as ALF does,
            instead of on the first; that is 1.4 times the work.
    """

    def __init__(self, n_envs: int, *, both_states: bool) -> None:
        super().__init__(n_envs)
        self._both_states = both_states
        self._envs = [gymnasium.make("Pendulum-v1").unwrapped for _ in range(n_envs)]
        self._age = 0
        self._obs = self._reset()
        self._actor = nn.Sequential(
            *(nn.Linear(3, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()),
            nn.Linear(WIDTH, 2),
        )
        self._critic = [nn.Parameter(p) for p in _critic_parameters()]
        self._target = [p.detach().clone() for p in self._critic]
        self._log_alpha = nn.Parameter(torch.zeros(()))
        groups = [self._actor.parameters(), self._critic, [self._log_alpha]]
        self._optimizers = [torch.optim.Adam(g, lr=LR, fused=True) for g in groups]
        self._replay = Replay(3, 1)

    def _reset(self) -> Tensor:
        return torch.from_numpy(np.stack([env.reset()[0] for env in self._envs]))

    def roll_out(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def update(self, updates: int) -> None:
        for _ in range(updates):
            self._update()

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
            self.update(self.n_envs)

    @torch.no_grad()
    def _step(self) -> None:
        action, _ = self._act(self._obs)
        control = action.numpy() * 2
        results = [env.step(a) for env, a in zip(self._envs, control, strict=True)]
        obs = torch.from_numpy(np.stack([r[0] for r in results]))
        reward = torch.tensor([[r[1]] for r in results], dtype=torch.float32)
        self._replay.add(
            obs=self._obs, action=action, reward=reward, next_obs=obs, alive=torch.ones_like(reward)
        )
        self._age += 1
        self._obs = self._reset() if self._age % 200 == 0 else obs

    def _update(self) -> None:
        batch = self._replay.sample(BATCH_SIZE)
        obs, next_obs = batch["obs"], batch["next_obs"]
        alpha = self._log_alpha.detach().exp()
        if self._both_states:
            states = torch.cat([obs, next_obs])
            action, log_pi = self._act(states)
            next_action, next_log_pi = (x[len(obs) :].detach() for x in (action, log_pi))
        else:
            states = obs
            action, log_pi = self._act(obs)
            with torch.no_grad():
                next_action, next_log_pi = self._act(next_obs)
        with torch.no_grad():
            value = _values(self._target, next_obs, next_action).amin(0) - alpha * next_log_pi
            target = batch["reward"] + GAMMA * batch["alive"] * value
        q = _values(self._critic, obs, batch["action"])
        critic_loss = 0.5 * (q - target).square().mean(1).sum()
        frozen = [p.detach() for p in self._critic]
        q_pi = _values(frozen, states, action).amin(0)
        actor_loss = (alpha * log_pi - q_pi).mean()
        alpha_loss = -(self._log_alpha * (log_pi.detach() - 1.0)).mean()
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        (critic_loss + actor_loss + alpha_loss).backward()
        for optimizer in self._optimizers:
            optimizer.step()
        torch._foreach_lerp_(self._target, [p.detach() for p in self._critic], TAU)

    def _act(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, 1] in [-1, 1] and their log densities [B, 1]."""
        mean, log_std = self._actor(obs).chunk(2, dim=-1)
        log_std = log_std.clamp(-20, 2)
        noise = torch.randn_like(mean)
        raw = mean + log_std.exp() * noise
        density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squash = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
        return raw.tanh(), (density - squash).sum(-1, keepdim=True)


def _critic_parameters() -> list[Tensor]:
    made = []
    for n_in, n_out in ((4, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)):
        bound = n_in**-0.5
        made.append(torch.empty(2, n_out, n_in).uniform_(-bound, bound))
        made.append(torch.empty(2, 1, n_out).uniform_(-bound, bound))
    return made


def _values(params: list[Tensor], obs: Tensor, action: Tensor) -> Tensor:
    """Values [2, B, 1] of both critics."""
    w1, b1, w2, b2, w3, b3 = params
    x = torch.cat([obs, action], dim=-1).expand(2, -1, -1)
    # weights as [out, in]: a last layer stored as [in, 1] takes ten times as long
    x = torch.baddbmm(b1, x, w1.mT).relu()
    x = torch.baddbmm(b2, x, w2.mT).relu()
    return torch.baddbmm(b3, x, w3.mT)
