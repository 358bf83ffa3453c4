"""Model free RL algorithms."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave
from probe import ALL, ST, build, collect, mask_last, probe, steps

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

MIXED = (DISC, ACT)
NO_TARGET = tuple(p for p in ALL if p != "target_update")
LOSSY = ("calc_loss", "update")


# --------------------------------------------------------------------- SAC
def sac(action_spec=ACT, rdim=None, cls=None, **kw):
    from alf.algorithms.sac_algorithm import SacAlgorithm

    n = nets()
    kw.setdefault("actor_network_cls", squashed_actor())
    kw.setdefault("critic_network_cls", n["critic"])
    kw.setdefault("q_network_cls", n["q"])
    return (cls or SacAlgorithm)(
        observation_spec=OBS,
        action_spec=action_spec,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        config=config(),
        epsilon_greedy=0.0,
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd(),
        **kw,
    )


probe("rl.sac.continuous", sac)
probe(
    "rl.sac.plain_normal_actor",
    lambda: sac(actor_network_cls=nets()["actor_dist"]),
    parts=("predict_step", "train_step") + LOSSY,
)
probe("rl.sac.no_entropy_reward", lambda: sac(use_entropy_reward=False), parts=LOSSY)
probe("rl.sac.initial_log_alpha", lambda: sac(initial_log_alpha=-1.0), parts=LOSSY)
probe("rl.sac.one_critic", lambda: sac(num_critic_replicas=1), parts=("train_step",) + LOSSY)
probe("rl.sac.three_critics", lambda: sac(num_critic_replicas=3), parts=("train_step",) + LOSSY)
probe("rl.sac.dqda_clipping", lambda: sac(dqda_clipping=0.01), parts=LOSSY)
probe(
    "rl.sac.target_period_2",
    lambda: sac(target_update_tau=0.3, target_update_period=2),
    parts=("target_update",),
)
probe("rl.sac.target_tau_1", lambda: sac(target_update_tau=1.0), parts=("target_update",))
probe("rl.sac.max_log_alpha", lambda: sac(max_log_alpha=-0.5), parts=("target_update",))
probe("rl.sac.target_entropy", lambda: sac(target_entropy=0.3), parts=LOSSY)
probe(
    "rl.sac.target_entropy_callable",
    lambda: sac(target_entropy=lambda spec: 0.7 * spec.shape[0]),
    parts=LOSSY,
)
probe("rl.sac.priority", lambda: sac(calculate_priority=True), parts=("calc_loss",))
probe("rl.sac.two_rewards", lambda: sac(rdim=2), rdim=2)
probe(
    "rl.sac.two_rewards_weighted",
    lambda: sac(rdim=2, reward_weights=[1.0, 0.25]),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe(
    "rl.sac.two_rewards_negative_weight",
    lambda: sac(rdim=2, reward_weights=[1.0, -0.5]),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe(
    "rl.sac.td_lambda_loss",
    lambda: sac(
        critic_loss_ctor=partial(
            __import__("alf.algorithms.td_loss", fromlist=["x"]).TDLoss, td_lambda=0.5, gamma=0.9
        )
    ),
    parts=LOSSY,
)
probe(
    "rl.sac.normalize_entropy_reward",
    lambda: sac(normalize_entropy_reward=True),
    parts=("calc_loss",),
)
probe(
    "rl.sac.reproduce_locomotion",
    lambda: sac(reproduce_locomotion=True),
    parts=("rollout_step",) + LOSSY,
)
probe("rl.sac.discrete", lambda: sac(DISC), DISC)
probe(
    "rl.sac.discrete_alpha",
    lambda: sac(DISC, initial_log_alpha=-2.0),
    DISC,
    parts=("predict_step", "train_step") + LOSSY,
)
probe(
    "rl.sac.discrete_two_rewards",
    lambda: sac(DISC, rdim=2),
    DISC,
    rdim=2,
    parts=("train_step",) + LOSSY,
)


def sac_mixed(**kw):
    q = partial(nets()["q"], preprocessing_combiner=alf.nest.utils.NestConcat())
    return sac(MIXED, q_network_cls=q, **kw)


probe("rl.sac.mixed", sac_mixed, MIXED)
probe(
    "rl.sac.mixed_target_entropy", lambda: sac_mixed(target_entropy=(0.3, -1.0)), MIXED, parts=LOSSY
)
probe(
    "rl.sac.mixed_log_alpha",
    lambda: sac_mixed(initial_log_alpha=-1.0, max_log_alpha=-0.9),
    MIXED,
    parts=("train_step", "target_update"),
)
probe(
    "rl.sac.nested_continuous",
    lambda: sac(
        dict(a=ACT, b=ACT),
        critic_network_cls=partial(
            nets()["critic"], action_preprocessing_combiner=alf.nest.utils.NestConcat()
        ),
    ),
    dict(a=ACT, b=ACT),
    parts=("predict_step", "train_step") + LOSSY,
)


def _prior():
    from alf.algorithms.prior_actor import SameActionPriorActor

    return sac(prior_actor_ctor=SameActionPriorActor, target_kld_per_dim=1.0)


probe("rl.sac.prior_actor", _prior, parts=("train_step",) + LOSSY)


def _sac_repr():
    from alf.algorithms.encoding_algorithm import EncodingAlgorithm

    return sac(repr_alg_ctor=partial(EncodingAlgorithm, encoder_cls=nets()["enc"], optimizer=sgd()))


probe("rl.sac.repr_alg", _sac_repr)


@case("rl.sac.refuses_mixed_with_two_rewards")
def _():
    return refuses(lambda: sac(MIXED, rdim=2))


@case("rl.sac.refuses_prior_actor_with_discrete")
def _():
    from alf.algorithms.prior_actor import SameActionPriorActor

    return refuses(lambda: sac(DISC, prior_actor_ctor=SameActionPriorActor))


@case("rl.sac.refuses_two_discrete_actions")
def _():
    return refuses(lambda: sac([DISC, DISC]))


@case("rl.sac.refuses_mixed_dict")
def _():
    return refuses(lambda: sac(dict(a=DISC, b=ACT)))


@case("rl.sac.critic_optional_for_discrete")
def _():
    return sac(DISC, critic_network_cls=None).train_state_spec


@case("rl.sac.parameter_reset")
def _():
    """after_train_iter resets networks every parameter_reset_period calls."""
    a = build(lambda: sac(parameter_reset_period=2))
    out = []
    before = [p.detach().clone() for p in a.parameters() if p.ndim > 1]
    for _ in range(3):
        a.after_train_iter(None, None)
        now = [p.detach() for p in a.parameters() if p.ndim > 1]
        out.append(sum(bool((x == y).all()) for x, y in zip(before, now)) == len(now))
    return out


@case("rl.sac.names_of_info_fields")
def _():
    from alf.algorithms import sac_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in (
            "SacInfo",
            "SacState",
            "SacCriticState",
            "SacActionState",
            "SacCriticInfo",
            "SacActorInfo",
            "SacLossInfo",
        )
    }


# ------------------------------------------------------------------- QRSAC
def qrsac(rdim=None, **kw):
    from alf.algorithms.qrsac_algorithm import QrsacAlgorithm
    from alf.algorithms.td_loss import TDQRLoss

    n = nets()
    kw.setdefault("critic_loss_ctor", partial(TDQRLoss, num_quantiles=4, td_lambda=0.0))
    return QrsacAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        actor_network_cls=squashed_actor(),
        critic_network_cls=partial(n["critic"], output_tensor_spec=TensorSpec((4,))),
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd(),
        **kw,
    )


probe("rl.qrsac.default", qrsac)
probe(
    "rl.qrsac.min_by_mean",
    lambda: qrsac(min_critic_by_critic_mean=True),
    parts=("train_step",) + LOSSY,
)
probe("rl.qrsac.entropy_reward", lambda: qrsac(use_entropy_reward=True), parts=LOSSY)
probe(
    "rl.qrsac.lambda1",
    lambda: qrsac(
        critic_loss_ctor=partial(
            __import__("alf.algorithms.td_loss", fromlist=["x"]).TDQRLoss,
            num_quantiles=4,
            td_lambda=1.0,
            sum_over_quantiles=True,
        )
    ),
    parts=LOSSY,
)


@case("rl.qrsac.refuses_discrete")
def _():
    from alf.algorithms.qrsac_algorithm import QrsacAlgorithm

    return refuses(lambda: QrsacAlgorithm(OBS, DISC, config=config()))


# ------------------------------------------------------------- DSAC, DOAC
def dsac(cls="dsac", rdim=None, alpha=True, **kw):
    import importlib

    m = importlib.import_module("alf.algorithms.%s_algorithm" % cls)
    C = {"dsac": "DSacAlgorithm", "doac": "DOacAlgorithm"}[cls]
    from alf.algorithms.td_loss import TDQRLoss
    from alf.networks import CriticQuantileNetwork

    kw.setdefault("critic_loss_ctor", partial(TDQRLoss, num_quantiles=4, td_lambda=0.0))
    return getattr(m, C)(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        num_quantiles=4,
        tau_type="fixed",
        actor_network_cls=squashed_actor(),
        critic_network_cls=partial(
            CriticQuantileNetwork,
            obs_act_joint_fc_layer_params=(4,),
            tau_embedding_dim=4,
            obs_act_tau_joint_fc_layer_params=(4,),
            obs_act_activation=torch.tanh,
        ),
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd() if alpha else None,
        **kw,
    )


for _c in ("dsac", "doac"):
    probe("rl.%s.default" % _c, partial(dsac, _c))
    probe("rl.%s.entropy_reward" % _c, partial(dsac, _c, use_entropy_reward=True), parts=LOSSY)
    probe(
        "rl.%s.epistemic_alpha" % _c, partial(dsac, _c, alpha=False), parts=("train_step",) + LOSSY
    )
    probe(
        "rl.%s.three_critics" % _c,
        partial(dsac, _c, num_critic_replicas=3),
        parts=("train_step",) + LOSSY,
    )
    probe(
        "rl.%s.min_by_mean" % _c,
        partial(dsac, _c, min_critic_by_critic_mean=True),
        parts=("train_step",) + LOSSY,
    )
    probe("rl.%s.dqda_clipping" % _c, partial(dsac, _c, dqda_clipping=0.01), parts=LOSSY)
    probe("rl.%s.priority" % _c, partial(dsac, _c, calculate_priority=True), parts=("calc_loss",))
    probe("rl.%s.initial_log_alpha" % _c, partial(dsac, _c, initial_log_alpha=-1.0), parts=LOSSY)

    @case("rl.%s.refuses_unknown_tau_type" % _c)
    def _(c=_c):
        import importlib

        m = importlib.import_module("alf.algorithms.%s_algorithm" % c)
        C = {"dsac": "DSacAlgorithm", "doac": "DOacAlgorithm"}[c]
        return refuses(lambda: getattr(m, C)(OBS, ACT, tau_type="fqf", config=config()))


@case("rl.dsac.info_fields")
def _():
    from alf.algorithms import dsac_algorithm as m

    return [list(m.DSacInfo._fields), list(m.TauInfo._fields)]


def _after_training(make, inputs):
    """rollout_step once training has begun."""
    a = build(make)
    x = inputs[0]
    with torch.no_grad():
        r = a.rollout_step(x, zero_state(a.rollout_state_spec))
    a.train_step(x, zero_state(a.train_state_spec), r.info)
    with torch.no_grad():
        return a.rollout_step(inputs[1], zero_state(a.rollout_state_spec))


for _kw in ({}, dict(explore_delta=1.0), dict(beta_ub=0.0), dict(dqda_clipping=0.005)):

    @case("rl.doac.explore" + "".join(".%s%s" % i for i in _kw.items()))
    def _(kw=_kw):
        with no_noise():
            return _after_training(partial(dsac, "doac", **kw), steps())


# --------------------------------------------------------------------- OAC
def oac(rdim=None, **kw):
    from alf.algorithms.oac_algorithm import OacAlgorithm

    return OacAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        actor_network_cls=squashed_actor(),
        critic_network_cls=nets()["critic"],
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd(),
        **kw,
    )


probe("rl.oac.default", oac)
probe("rl.oac.no_entropy_reward", lambda: oac(use_entropy_reward=False), parts=LOSSY)
for _kw in (
    {},
    dict(explore_delta=1.0),
    dict(beta_ub=0.0),
    dict(explore_delta=0.0),
    dict(dqda_clipping=0.005),
):

    @case("rl.oac.explore" + "".join(".%s%s" % i for i in _kw.items()))
    def _(kw=_kw):
        """Once training began, the mean shifts along the gradient of the upper bound."""
        with no_noise():
            return _after_training(partial(oac, **kw), steps())


@case("rl.oac.refuses_discrete")
def _():
    from alf.algorithms.oac_algorithm import OacAlgorithm

    return refuses(lambda: OacAlgorithm(OBS, DISC, config=config()))


# --------------------------------------------------------------------- DQN
def dqn(rdim=None, **kw):
    from alf.algorithms.dqn_algorithm import DqnAlgorithm

    return DqnAlgorithm(
        observation_spec=OBS,
        action_spec=DISC,
        config=config(),
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        q_network_cls=nets()["q"],
        q_optimizer=sgd(),
        **kw,
    )


probe("rl.dqn.default", dqn)
probe(
    "rl.dqn.online_target_action",
    lambda: dqn(target_net_target_action=False),
    parts=("train_step",) + LOSSY,
)
probe("rl.dqn.one_critic", lambda: dqn(num_critic_replicas=1), parts=("train_step",) + LOSSY)
probe(
    "rl.dqn.rollout_epsilon_0.9", lambda: dqn(rollout_epsilon_greedy=0.9), parts=("rollout_step",)
)
probe("rl.dqn.rollout_epsilon_0", lambda: dqn(rollout_epsilon_greedy=0.0), parts=("rollout_step",))
probe(
    "rl.dqn.rollout_epsilon_half", lambda: dqn(rollout_epsilon_greedy=0.5), parts=("rollout_step",)
)
probe("rl.dqn.two_rewards", lambda: dqn(2), rdim=2, parts=("train_step",) + LOSSY)


@case("rl.dqn.refuses_continuous")
def _():
    from alf.algorithms.dqn_algorithm import DqnAlgorithm

    return refuses(lambda: DqnAlgorithm(OBS, ACT, config=config()))


# -------------------------------------------------------------------- DDPG
def ddpg(rdim=None, **kw):
    from alf.algorithms.ddpg_algorithm import DdpgAlgorithm

    n = nets()
    return DdpgAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        actor_network_ctor=n["actor"],
        critic_network_ctor=n["critic"],
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        **kw,
    )


probe("rl.ddpg.default", ddpg)
probe(
    "rl.ddpg.two_critics",
    lambda: ddpg(num_critic_replicas=2),
    parts=("state_specs", "train_step") + LOSSY,
)
probe("rl.ddpg.dqda_clipping", lambda: ddpg(dqda_clipping=0.01), parts=LOSSY)
probe("rl.ddpg.action_l2", lambda: ddpg(action_l2=0.1), parts=LOSSY)
probe("rl.ddpg.priority", lambda: ddpg(calculate_priority=True), parts=("calc_loss",))
probe(
    "rl.ddpg.two_rewards",
    lambda: ddpg(2, num_critic_replicas=2),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe(
    "rl.ddpg.two_rewards_weighted",
    lambda: ddpg(2, num_critic_replicas=2, reward_weights=[1.0, -0.5]),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe(
    "rl.ddpg.target_tau",
    lambda: ddpg(target_update_tau=0.5, target_update_period=2),
    parts=("target_update",),
)
probe(
    "rl.ddpg.random_action",
    lambda: ddpg(rollout_random_action=1.0),
    parts=("rollout_step",),
    u=0.25,
)


# ------------------------------------------------------------------- SARSA
def sarsa(actor="dist", on_policy=False, alpha=True, **kw):
    from alf.algorithms.sarsa_algorithm import SarsaAlgorithm

    n = nets()
    return SarsaAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        actor_network_ctor=squashed_actor() if actor == "dist" else n["actor"],
        critic_network_ctor=n["critic"],
        on_policy=on_policy,
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd() if alpha else None,
        **kw,
    )


probe("rl.sarsa.stochastic", sarsa)
probe("rl.sarsa.stochastic_on_policy", lambda: sarsa(on_policy=True), on_policy=True)
probe("rl.sarsa.deterministic", lambda: sarsa("det", alpha=False))
probe("rl.sarsa.entropy_reward", lambda: sarsa(use_entropy_reward=True), parts=LOSSY)
probe("rl.sarsa.fixed_alpha", lambda: sarsa(alpha=False, initial_alpha=0.2), parts=LOSSY)
probe("rl.sarsa.no_alpha", lambda: sarsa(initial_alpha=None), parts=("train_step", "calc_loss"))
probe("rl.sarsa.dqda_clipping", lambda: sarsa(dqda_clipping=0.01), parts=LOSSY)
probe("rl.sarsa.priority", lambda: sarsa(calculate_priority=True), parts=("calc_loss",))
probe("rl.sarsa.target_entropy", lambda: sarsa(target_entropy=0.5), parts=LOSSY)
probe("rl.sarsa.three_critics", lambda: sarsa(num_critic_replicas=3), parts=("train_step",) + LOSSY)
probe("rl.sarsa.update_every_step", lambda: sarsa(target_update_period=1), parts=("target_update",))


@case("rl.sarsa.refuses_discrete")
def _():
    from alf.algorithms.sarsa_algorithm import SarsaAlgorithm

    n = nets()
    return refuses(
        lambda: SarsaAlgorithm(
            OBS,
            DISC,
            n["actor_dist"],
            n["critic"],
            config=config(),
            actor_optimizer=sgd(),
            critic_optimizer=sgd(),
        )
    )


@case("rl.sarsa.refuses_smoothed_actor_on_policy")
def _():
    return refuses(lambda: sarsa(on_policy=True, use_smoothed_actor=True))


@case("rl.sarsa.convert_train_state_to_predict_state")
def _():
    a = sarsa()
    return a.convert_train_state_to_predict_state(a.train_state_spec)


@case("rl.sarsa.fields")
def _():
    from alf.algorithms import sarsa_algorithm as m

    return [list(m.SarsaState._fields), list(m.SarsaInfo._fields), list(m.SarsaLossInfo._fields)]


# --------------------------------------------------------------------- MDQ
def mdq(**kw):
    from alf.algorithms.mdq_algorithm import MdqAlgorithm
    from alf.networks import MdqCriticNetwork
    from alf.utils.action_quantizer import ActionQuantizer

    net = MdqCriticNetwork(
        (OBS, ACT),
        action_qt=ActionQuantizer(ACT, "uniform", 3),
        num_critic_replicas=2,
        obs_encoding_layer_params=(4,),
        pre_encoding_layer_params=(4,),
        mid_encoding_layer_params=(4,),
        post_encoding_layer_params=(4,),
        free_form_fc_layer_params=(4,),
    )
    from alf.utils.dist_utils import calc_default_target_entropy_quantized as quantized

    kw.setdefault("distill_noise", 0.0)
    kw.setdefault("target_entropy", partial(quantized, num_bins=15))
    return MdqAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        critic_network=net,
        config=config(),
        epsilon_greedy=0.0,
        critic_optimizer=sgd(0.01),
        alpha_optimizer=sgd(0.01),
        **kw,
    )


probe("rl.mdq.default", mdq)
probe(
    "rl.mdq.initial_log_alpha",
    lambda: mdq(initial_log_alpha=-2.0),
    parts=("predict_step", "train_step") + LOSSY,
)
probe("rl.mdq.target_entropy", lambda: mdq(target_entropy=0.5), parts=LOSSY)
probe(
    "rl.mdq.target_tau",
    lambda: mdq(target_update_tau=0.5, target_update_period=2),
    parts=("target_update",),
)
probe("rl.mdq.distill_noise", lambda: mdq(distill_noise=0.1), parts=("train_step",))


@case("rl.mdq.fields")
def _():
    from alf.algorithms import mdq_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in (
            "MdqCriticState",
            "MdqCriticInfo",
            "MdqState",
            "MdqAlphaInfo",
            "MdqInfo",
            "MdqLossInfo",
        )
    }


# -------------------------------------------------------------------- TAAC
def taac(cls="TaacAlgorithm", rdim=None, **kw):
    from alf.algorithms import taac_algorithm as m

    n = nets()
    return getattr(m, cls)(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        actor_network_cls=squashed_actor(),
        critic_network_cls=n["critic"],
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd(),
        **kw,
    )


for _c in ("TaacAlgorithm", "TaacLAlgorithm", "TaacQAlgorithm"):
    _p = "rl.%s" % _c[:-9].lower()
    probe(_p + ".default", partial(taac, _c))
    probe(
        _p + ".advantage_clipping",
        partial(taac, _c, b1_advantage_clipping=(-0.01, 0.01)),
        parts=("predict_step", "train_step") + LOSSY,
    )
    probe(
        _p + ".initial_alpha",
        partial(taac, _c, initial_alpha=0.1),
        parts=("predict_step", "train_step") + LOSSY,
    )
    probe(_p + ".two_rewards", partial(taac, _c, rdim=2), rdim=2, parts=("train_step",) + LOSSY)
    probe(
        _p + ".randomize_first_state",
        partial(taac, _c, randomize_first_state_tau=True),
        parts=("rollout_step", "train_step"),
        u=0.8,
    )
    probe(
        _p + ".target_entropy",
        partial(taac, _c, target_entropy=(lambda s: 0.4, lambda s: -0.7)),
        parts=LOSSY,
    )
    if _c != "TaacAlgorithm":
        probe(
            _p + ".not_inverse",
            partial(taac, _c, inverse_mode=False),
            parts=("predict_step", "rollout_step", "train_step") + LOSSY,
        )

    for _m in (None, 0, 2):

        @case(_p + ".predict_sequence.max_repeat_%s" % _m)
        def _(c=_c, m=_m):
            """State over five steps: repeats count and forced switches."""
            with no_noise():
                a = build(partial(taac, c, max_repeat_steps=m))
                s, out = zero_state(a.predict_state_spec), []
                for t in range(5):
                    r = a.predict_step(step(obs=wave(2, 3, k=1.0 + t)), s)
                    s = r.state
                    out.append([r.output, s, r.info.b])
                return out

    @case(_p + ".state_tau_of_given_trajectory")
    def _(c=_c):
        """How a step moves a non-zero trajectory."""
        with no_noise():
            a = build(partial(taac, c))
            s = alf.nest.map_structure(
                lambda sp: (
                    wave(2, *sp.shape, k=2.0, amp=0.6) if sp.is_continuous else torch.tensor([0, 3])
                ),
                a.predict_state_spec,
            )
            r = a.predict_step(step(), s)
            return [r.output, r.state, r.info]


@case("rl.taac.refuses_discrete")
def _():
    from alf.algorithms.taac_algorithm import TaacAlgorithm

    return refuses(lambda: TaacAlgorithm(observation_spec=OBS, action_spec=DISC, config=config()))


@case("rl.taacl.refuses_unscaled_action")
def _():
    from alf.algorithms.taac_algorithm import TaacLAlgorithm

    spec = BoundedTensorSpec((2,), minimum=-2.0, maximum=2.0)
    return refuses(lambda: TaacLAlgorithm(observation_spec=OBS, action_spec=spec, config=config()))


@case("rl.taac.fields")
def _():
    from alf.algorithms import taac_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in (
            "Tau",
            "TaacState",
            "TaacCriticInfo",
            "TaacActorInfo",
            "TaacInfo",
            "TaacLossInfo",
            "Distributions",
            "ActPredOutput",
        )
    }


for _multi in (False, True):
    for _bs in ("none", "train", "rollout", "mixed"):

        @case("rl.taac.td_loss.switch_%s%s" % (_bs, ".two_rewards" if _multi else ""))
        def _(multi=_multi, bs=_bs):
            """Bootstraps at the first step (not the zeroth) where either beta is 1."""
            from alf.algorithms.taac_algorithm import TaacInfo, TAACTDLoss

            z = torch.zeros(4, 3, dtype=torch.int64)
            a = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
            b = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
            tb, rb = {"none": (z, z), "train": (a, z), "rollout": (z, a), "mixed": (a, b)}[bs]
            info = TaacInfo(
                reward=REWARDS2 if multi else REWARDS,
                step_type=STEP_TYPES,
                discount=DISCOUNTS,
                b=tb,
                rollout_b=rb,
            )
            l = TAACTDLoss(gamma=[0.9, 0.5] if multi else 0.9)
            return l(info, VALUES2 if multi else VALUES, TARGETS2 if multi else TARGETS).loss * (
                STEP_TYPES != L
            )


# ----------------------------------------------------------------- SEditor
def seditor(**kw):
    from alf.algorithms.seditor_algorithm import SEditorAlgorithm

    n = nets()
    kw.setdefault("reward_weights", [1.0, 0.5])
    kw.setdefault("initial_alpha", [1.0, 1.0])
    return SEditorAlgorithm(
        observation_spec=OBS,
        action_spec=kw.pop("action_spec", ACT),
        reward_spec=REW2,
        config=config(),
        epsilon_greedy=0.0,
        actor_network_ctor=squashed_actor(),
        critic_network_ctor=partial(
            n["critic"], action_preprocessing_combiner=alf.nest.utils.NestConcat()
        ),
        optimizer=sgd(),
        **kw,
    )


probe("rl.seditor.default", seditor, rdim=2)
probe(
    "rl.seditor.soft_clipping",
    lambda: seditor(soft_clipping=True),
    rdim=2,
    parts=("predict_step", "train_step") + LOSSY,
)
probe(
    "rl.seditor.regularize_action_diff",
    lambda: seditor(regularize_action_diff=True),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe("rl.seditor.fixed_alpha", lambda: seditor(train_alpha=False), rdim=2, parts=LOSSY)
probe("rl.seditor.alphas", lambda: seditor(initial_alpha=[0.1, 0.5]), rdim=2, parts=LOSSY)
probe(
    "rl.seditor.reward_weights",
    lambda: seditor(reward_weights=[0.2, 3.0]),
    rdim=2,
    parts=("train_step",) + LOSSY,
)
probe(
    "rl.seditor.target_entropy",
    lambda: seditor(target_entropy=(lambda s: 0.1, lambda s: -0.3)),
    rdim=2,
    parts=LOSSY,
)


@case("rl.seditor.refuses_scalar_reward")
def _():
    from alf.algorithms.seditor_algorithm import SEditorAlgorithm

    return refuses(lambda: SEditorAlgorithm(OBS, ACT, TensorSpec(()), config=config()))


@case("rl.seditor.fields")
def _():
    from alf.algorithms import seditor_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in (
            "SEditorInfo",
            "SEditorActorInfo",
            "SEditorCriticInfo",
            "SEditorLossInfo",
            "ActPredOutput",
            "Actions",
        )
    }


# --------------------------------------------------------------------- IQL
def iql(rdim=None, **kw):
    from alf.algorithms.iql_algorithm import IqlAlgorithm

    n = nets()
    return IqlAlgorithm(
        observation_spec=OBS,
        action_spec=ACT,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        actor_network_cls=n["actor_dist"],
        critic_network_cls=n["critic"],
        v_network_cls=n["value"],
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        value_optimizer=sgd(),
        **kw,
    )


def _iql_case(name, **kw):
    def parts():
        from alf.algorithms.iql_algorithm import IqlInfo

        a = build(lambda: iql(**kw))
        inp = steps()
        acts = [wave(2, 2, k=1.3 + t, amp=0.5) for t in range(3)]
        return (
            a,
            inp,
            lambda: time_major(
                lambda t: (
                    a.train_step(
                        inp[t], zero_state(a.train_state_spec), IqlInfo(action=acts[t])
                    ).info
                ),
                3,
            ),
        )

    def train():
        with no_noise():
            a, inp, f = parts()
            return f()

    def loss():
        with no_noise():
            a, inp, f = parts()
            li = a.calc_loss(f())
            return mask_last({"loss": li.loss, "extra": li.extra, "priority": li.priority})

    def target():
        with no_noise():
            a, inp, f = parts()
            for _ in range(3):
                info = f()
                li = a.calc_loss(info)
                a.update_with_gradient(li._replace(extra=(), priority=()), (ST != L).float())
                a.after_update(inp[0], info)
            return params_of(a)

    case("rl.iql.%s.train_step" % name)(train)
    case("rl.iql.%s.calc_loss" % name)(loss)
    case("rl.iql.%s.target_update" % name)(target)


probe("rl.iql.default", iql, parts=("state_specs", "predict_step"))
for _n, _kw in dict(
    data=dict(),
    expectile=dict(expectile=0.5),
    expectile_low=dict(expectile=0.1),
    temperature=dict(temperature=0.1),
    max_exp=dict(max_exp_advantage=1.01),
    priority=dict(calculate_priority=True),
    one_critic=dict(num_critic_replicas=1),
    three_critics=dict(num_critic_replicas=3),
    target=dict(target_update_tau=0.5, target_update_period=2),
).items():
    _iql_case(_n, **_kw)


@case("rl.iql.fields")
def _():
    from alf.algorithms import iql_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in (
            "IqlInfo",
            "IqlState",
            "IqlActionState",
            "IqlCriticState",
            "IqlCriticInfo",
            "IqlActorInfo",
            "IqlLossInfo",
        )
    }


# ------------------------------------------------ actor critic, PPO, TRAC
def ac(action_spec=ACT, rdim=None, mod="actor_critic_algorithm", cls="ActorCriticAlgorithm", **kw):
    import importlib

    C = getattr(importlib.import_module("alf.algorithms." + mod), cls)
    n = nets()
    return C(
        observation_spec=OBS,
        action_spec=action_spec,
        config=config(),
        epsilon_greedy=0.0,
        reward_spec=TensorSpec(()) if rdim is None else TensorSpec((rdim,)),
        actor_network_ctor=n["actor_dist"],
        value_network_ctor=n["value"],
        optimizer=sgd(),
        **kw,
    )


probe("rl.actor_critic.continuous", ac, on_policy=True, parts=NO_TARGET)
probe("rl.actor_critic.discrete", lambda: ac(DISC), DISC, on_policy=True, parts=NO_TARGET)
probe(
    "rl.actor_critic.two_rewards",
    lambda: ac(rdim=2, reward_weights=[1.0, 0.5]),
    rdim=2,
    on_policy=True,
    parts=NO_TARGET,
)
probe(
    "rl.actor_critic.mixed",
    lambda: ac(dict(a=DISC, b=ACT)),
    dict(a=DISC, b=ACT),
    on_policy=True,
    parts=NO_TARGET,
)


@case("rl.actor_critic.convert_train_state_to_predict_state")
def _():
    a = ac()
    return a.convert_train_state_to_predict_state(a.train_state_spec)


@case("rl.actor_critic.on_policy_property")
def _():
    return [
        ac().on_policy,
        ac(
            mod="ppo_algorithm",
            cls="PPOAlgorithm",
            loss=__import__("alf.algorithms.ppo_loss", fromlist=["x"]).PPOLoss(),
        ).on_policy,
    ]


@case("rl.actor_critic.info_fields")
def _():
    from alf.algorithms.actor_critic_algorithm import ActorCriticInfo, ActorCriticState
    from alf.algorithms.ppo_algorithm import PPOInfo

    return [list(ActorCriticInfo._fields), list(ActorCriticState._fields), list(PPOInfo._fields)]


def ppo(action_spec=ACT, rdim=None, **kw):
    from alf.algorithms.ppo_loss import PPOLoss

    return ac(
        action_spec,
        rdim,
        "ppo_algorithm",
        "PPOAlgorithm",
        loss=PPOLoss(normalize_advantages=False, **kw),
    )


def _batch_major_exp(a, inp, stepper):
    """preprocess_experience input: [B, T] root inputs and rollout info."""
    infos = time_major(lambda t: stepper(inp[t]).info, len(inp))
    sw = lambda n: alf.nest.map_structure(lambda x: x.transpose(0, 1).contiguous(), n)
    from alf.utils import dist_utils

    spec = dist_utils.extract_spec(infos)
    infos = dist_utils.params_to_distributions(sw(dist_utils.distributions_to_params(infos)), spec)
    ts = alf.nest.map_structure(lambda *x: torch.stack(x, 1), *inp)
    return ts, infos


for _n, _a, _r, _kw in (
    ("continuous", ACT, None, {}),
    ("discrete", DISC, None, {}),
    ("two_rewards", ACT, 2, {}),
    ("lambda", ACT, None, dict(td_lambda=0.3, gamma=0.8)),
    ("lambda1", ACT, None, dict(td_lambda=1.0, gamma=1.0)),
    ("lambda0", ACT, None, dict(td_lambda=0.0, gamma=0.9)),
):

    @case("rl.ppo.preprocess_experience.%s" % _n)
    def _(a_spec=_a, r=_r, kw=_kw):
        """GAE advantages and returns (value plus advantage), batch major."""
        with no_noise():
            a = build(lambda: ppo(a_spec, r, **kw))
            inp = steps(a_spec, r)
            ts, info = _batch_major_exp(
                a, inp, lambda x: a.rollout_step(x, zero_state(a.rollout_state_spec))
            )
            exp, out = a.preprocess_experience(ts, info, None)
            return {
                "advantages": out.advantages,
                "returns": out.returns,
                "action": out.action,
                "rollout_log_prob": out.rollout_log_prob,
                "rollout_action_distribution": out.rollout_action_distribution,
            }

    @case("rl.ppo.train_and_loss.%s" % _n)
    def _(a_spec=_a, r=_r, kw=_kw):
        from alf.utils import dist_utils

        with no_noise():
            a = build(lambda: ppo(a_spec, r, **kw))
            inp = steps(a_spec, r)
            ts, info = _batch_major_exp(
                a, inp, lambda x: a.rollout_step(x, zero_state(a.rollout_state_spec))
            )
            _, out = a.preprocess_experience(ts, info, None)
            spec = dist_utils.extract_spec(out, from_dim=2)
            prm = dist_utils.distributions_to_params(out)

            def one(t):
                o = alf.nest.map_structure(lambda x: x[:, t], prm)
                o = dist_utils.params_to_distributions(o, spec)
                return a.train_step(inp[t], zero_state(a.train_state_spec), o).info

            ti = time_major(one, 3)
            li = a.calc_loss(ti)
            return {
                "info": ti._replace(action_distribution=(), rollout_action_distribution=()),
                "loss": mask_last({"loss": li.loss, "extra": li.extra}),
            }


def trac(action_spec=ACT, ac_cls=None, **kw):
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
    from alf.algorithms.trac_algorithm import TracAlgorithm

    n = nets()
    return TracAlgorithm(
        observation_spec=OBS,
        action_spec=action_spec,
        config=config(),
        ac_algorithm_cls=partial(
            ActorCriticAlgorithm,
            actor_network_ctor=n["actor_dist"],
            epsilon_greedy=0.0,
            value_network_ctor=n["value"],
            optimizer=sgd(kw.pop("lr", 0.1)),
        ),
        **kw,
    )


for _n, _s in (("continuous", ACT), ("discrete", DISC)):
    probe("rl.trac.%s" % _n, partial(trac, _s), _s, on_policy=True, parts=NO_TARGET)
    for _clip in (1e-6, 0.01, 100.0):
        for _lr in (0.1, 3.0):

            @case("rl.trac.%s.trust_region.clip%s.lr%s" % (_n, _clip, _lr))
            def _(s=_s, clip=_clip, lr=_lr):
                """Parameters after one update and the trust region correction."""
                with no_noise():
                    a = build(partial(trac, s, action_dist_clip_per_dim=clip, lr=lr))
                    inp = steps(s)
                    info = collect(a, inp, True)
                    li = a.calc_loss(info)
                    a.update_with_gradient(li._replace(extra=()), (ST != L).float())
                    root = alf.nest.map_structure(lambda *x: torch.stack(x), *inp)
                    a.after_update(root, info)
                    return params_of(a)


@case("rl.trac.fields")
def _():
    from alf.algorithms import trac_algorithm as m

    return [list(m.TracInfo._fields), list(m.TracExperience._fields)]


# --------------------------------------------------------------------- PPG
def ppg(action_spec=ACT, enabled=True, **kw):
    from alf.algorithms.ppg import PPGAuxOptions
    from alf.algorithms.ppg_algorithm import PPGAlgorithm

    return PPGAlgorithm(
        observation_spec=OBS,
        action_spec=action_spec,
        config=config(),
        epsilon_greedy=0.0,
        aux_options=PPGAuxOptions(
            enabled=enabled, interval=2, mini_batch_size=2, num_updates_per_train_iter=1
        ),
        encoding_network_ctor=nets()["enc"],
        policy_optimizer=sgd(),
        aux_optimizer=sgd() if enabled else None,
        **kw,
    )


for _n, _s in (("continuous", ACT), ("discrete", DISC), ("mixed", dict(a=DISC, b=ACT))):
    probe(
        "rl.ppg.%s" % _n,
        partial(ppg, _s),
        _s,
        parts=("state_specs", "predict_step", "rollout_step", "train_step"),
    )
probe(
    "rl.ppg.no_aux", partial(ppg, ACT, False), parts=("predict_step", "rollout_step", "train_step")
)

for _shared in (False, True):
    for _n, _s in (("continuous", ACT), ("discrete", DISC), ("nested", dict(a=DISC, b=ACT))):

        @case("rl.ppg.network.%s.%s" % ("shared" if _shared else "dual", _n))
        def _(s=_s, shared=_shared):
            """Triplet of action distribution, value and auxiliary value."""
            from alf.algorithms.ppg import DisjointPolicyValueNetwork

            net = set_params(
                DisjointPolicyValueNetwork(
                    OBS, s, encoding_network_ctor=nets()["enc"], is_sharing_encoder=shared
                )
            )
            out, st = net(wave(2, 3), state=())
            out2, _ = net(wave(2, 3), state=(), require_aux=False)
            return {
                "out": list(out),
                "no_aux": out2[2],
                "value_same": bool((out[1] == out2[1]).all()),
                "params": len(list(net.parameters())),
            }

    @case("rl.ppg.network.%s.value_gradient_reaches_encoder" % ("shared" if _shared else "dual"))
    def _(shared=_shared):
        from alf.algorithms.ppg import DisjointPolicyValueNetwork

        net = set_params(
            DisjointPolicyValueNetwork(
                OBS, ACT, encoding_network_ctor=nets()["enc"], is_sharing_encoder=shared
            )
        )
        net(wave(2, 3), state=())[0][1].sum().backward()
        return sorted(list(p.shape) for p in net.parameters() if p.grad is not None)


def _ppg_info(kind="cat"):
    import torch.distributions as td

    from alf.algorithms.ppg import PPGTrainInfo

    if kind == "cat":
        old, new = (
            td.Categorical(logits=wave(4, 3, 3, k=0.5)),
            td.Categorical(logits=wave(4, 3, 3, k=0.9)),
        )
    else:
        from alf.utils.dist_utils import DiagMultivariateNormal as N

        old, new = (
            N(wave(4, 3, 2, k=0.4), 0.8 * torch.ones(4, 3, 2)),
            N(wave(4, 3, 2, k=0.7), 0.6 * torch.ones(4, 3, 2)),
        )
    return PPGTrainInfo(
        step_type=STEP_TYPES,
        discount=DISCOUNTS,
        reward=REWARDS,
        value=VALUES,
        aux=TARGETS,
        rollout_value=0.5 * (VALUES + TARGETS),
        rollout_action_distribution=old,
        action_distribution=new,
    )


for _kind in ("cat", "norm"):
    for _n, _kw in dict(
        default={},
        kl_weight=dict(policy_kl_loss_weight=0.1),
        gamma=dict(gamma=0.5, td_lambda=0.2),
        lambda1=dict(td_lambda=1.0),
    ).items():

        @case("rl.ppg.aux_loss.%s.%s" % (_n, _kind))
        def _(kw=_kw, kind=_kind):
            """Two value losses against the same target plus weighted KL(old, new)."""
            from alf.algorithms.ppg import PPGAuxPhaseLoss

            out = PPGAuxPhaseLoss(**kw)(_ppg_info(kind))
            return {"loss": out.loss, "extra": out.extra}


@case("rl.ppg.aux_loss.gradient")
def _():
    import torch.distributions as td

    from alf.algorithms.ppg import PPGAuxPhaseLoss

    v, x, lg = (
        VALUES.clone().requires_grad_(),
        TARGETS.clone().requires_grad_(),
        wave(4, 3, 3).requires_grad_(),
    )
    i = _ppg_info()._replace(value=v, aux=x, action_distribution=td.Categorical(logits=lg))
    PPGAuxPhaseLoss()(i).loss.sum().backward()
    return [v.grad, x.grad, lg.grad]


@case("rl.ppg.aux_options_defaults")
def _():
    from alf.algorithms.ppg import PPGAuxOptions

    return dict(PPGAuxOptions()._asdict())


@case("rl.ppg.train_info_absorbed")
def _():
    """absorbed() takes the fresh evaluation and keeps the rollout fields."""
    from alf.algorithms.ppg import PPGRolloutInfo, PPGTrainInfo

    old = PPGTrainInfo(**{f: "old_" + f for f in PPGTrainInfo._fields})
    new = PPGRolloutInfo(**{f: "new_" + f for f in PPGRolloutInfo._fields})
    return dict(old.absorbed(new)._asdict())


@case("rl.ppg.fields")
def _():
    from alf.algorithms.ppg import PPGAuxPhaseLossInfo, PPGRolloutInfo, PPGTrainInfo

    return [
        list(PPGTrainInfo._fields),
        list(PPGRolloutInfo._fields),
        list(PPGAuxPhaseLossInfo._fields),
    ]


@case("rl.ppg.calc_loss")
def _():
    from alf.algorithms.ppg import PPGTrainInfo

    F_ = list(PPGTrainInfo._fields)
    import torch.distributions as td

    I = namedtuple("I", F_ + ["returns", "advantages"], default_value=())
    base = _ppg_info()
    i = I(**base._asdict(), returns=TARGETS + 1, advantages=TARGETS)
    i = i._replace(
        action=(torch.arange(12) % 3).reshape(4, 3),
        rollout_log_prob=base.rollout_action_distribution.log_prob(
            (torch.arange(12) % 3).reshape(4, 3)
        ),
    )
    li = ppg(DISC).calc_loss(i)
    return [li.loss, li.extra]


@case("rl.ppg.calc_loss_with_internal_advantages")
def _():
    """PPG fills no returns: its PPOLoss is configured to compute advantages itself."""
    import torch.distributions as td

    alf.config("PPOLoss", compute_advantages_internally=True, normalize_advantages=False)
    a = ppg(DISC)
    act = (torch.arange(12) % 3).reshape(4, 3)
    base = _ppg_info()
    li = a.calc_loss(
        base._replace(action=act, rollout_log_prob=base.rollout_action_distribution.log_prob(act))
    )
    return [li.loss, li.extra]


@case("rl.ppg.optimizer_assignment")
def _():
    """The auxiliary head belongs to the auxiliary optimizer only."""
    import json

    return [[o["optimizer"], len(o["parameters"])] for o in json.loads(ppg().get_optimizer_info())]


# --------------------------------------------------------------- recurrent nets
def _rnn():
    from alf.networks import (
        ActorDistributionRNNNetwork,
        ActorRNNNetwork,
        CriticRNNNetwork,
        QRNNNetwork,
        ValueRNNNetwork,
    )

    return dict(
        actor_dist=partial(
            ActorDistributionRNNNetwork, lstm_hidden_size=4, actor_fc_layer_params=(4,)
        ),
        actor=partial(ActorRNNNetwork, lstm_hidden_size=4, actor_fc_layer_params=(4,)),
        critic=partial(CriticRNNNetwork, lstm_hidden_size=4, critic_fc_layer_params=(4,)),
        q=partial(QRNNNetwork, lstm_hidden_size=4, value_fc_layer_params=(4,)),
        value=partial(ValueRNNNetwork, lstm_hidden_size=4, value_fc_layer_params=(4,)),
    )


STEPS = ("state_specs", "predict_step", "rollout_step", "train_step")
probe(
    "rl.rnn.sac",
    lambda: sac(actor_network_cls=_rnn()["actor_dist"], critic_network_cls=_rnn()["critic"]),
    parts=STEPS + LOSSY,
    flat=True,
)
probe(
    "rl.rnn.sac_discrete",
    lambda: sac(DISC, q_network_cls=_rnn()["q"]),
    DISC,
    parts=STEPS + LOSSY,
    flat=True,
)


def _ddpg_rnn():
    from alf.algorithms.ddpg_algorithm import DdpgAlgorithm

    n = _rnn()
    return DdpgAlgorithm(
        OBS,
        ACT,
        actor_network_ctor=n["actor"],
        critic_network_ctor=n["critic"],
        config=config(),
        epsilon_greedy=0.0,
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
    )


def _ac_rnn(cls=None):
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm

    n = _rnn()
    return ActorCriticAlgorithm(
        OBS,
        ACT,
        actor_network_ctor=n["actor_dist"],
        value_network_ctor=n["value"],
        config=config(),
        epsilon_greedy=0.0,
        optimizer=sgd(),
    )


def _sarsa_rnn(on_policy=False):
    from alf.algorithms.sarsa_algorithm import SarsaAlgorithm

    n = _rnn()
    return SarsaAlgorithm(
        OBS,
        ACT,
        n["actor_dist"],
        n["critic"],
        config=config(),
        epsilon_greedy=0.0,
        on_policy=on_policy,
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        alpha_optimizer=sgd(),
    )


def _iql_rnn():
    from alf.algorithms.iql_algorithm import IqlAlgorithm

    n = _rnn()
    return IqlAlgorithm(
        OBS,
        ACT,
        actor_network_cls=n["actor_dist"],
        critic_network_cls=n["critic"],
        v_network_cls=n["value"],
        config=config(),
        epsilon_greedy=0.0,
        actor_optimizer=sgd(),
        critic_optimizer=sgd(),
        value_optimizer=sgd(),
    )


def _trac_rnn():
    from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
    from alf.algorithms.trac_algorithm import TracAlgorithm

    n = _rnn()
    return TracAlgorithm(
        OBS,
        ACT,
        config=config(),
        ac_algorithm_cls=partial(
            ActorCriticAlgorithm,
            actor_network_ctor=n["actor_dist"],
            value_network_ctor=n["value"],
            epsilon_greedy=0.0,
            optimizer=sgd(),
        ),
    )


probe("rl.rnn.ddpg", _ddpg_rnn, parts=STEPS + LOSSY, flat=True)
probe("rl.rnn.actor_critic", _ac_rnn, on_policy=True, parts=STEPS + LOSSY, flat=True)
probe("rl.rnn.sarsa", _sarsa_rnn, parts=STEPS + LOSSY, flat=True)
probe(
    "rl.rnn.sarsa_on_policy",
    partial(_sarsa_rnn, True),
    on_policy=True,
    parts=STEPS + LOSSY,
    flat=True,
)
probe("rl.rnn.iql", _iql_rnn, parts=("state_specs", "predict_step"), flat=True)
probe("rl.rnn.trac", _trac_rnn, on_policy=True, parts=STEPS + LOSSY, flat=True)


for _n, _mk in (
    ("actor_critic", _ac_rnn),
    ("sarsa_on_policy", partial(_sarsa_rnn, True)),
    ("trac", _trac_rnn),
):

    @case("rl.rnn.%s.state_over_three_steps" % _n)
    def _(mk=_mk):
        with no_noise():
            a = build(mk)
            s, out = zero_state(a.rollout_state_spec), []
            for x in steps():
                r = a.rollout_step(x, s)
                s = r.state
                out.append([r.output, alf.nest.flatten(s)])
            return out


@case("rl.rnn.sac.need_full_rollout_state")
def _():
    """With use_rollout_state the rollout keeps the critics' states too."""
    with no_noise():
        a = build(
            lambda: sac(actor_network_cls=_rnn()["actor_dist"], critic_network_cls=_rnn()["critic"])
        )
        a.use_rollout_state = True
        s = zero_state(a.rollout_state_spec)
        with torch.no_grad():
            r = a.rollout_step(steps()[0], s)
        return [a.need_full_rollout_state(), alf.nest.flatten(r.state)]


