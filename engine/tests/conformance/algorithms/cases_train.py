"""Whole training iterations on a small deterministic environment."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave
from torch import nn

import alf
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.environments.alf_environment import AlfEnvironment
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class Env(AlfEnvironment):
    """Two copies; observations follow the step and the last action. Episodes of the
    copies last three and four steps; the first ends by a terminal state, the second
    by a time limit."""

    def __init__(self, action_spec=ACT, rdim=None):
        self._a, self._r = action_spec, rdim
        self._t = torch.zeros(2, dtype=torch.int64)
        self._limit = torch.tensor([3, 4])
        super().__init__()
        self.resets = 0

    batched = property(lambda self: True)
    batch_size = property(lambda self: 2)
    is_tensor_based = property(lambda self: True)

    def env_info_spec(self):
        return {}

    def observation_spec(self):
        return OBS

    def action_spec(self):
        return self._a

    def reward_spec(self):
        return TensorSpec(()) if self._r is None else TensorSpec((self._r,))

    def _make(self, action, first):
        last = (self._t == self._limit) & ~first
        x = self._t.float().unsqueeze(-1) * 0.3 + torch.tensor([0.1, -0.2, 0.5])
        a = alf.nest.flatten(action)[0].float().reshape(2, -1).sum(-1)
        obs = torch.sin(x + 0.2 * a.unsqueeze(-1) + torch.tensor([[0.0], [1.0]]))
        reward = torch.where(first, torch.zeros(2), 0.5 * obs.sum(-1) - 0.1 * a)
        if self._r is not None:
            reward = torch.stack([reward] + [0.5 * reward + 0.1] * (self._r - 1), -1)
        st = torch.where(
            first, torch.tensor(F), torch.where(last, torch.tensor(L), torch.tensor(M))
        )
        disc = torch.where(last & torch.tensor([True, False]), torch.tensor(0.0), torch.tensor(1.0))
        return TimeStep(
            step_type=st.to(torch.int32),
            reward=reward,
            discount=disc,
            observation=obs,
            prev_action=action,
            env_id=torch.arange(2, dtype=torch.int32),
            env_info={},
        )

    def _reset(self):
        self._t = torch.zeros(2, dtype=torch.int64)
        zero = alf.nest.map_structure(lambda s: s.zeros((2,)), self._a)
        return self._make(zero, torch.ones(2, dtype=torch.bool))

    def _step(self, action):
        done = self._t == self._limit
        self._t = torch.where(done, torch.zeros_like(self._t), self._t + 1)
        if done.any():
            action = alf.nest.map_structure(
                lambda a: torch.where(
                    done.reshape([2] + [1] * (a.ndim - 1)), torch.zeros_like(a), a
                ),
                action,
            )
        return self._make(action, done)


def ac(cls="ac", action_spec=ACT, rdim=None, rnn=False, loss=None, env=None, **cfg):
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
    from alf.algorithms.actor_critic_loss import ActorCriticLoss
    from alf.algorithms.ppo_algorithm import PPOAlgorithm
    from alf.algorithms.ppo_loss import PPOLoss

    n = nets()
    if rnn:
        from cases_rl import _rnn

        n = _rnn()
    env = env or Env(action_spec, rdim)
    C = PPOAlgorithm if cls == "ppo" else ActorCriticAlgorithm
    loss = loss or (
        PPOLoss(normalize_advantages=False, entropy_regularization=0.01)
        if cls == "ppo"
        else ActorCriticLoss(gamma=0.9)
    )
    a = C(
        OBS,
        action_spec,
        reward_spec=env.reward_spec(),
        actor_network_ctor=n["actor_dist"],
        value_network_ctor=n["value"],
        env=env,
        config=config(**cfg),
        optimizer=sgd(0.05),
        loss=loss,
    )
    set_params(a)
    a.set_path("")
    return a


def run(a, n=3):
    out = []
    with no_noise():
        for _ in range(n):
            k = a.train_iter()
            out.append([int(k), params_of(a)])
    return out


_ON = {
    "default": dict(unroll_length=4),
    "longer": dict(unroll_length=7),
    "short": dict(unroll_length=2),
    "discrete": dict(unroll_length=4, action_spec=DISC),
    "two_rewards": dict(unroll_length=4, rdim=2),
    "no_mask": dict(unroll_length=5, mask_out_loss_for_last_step=False),
    "rnn": dict(unroll_length=4, rnn=True),
}
for _n, _kw in _ON.items():

    @case("train.on_policy.%s" % _n)
    def _(kw=_kw):
        """Steps trained and parameters after each of three iterations."""
        return run(ac(**kw))


@case("train.on_policy.reward_scaling_transformer")
def _():
    from alf.algorithms.data_transformer import RewardScaling, create_data_transformer

    cfg = config(unroll_length=4)
    cfg.data_transformer = create_data_transformer(partial(RewardScaling, 0.1), OBS)
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
    from alf.algorithms.actor_critic_loss import ActorCriticLoss

    n = nets()
    a = set_params(
        ActorCriticAlgorithm(
            OBS,
            ACT,
            actor_network_ctor=n["actor_dist"],
            value_network_ctor=n["value"],
            env=Env(),
            config=cfg,
            optimizer=sgd(0.05),
            loss=ActorCriticLoss(gamma=0.9),
        )
    )
    a.set_path("")
    return run(a)


_PPO = {
    "whole_buffer": dict(mini_batch_size=100, num_updates_per_train_iter=1),
    "two_updates": dict(mini_batch_size=100, num_updates_per_train_iter=2),
    "mini_batch_length_2": dict(mini_batch_size=100, mini_batch_length=2),
    "mini_batch_length_1": dict(mini_batch_size=100, mini_batch_length=1),
    "two_mini_batches": dict(mini_batch_size=1),
    "uneven_mini_batches": dict(unroll_length=6, mini_batch_size=4, mini_batch_length=1),
    "discrete": dict(mini_batch_size=100, action_spec=DISC),
    "two_rewards": dict(mini_batch_size=100, rdim=2),
    "rnn": dict(mini_batch_size=100, rnn=True),
    "rnn_rollout_state": dict(mini_batch_size=100, rnn=True, use_rollout_state=True),
    "rnn_rollout_state_chopped": dict(
        mini_batch_size=100, mini_batch_length=2, rnn=True, use_rollout_state=True
    ),
}
for _n, _kw in _PPO.items():

    @case("train.ppo.%s" % _n)
    def _(kw=_kw):
        kw = dict(
            dict(
                unroll_length=4,
                mini_batch_length=None,
                whole_replay_buffer_training=True,
                clear_replay_buffer=True,
            ),
            **kw,
        )
        return run(ac("ppo", **kw))


@case("train.unroll.bookkeeping")
def _():
    """What two successive unrolls of a fixed policy contain."""
    from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm

    class A(OnPolicyAlgorithm):
        def __init__(self):
            super().__init__(
                OBS,
                ACT,
                train_state_spec=TensorSpec((), torch.int64),
                env=Env(),
                config=config(unroll_length=4),
            )
            self._w = nn.Parameter(torch.zeros(1))

        def rollout_step(self, inputs, state):
            return AlgStep(
                output=0.1 * torch.ones(2, 2) * (1 + state.float()).unsqueeze(-1),
                state=state + 1,
                info=dict(s=state),
            )

    a = A()
    a.set_path("")
    out = []
    for _ in range(2):
        with torch.no_grad():
            e = a.unroll(4)
        out.append(
            [
                e.step_type,
                e.reward,
                e.time_step.discount,
                e.observation,
                e.time_step.prev_action,
                e.action,
                e.rollout_info,
            ]
        )
    return out


@case("train.unroll.state_reset_at_first_step")
def _():
    """A state is zero again where an episode begins."""
    from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm

    class A(OnPolicyAlgorithm):
        def __init__(self):
            super().__init__(
                OBS,
                ACT,
                train_state_spec=TensorSpec((), torch.int64),
                env=Env(),
                config=config(unroll_length=9),
            )
            self._w = nn.Parameter(torch.zeros(1))

        def rollout_step(self, inputs, state):
            return AlgStep(output=torch.zeros(2, 2), state=state + 1, info=state)

    a = A()
    a.set_path("")
    e = a.unroll(9)
    return [e.step_type, e.rollout_info]


def off(**cfg):
    from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm

    log = []

    class A(OffPolicyAlgorithm):
        def __init__(self):
            super().__init__(
                OBS, ACT, train_state_spec=(), env=Env(), config=config(**cfg), optimizer=sgd(0.1)
            )
            self._w = nn.Parameter(torch.zeros(1))

        def rollout_step(self, inputs, state):
            return AlgStep(output=torch.zeros(2, 2), info=dict(r=inputs.reward))

        def train_step(self, inputs, state, rollout_info):
            log.append(["train", list(inputs.reward.shape)])
            return AlgStep(
                output=(), info=LossInfo(loss=self._w + 0 * inputs.reward, extra=inputs.reward)
            )

        def calc_loss(self, info):
            log.append(["loss", list(info.loss.shape)])
            return info

        def after_update(self, root_inputs, info):
            log.append(["after_update", list(root_inputs.reward.shape)])

        def after_train_iter(self, root_inputs, info):
            log.append(["after_train_iter", root_inputs is not None])

        def preprocess_experience(self, root_inputs, rollout_info, batch_info):
            log.append(
                [
                    "preprocess",
                    list(root_inputs.reward.shape),
                    sorted(
                        f
                        for f in batch_info._fields
                        if not (
                            isinstance(getattr(batch_info, f), tuple)
                            and getattr(batch_info, f) == ()
                        )
                    ),
                ]
            )
            return root_inputs, rollout_info

    a = A()
    a.set_path("")
    return a, log


for _n, _kw in dict(
    default=dict(),
    two_updates=dict(num_updates_per_train_iter=2),
    length1=dict(mini_batch_length=1),
    collect_first=dict(initial_collect_steps=16),
    several_iterations_per_unroll=dict(unroll_length=2),
).items():

    @case("train.off_policy.%s.hooks" % _n)
    def _(kw=_kw):
        """Order of hooks with the shapes they see, and the number of steps trained."""
        a, log = off(
            **dict(
                dict(
                    unroll_length=4,
                    mini_batch_size=4,
                    mini_batch_length=2,
                    replay_buffer_length=32,
                    whole_replay_buffer_training=False,
                    clear_replay_buffer=False,
                ),
                **kw,
            )
        )
        n = [int(a.train_iter()) for _ in range(3)]
        return [n, log]


@case("train.off_policy.whole_buffer_cleared")
def _():
    a, log = off(
        unroll_length=4,
        mini_batch_size=100,
        mini_batch_length=2,
        whole_replay_buffer_training=True,
        clear_replay_buffer=True,
    )
    n = [int(a.train_iter()) for _ in range(2)]
    return [n, int(a._replay_buffer.total_size), log]


@case("train.off_policy.loss_of_last_steps_is_masked")
def _():
    out = []
    for m in (True, False):
        a, _ = off(
            unroll_length=5,
            mini_batch_size=100,
            mini_batch_length=1,
            whole_replay_buffer_training=True,
            clear_replay_buffer=True,
            mask_out_loss_for_last_step=m,
        )
        with no_noise():
            a.train_iter()
        out += [p.detach().clone() for p in a.parameters()]
    return out


for _clip in (0.01, 1e-6):

    @case("train.trac.clip%s" % _clip)
    def _(clip=_clip):
        from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
        from alf.algorithms.trac_algorithm import TracAlgorithm

        n = nets()
        a = set_params(
            TracAlgorithm(
                OBS,
                ACT,
                env=Env(),
                config=config(unroll_length=4),
                action_dist_clip_per_dim=clip,
                ac_algorithm_cls=partial(
                    ActorCriticAlgorithm,
                    actor_network_ctor=n["actor_dist"],
                    value_network_ctor=n["value"],
                    epsilon_greedy=0.0,
                    optimizer=sgd(0.5),
                ),
            )
        )
        a.set_path("")
        return run(a)


@case("train.sarsa.on_policy")
def _():
    from cases_rl import squashed_actor

    from alf.algorithms.sarsa_algorithm import SarsaAlgorithm

    n = nets()
    a = set_params(
        SarsaAlgorithm(
            OBS,
            ACT,
            squashed_actor(),
            n["critic"],
            env=Env(),
            config=config(unroll_length=5),
            on_policy=True,
            epsilon_greedy=0.0,
            actor_optimizer=sgd(),
            critic_optimizer=sgd(),
            alpha_optimizer=sgd(),
            target_update_period=1,
        )
    )
    a.set_path("")
    return run(a)


for _int in (1, 2):

    @case("train.ppg.interval%d" % _int)
    def _(interval=_int):
        """Policy phase each iteration, auxiliary phase every `interval` iterations."""
        from alf.algorithms.ppg import PPGAuxOptions
        from alf.algorithms.ppg_algorithm import PPGAlgorithm

        alf.config("PPOLoss", compute_advantages_internally=True, normalize_advantages=False)
        a = set_params(
            PPGAlgorithm(
                OBS,
                ACT,
                env=Env(),
                config=config(
                    unroll_length=4,
                    mini_batch_size=100,
                    mini_batch_length=None,
                    whole_replay_buffer_training=True,
                    clear_replay_buffer=True,
                ),
                aux_options=PPGAuxOptions(
                    interval=interval, mini_batch_size=100, num_updates_per_train_iter=1
                ),
                encoding_network_ctor=nets()["enc"],
                policy_optimizer=sgd(0.05),
                aux_optimizer=sgd(0.05),
                epsilon_greedy=0.0,
            )
        )
        a.set_path("")
        out = []
        with no_noise():
            for i in range(4):
                k = a.train_iter()
                out.append([int(k), params_of(a)])
        return out


@case("train.merlin.on_policy")
def _():
    from cases_representation import enc, merlin

    from alf.algorithms import merlin_algorithm as m
    from alf.algorithms.actor_critic_loss import ActorCriticLoss
    from alf.algorithms.decoding_algorithm import DecodingAlgorithm

    e = enc(OBS)
    d = DecodingAlgorithm(
        enc(TensorSpec((4,)), last_layer_size=3, last_activation=alf.math.identity), loss_weight=0.5
    )
    a = set_params(
        m.MerlinAlgorithm(
            OBS,
            ACT,
            e,
            d,
            env=Env(),
            config=config(unroll_length=4),
            latent_dim=4,
            lstm_size=(5,),
            memory_size=3,
            optimizer=sgd(0.05),
            rl_loss=ActorCriticLoss(gamma=0.9),
        )
    )
    a.set_path("")
    return run(a)


for _parts in ((), ("repr",), ("icm",), ("entropy",), ("repr", "icm", "entropy")):

    @case("train.agent.%s" % ("_".join(_parts) or "plain"))
    def _(parts=_parts):
        from cases_agent import agent

        a = agent(parts, env=Env(), config=config(unroll_length=4), optimizer=sgd(0.05))
        return run(a)
