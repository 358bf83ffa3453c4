"""Agent with its optional parts, containers, action repetition."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave
from probe import ST, mask_last, steps
from torch import nn

import alf
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def agent(parts=(), action_spec=ACT, rl="ac", **kw):
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
    from alf.algorithms.agent import Agent

    n = nets()
    a = dict(config=config(), optimizer=sgd())
    if rl == "ac":
        a["rl_algorithm_cls"] = partial(
            ActorCriticAlgorithm,
            actor_network_ctor=n["actor_dist"],
            value_network_ctor=n["value"],
            epsilon_greedy=0.0,
        )
    else:
        from cases_rl import squashed_actor

        from alf.algorithms.sac_algorithm import SacAlgorithm

        a["rl_algorithm_cls"] = partial(
            SacAlgorithm,
            actor_network_cls=squashed_actor(),
            critic_network_cls=n["critic"],
            epsilon_greedy=0.0,
        )
    feat = 3
    if "repr" in parts:
        from alf.algorithms.encoding_algorithm import EncodingAlgorithm

        a["representation_learner_cls"] = partial(EncodingAlgorithm, encoder_cls=n["enc"])
        feat = 4
    if "icm" in parts:
        from alf.algorithms.icm_algorithm import ICMAlgorithm

        a["intrinsic_reward_module"] = ICMAlgorithm(
            action_spec,
            encoding_net=n["enc"](TensorSpec((feat,))),
            hidden_size=4,
            activation=torch.tanh,
        )
    if "goal" in parts:
        from alf.algorithms.goal_generator import RandomCategoricalGoalGenerator

        a["goal_generator"] = RandomCategoricalGoalGenerator(OBS, 3)
        cat = alf.nest.utils.NestConcat
        a["rl_algorithm_cls"] = partial(
            ActorCriticAlgorithm,
            epsilon_greedy=0.0,
            actor_network_ctor=partial(n["actor_dist"], preprocessing_combiner=cat()),
            value_network_ctor=partial(n["value"], preprocessing_combiner=cat()),
        )
    if "entropy" in parts:
        a["enforce_entropy_target"] = True
    a.update(kw)
    g = set_params(Agent(OBS, action_spec, **a))
    g.set_path("")
    return g


_P = {
    "plain": (),
    "repr": ("repr",),
    "entropy": ("entropy",),
    "icm": ("icm",),
    "goal": ("goal",),
    "repr_icm": ("repr", "icm"),
    "all": ("repr", "icm", "entropy"),
}
for _n, _parts in _P.items():

    @case("agent.%s.state_specs" % _n)
    def _(parts=_parts):
        a = agent(parts)
        return [a.train_state_spec, a.rollout_state_spec, a.predict_state_spec, a.on_policy]

    @case("agent.%s.predict_step" % _n)
    def _(parts=_parts):
        with no_noise():
            a = agent(parts)
            r = a.predict_step(steps()[0], zero_state(a.predict_state_spec))
            return [r.output, r.state]

    @case("agent.%s.rollout_step" % _n)
    def _(parts=_parts):
        with no_noise():
            a = agent(parts)
            r = a.rollout_step(steps()[0], zero_state(a.rollout_state_spec))
            return [r.output, r.state]

    @case("agent.%s.rollout_info_parts" % _n)
    def _(parts=_parts):
        """Which fields of the info are filled."""
        with no_noise():
            a = agent(parts)
            i = a.rollout_step(steps()[0], zero_state(a.rollout_state_spec)).info
            return [
                f
                for f in i._fields
                if not (isinstance(getattr(i, f), tuple) and getattr(i, f) == ())
            ]

    @case("agent.%s.calc_loss" % _n)
    def _(parts=_parts):
        with no_noise():
            a = agent(parts)
            inp = steps()
            info = time_major(
                lambda t: a.rollout_step(inp[t], zero_state(a.rollout_state_spec)).info, 3
            )
            li = a.calc_loss(info)
            return [mask_last(li.loss), li.scalar_loss, sorted(li.extra)]


for _ic, _ec in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.0), (2.0, 0.25)):

    @case("agent.rewards.intrinsic%s_extrinsic%s" % (_ic, _ec))
    def _(ic=_ic, ec=_ec):
        """The RL algorithm sees the weighted sum; `rewards` keeps the parts."""
        with no_noise():
            a = agent(("icm",), intrinsic_reward_coef=ic, extrinsic_reward_coef=ec)
            out = []
            for x in steps():
                r = a.rollout_step(x, zero_state(a.rollout_state_spec))
                out.append([r.info.rewards, r.info.rl.reward])
            return out


@case("agent.off_policy.train_and_loss")
def _():
    with no_noise():
        a = agent((), rl="sac")
        inp = steps()

        def one(t):
            with torch.no_grad():
                r = a.rollout_step(inp[t], zero_state(a.rollout_state_spec)).info
            return a.train_step(inp[t], zero_state(a.train_state_spec), r).info

        li = a.calc_loss(time_major(one, 3))
        return [a.on_policy, mask_last(li.loss), sorted(li.extra)]


@case("agent.off_policy.preprocess_sums_rewards")
def _():
    with no_noise():
        from alf.experience_replayers.replay_buffer import BatchInfo

        a = agent(("icm",), rl="sac", intrinsic_reward_coef=0.5)
        x = steps()[1]
        before = x.reward.clone()
        with torch.no_grad():
            i = a.rollout_step(x, zero_state(a.rollout_state_spec)).info
        x = x._replace(reward=before.clone())
        add = lambda n: alf.nest.map_structure(lambda v: v.unsqueeze(1), n)
        exp, info = a.preprocess_experience(
            add(x), i._replace(rewards=add(i.rewards), rl=(), irm=()), BatchInfo()
        )
        return [i.rewards, exp.reward, exp.reward.squeeze(1) - before]


@case("agent.optimizer_assignment")
def _():
    import json

    a = agent(("repr", "icm"))
    return [[o["optimizer"], len(o["parameters"])] for o in json.loads(a.get_optimizer_info())]


@case("agent.paths")
def _():
    a = agent(("repr", "icm"))
    return [a.path, a._rl_algorithm.path, a._irm.path, a._representation_learner.path]


@case("agent.nested_action_uses_nested_entropy_target")
def _():
    a = agent(
        ("entropy",),
        action_spec=dict(a=ACT, b=DISC),
        entropy_target_cls=partial(
            __import__(
                "alf.algorithms.entropy_target_algorithm", fromlist=["x"]
            ).NestedEntropyTargetAlgorithm,
            target_entropy=dict(a=0.1, b=0.2),
        ),
    )
    with no_noise():
        inp = steps(dict(a=ACT, b=DISC))
        info = time_major(
            lambda t: a.rollout_step(inp[t], zero_state(a.rollout_state_spec)).info, 3
        )
        return sorted(a.calc_loss(info).extra["entropy_target"])


@case("agent.reward_weight_algorithm")
def _():
    from alf.algorithms.lagrangian_reward_weight_algorithm import LagrangianRewardWeightAlgorithm

    with no_noise():
        a = agent(
            (),
            reward_spec=REW2,
            reward_weight_algorithm_cls=partial(
                LagrangianRewardWeightAlgorithm, reward_thresholds=[0.5, -0.5], optimizer=sgd(0.5)
            ),
        )
        x = steps(rdim=2)[0]
        x = x._replace(untransformed=x)
        i = a.rollout_step(x, zero_state(a.rollout_state_spec)).info
        out = [i.rw, a._rl_algorithm.reward_weights]
        tm = alf.nest.map_structure(lambda v: v.unsqueeze(0), i.rw)
        a.after_train_iter(None, i._replace(rw=tm, rl=()))
        return out + [a._rl_algorithm.reward_weights]


@case("agent.fields")
def _():
    from alf.algorithms.agent import AgentInfo, AgentState

    return [list(AgentInfo._fields), list(AgentState._fields)]


@case("agent.helper.accumulate_algorithm_rewards")
def _():
    from alf.algorithms.agent_helpers import AgentHelper

    seen = []
    r = AgentHelper.accumulate_algorithm_rewards(
        [torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])],
        [0.5, 2.0],
        ["a", "b"],
        "rw",
        lambda n, v: seen.append([n, v.clone()]),
    )
    return [r, seen]


@case("agent.helper.state_specs")
def _():
    from alf.algorithms.agent import AgentState
    from alf.algorithms.agent_helpers import AgentHelper
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    h = AgentHelper(AgentState)
    h.register_algorithm(A(train_state_spec=TensorSpec((2,)), predict_state_spec=()), "rl")
    return h.state_specs()


# ------------------------------------------------------------------ containers
def leaf(name="Leaf", f=lambda x: 2 * x, spec=(), on_policy=None):
    from alf.algorithms.algorithm import Algorithm

    class Leaf(Algorithm):
        def __init__(self):
            super().__init__(train_state_spec=spec, is_on_policy=on_policy, name=name)

        def predict_step(self, inputs, state):
            return AlgStep(
                output=f(inputs),
                state=alf.nest.map_structure(lambda s: s + 1, state),
                info=dict(seen=inputs),
            )

        rollout_step = predict_step

        def train_step(self, inputs, state, rollout_info=None):
            return AlgStep(
                output=f(inputs), state=state, info=dict(seen=inputs, rollout=rollout_info)
            )

        def calc_loss(self, info):
            return LossInfo(
                loss=info["seen"].sum(-1), scalar_loss=info["seen"].mean(), extra=info["seen"] * 1
            )

        def preprocess_experience(self, root_inputs, rollout_info, batch_info):
            return root_inputs + 1, rollout_info * 10

        def after_update(self, root_inputs, info):
            self.updated = getattr(self, "updated", 0) + 1

    return Leaf()


@case("agent.sequential.predict_step")
def _():
    from alf.algorithms.containers import SequentialAlg

    s = SequentialAlg(leaf("a"), torch.tanh, leaf("b", lambda x: x + 1, TensorSpec((1,))))
    r = s.predict_step(wave(2, 3), zero_state(s.predict_state_spec))
    return [r.output, len(r.info), [float(x.sum()) for x in alf.nest.flatten(r.state)]]


@case("agent.sequential.named_inputs_and_output")
def _():
    from alf.algorithms.containers import SequentialAlg

    s = SequentialAlg(
        a=leaf("a"),
        b=("input", leaf("b", lambda x: x - 1)),
        c=(("a", "b"), lambda x: x[0] * x[1]),
        output=dict(x="a", y="c"),
    )
    r = s.rollout_step(wave(2, 3), zero_state(s.rollout_state_spec))
    return r.output


@case("agent.sequential.info_and_state_as_input")
def _():
    from alf.algorithms.containers import SequentialAlg

    s = SequentialAlg(
        a=leaf("a", spec=TensorSpec((1,))),
        b=(("info.a", "state.a"), lambda x: (x[0]["seen"], x[1])),
    )
    r = s.predict_step(wave(2, 3), zero_state(s.predict_state_spec))
    return list(r.output)


@case("agent.sequential.network_with_state")
def _():
    from alf.algorithms.containers import SequentialAlg
    from alf.networks import LSTMEncodingNetwork

    s = set_params(SequentialAlg(leaf("a"), LSTMEncodingNetwork(TensorSpec((3,)), hidden_size=2)))
    r = s.predict_step(wave(2, 3), zero_state(s.predict_state_spec))
    return [r.output, [x for x in alf.nest.flatten(r.state)]]


def _pair(a=None, b=None):
    from alf.algorithms.containers import SequentialAlg

    s = SequentialAlg(a or leaf("a"), b or leaf("b"))
    return s, s.rollout_step(wave(2, 3), zero_state(s.rollout_state_spec)).info


@case("agent.sequential.train_step")
def _():
    s, i = _pair()
    r = s.train_step(wave(2, 3), zero_state(s.train_state_spec), i)
    return [r.output, sorted(float(x.double().sum()) for x in alf.nest.flatten(r.info))]


@case("agent.sequential.calc_loss")
def _():
    s, i = _pair()
    li = s.calc_loss(i)
    return [li.loss, li.scalar_loss, sorted(float(x.sum()) for x in alf.nest.flatten(li.extra))]


@case("agent.sequential.preprocess_experience")
def _():
    s, i = _pair()
    i = alf.nest.map_structure(lambda x: x, i)
    r, j = s.preprocess_experience(torch.zeros(1), {k: v["seen"] for k, v in i.items()}, None)
    return [r, sorted(float(x.sum()) for x in alf.nest.flatten(j))]


@case("agent.sequential.after_update")
def _():
    a, b = leaf("a"), leaf("b")
    s, i = _pair(a, b)
    s.after_update(None, i)
    return [a.updated, b.updated]


for _n, _f in dict(
    same_name=lambda S: S(leaf("a"), leaf("a")),
    not_callable=lambda S: S(3),
    mixed_policy=lambda S: S(leaf("a", on_policy=True), leaf("b", on_policy=False)),
    contradiction=lambda S: S(leaf("a", on_policy=True), is_on_policy=False),
).items():

    @case("agent.sequential.refuses_%s" % _n)
    def _(f=_f):
        from alf.algorithms.containers import SequentialAlg

        return refuses(lambda: f(SequentialAlg))


@case("agent.sequential.on_policy_from_members")
def _():
    from alf.algorithms.containers import SequentialAlg

    b = leaf("b")
    s = SequentialAlg(leaf("a", on_policy=True), b)
    return [s.on_policy, b.on_policy, SequentialAlg(leaf("c")).on_policy]


@case("agent.echo")
def _():
    """The echo output of a step is the echo input of the next."""
    from alf.algorithms.algorithm import Algorithm
    from alf.algorithms.containers import EchoAlg

    class A(Algorithm):
        def __init__(self):
            super().__init__(train_state_spec=TensorSpec((1,)), name="a")

        def predict_step(self, inputs, state):
            return AlgStep(
                output=dict(output=inputs["input"] + inputs["echo"], echo=inputs["echo"] + 1),
                state=state + 1,
                info=inputs["echo"],
            )

        rollout_step = predict_step

        def train_step(self, inputs, state, rollout_info):
            return self.predict_step(inputs, state)

        def calc_loss(self, info):
            return LossInfo(loss=info)

    e = EchoAlg(A(), TensorSpec((3,)))
    s, out = zero_state(e.predict_state_spec), []
    for _ in range(3):
        r = e.rollout_step(torch.ones(2, 3), s)
        s = r.state
        out.append(r.output)
    return [e.train_state_spec, out, list(s), e.calc_loss(torch.ones(1))]


@case("agent.rl_alg_wrapper")
def _():
    from alf.algorithms.containers import RLAlgWrapper

    a = leaf("a", spec=TensorSpec((1,)), on_policy=False)
    w = RLAlgWrapper(OBS, ACT, a, config=config())
    r = w.predict_step(wave(2, 3), zero_state(w.predict_state_spec))
    return [w.on_policy, w.train_state_spec, r.output, r.state, w.calc_loss(dict(seen=wave(2, 3)))]


# ---------------------------------------------------- dynamic action repetition
def dar(**kw):
    from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
    from alf.algorithms.sac_algorithm import SacAlgorithm

    n = nets()
    cat = alf.nest.utils.NestConcat
    return set_params(
        DynamicActionRepeatAgent(
            OBS,
            ACT,
            config=config(),
            K=kw.pop("K", 3),
            optimizer=sgd(),
            rl_algorithm_cls=partial(
                SacAlgorithm,
                actor_network_cls=squashed_actor(),
                critic_network_cls=n["critic"],
                q_network_cls=partial(n["q"], preprocessing_combiner=cat()),
                epsilon_greedy=0.0,
            ),
            **kw,
        )
    )


@case("agent.action_repeat.state_specs")
def _():
    a = dar()
    return [a.train_state_spec, a.rollout_state_spec, a.predict_state_spec]


@case("agent.action_repeat.predict_sequence")
def _():
    """The action is kept for the chosen number of steps."""
    with no_noise():
        a = dar()
        s, out = zero_state(a.predict_state_spec), []
        for t in range(5):
            r = a.predict_step(
                step(obs=wave(2, 3, k=1.0 + t), step_type=[F if t == 0 else M, M]), s
            )
            s = r.state
            out.append([r.output, s.steps])
        return out


@case("agent.action_repeat.rollout_accumulates_reward")
def _():
    with no_noise():
        a = dar(gamma=0.5)
        s, out = zero_state(a.rollout_state_spec), []
        for t in range(4):
            x = step(
                obs=wave(2, 3, k=1.0 + t),
                step_type=[F if t == 0 else M, M],
                reward=torch.tensor([1.0, 2.0 + t]),
            )
            with torch.no_grad():
                r = a.rollout_step(x._replace(untransformed=x), s)
            s = r.state
            out.append([r.output, s.steps, s.k, s.rl_reward, s.rl_discount])
        return out


@case("agent.action_repeat.refuses_discrete")
def _():
    from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent

    return refuses(lambda: DynamicActionRepeatAgent(OBS, DISC, config=config()))