# ------------------------------------------- calc_loss on hand-made information
def _base(multi=False, **kw):
    return dict(
        reward=REWARDS2 if multi else REWARDS, step_type=STEP_TYPES, discount=DISCOUNTS, **kw
    )


def _masked(li):
    m = STEP_TYPES != L
    return {
        "loss": li.loss * m,
        "scalar_loss": li.scalar_loss,
        "priority": li.priority,
        "extra": alf.nest.map_structure(
            lambda x: x * m.reshape((4, 3) + (1,) * (x.ndim - 2)) if x.shape[:2] == m.shape else x,
            li.extra,
        ),
    }


for _n, _kw in dict(
    default={},
    entropy_reward=dict(use_entropy_reward=True, initial_alpha=0.3),
    no_alpha=dict(initial_alpha=None),
    priority=dict(calculate_priority=True),
    target_entropy=dict(target_entropy=-0.5),
    one_critic=dict(num_critic_replicas=1),
).items():

    @case("rl.handmade.sarsa.%s" % _n)
    def _(kw=_kw):
        from alf.algorithms.sarsa_algorithm import SarsaInfo

        a = sarsa(**kw)
        r = kw.get("num_critic_replicas", 2)
        return _masked(
            a.calc_loss(
                SarsaInfo(
                    **_base(
                        actor_loss=wave(4, 3, k=0.3),
                        critics=wave(4, 3, r, k=0.8),
                        target_critics=TARGETS.clone(),
                        neg_entropy=() if kw.get("initial_alpha", 1) is None else wave(4, 3, k=1.7),
                    )
                )
            )
        )


for _n, _kw in dict(
    default={}, expectile=dict(expectile=0.3), priority=dict(calculate_priority=True)
).items():

    @case("rl.handmade.iql.%s" % _n)
    def _(kw=_kw):
        from alf.algorithms.iql_algorithm import IqlActorInfo, IqlCriticInfo, IqlInfo

        al = wave(4, 3, k=0.3)
        return _masked(
            iql(**kw).calc_loss(
                IqlInfo(
                    **_base(
                        actor=alf.data_structures.LossInfo(
                            loss=al, extra=IqlActorInfo(actor_loss=al)
                        ),
                        critic=IqlCriticInfo(
                            critics=wave(4, 3, 2, k=0.8), target_value=TARGETS, value=VALUES
                        ),
                    )
                )
            )
        )


for _n, _kw in dict(default={}, alpha=dict(initial_log_alpha=-1.0)).items():

    @case("rl.handmade.mdq.%s" % _n)
    def _(kw=_kw):
        from alf.algorithms.mdq_algorithm import MdqAlphaInfo, MdqCriticInfo, MdqInfo

        al = wave(4, 3, k=0.3)
        return _masked(
            mdq(**kw).calc_loss(
                MdqInfo(
                    **_base(
                        critic=MdqCriticInfo(
                            critic_free_form=wave(4, 3, 2, k=0.8),
                            target_critic_free_form=wave(4, 3, 2, k=1.1),
                            critic_adv_form=wave(4, 3, 2, 2, k=0.4),
                            distill_target=wave(4, 3, 2, k=0.9),
                            kl_wrt_prior=wave(4, 3, 2, 2, k=0.2),
                        ),
                        alpha=alf.data_structures.LossInfo(
                            loss=al, extra=MdqAlphaInfo(alpha_loss=al, neg_entropy=2 * al)
                        ),
                    )
                )
            )
        )


for _n, _c in (("taac", "TaacAlgorithm"), ("taacl", "TaacLAlgorithm"), ("taacq", "TaacQAlgorithm")):
    for _multi in (False, True):

        @case("rl.handmade.%s%s" % (_n, ".two_rewards" if _multi else ""))
        def _(c=_c, multi=_multi):
            from alf.algorithms.taac_algorithm import TaacActorInfo, TaacCriticInfo, TaacInfo

            al = wave(4, 3, k=0.3)
            b = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
            li = taac(c, 2 if multi else None).calc_loss(
                TaacInfo(
                    **_base(
                        multi,
                        rollout_b=b,
                        b=b.flip(0),
                        actor=alf.data_structures.LossInfo(
                            loss=al, extra=TaacActorInfo(actor_loss=al, adv=2 * al)
                        ),
                        critic=TaacCriticInfo(
                            critics=wave(4, 3, 2, 2, k=0.8) if multi else wave(4, 3, 2, k=0.8),
                            target_critic=TARGETS2 if multi else TARGETS,
                        ),
                        alpha=wave(4, 3, k=1.9),
                    )
                )
            )
            return _masked(li)


@case("rl.handmade.seditor")
def _():
    from alf.algorithms.seditor_algorithm import SEditorActorInfo, SEditorCriticInfo, SEditorInfo

    w = lambda k: wave(4, 3, k=k)
    return _masked(
        seditor().calc_loss(
            SEditorInfo(
                **_base(
                    True,
                    actor=SEditorActorInfo(
                        a_loss=w(0.3),
                        da_loss=w(0.5),
                        a_entropy=w(0.7),
                        da_entropy=w(0.9),
                        change_a_loss=w(1.1),
                        a_l2=w(1.3),
                    ),
                    critic=SEditorCriticInfo(
                        critics=wave(4, 3, 2, 2, k=0.8), target_critic=TARGETS2
                    ),
                    alpha=w(1.9),
                )
            )
        )
    )


for _n, _kw in dict(
    default={},
    entropy_reward=dict(use_entropy_reward=True, initial_log_alpha=-1.0),
    priority=dict(calculate_priority=True),
).items():

    @case("rl.handmade.dsac.%s" % _n)
    def _(kw=_kw):
        from alf.algorithms.dsac_algorithm import DSacInfo, TauInfo
        from alf.algorithms.sac_algorithm import SacActorInfo, SacCriticInfo

        t = ((torch.arange(4) + 0.5) / 4).expand(4, 3, 4)
        d = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(4, 3, 4)
        al = wave(4, 3, k=0.3)
        return _masked(
            dsac("dsac", **kw).calc_loss(
                DSacInfo(
                    **_base(
                        actor=alf.data_structures.LossInfo(
                            loss=al, extra=SacActorInfo(actor_loss=al, neg_entropy=-al)
                        ),
                        critic=SacCriticInfo(
                            critics=wave(4, 3, 2, 4, k=0.8), target_critic=wave(4, 3, 4, k=1.1)
                        ),
                        alpha=wave(4, 3, k=1.9),
                        log_pi=wave(4, 3, k=0.6),
                        tau_info=TauInfo(tau_hat=t, delta_tau=d, next_tau_hat=t, next_delta_tau=d),
                    )
                )
            )
        )


for _n in ("actor_critic", "ppo"):

    @case("rl.handmade.trac.preprocess_and_loss.%s" % _n)
    def _(n=_n):
        """TRAC hands its info on to the wrapped algorithm, action distribution included."""
        import torch.distributions as td

        from alf.algorithms.actor_critic_algorithm import ActorCriticInfo
        from alf.algorithms.trac_algorithm import TracInfo

        a = trac(DISC)
        act = (torch.arange(12) % 3).reshape(4, 3)
        d = td.Categorical(logits=wave(4, 3, 3, k=0.9))
        i = TracInfo(
            action_distribution=d,
            observation=wave(4, 3, 3),
            state=(),
            prev_action=act,
            ac=ActorCriticInfo(
                action=act,
                value=VALUES,
                reward=REWARDS,
                step_type=STEP_TYPES,
                discount=DISCOUNTS,
                log_prob=d.log_prob(act),
            ),
        )
        if n == "ppo":
            return [f for f in a.preprocess_experience(wave(4, 3), i, None)[1]._fields]
        li = a.calc_loss(i)
        return [li.loss, li.extra]
