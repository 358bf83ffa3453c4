"""Dynamics, reward and planning modules; model based RL; reward weights."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave

import alf
from alf.data_structures import TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

ACTV = BoundedTensorSpec((2,), minimum=[-1.0, -1.0], maximum=[1.0, 1.0])


# ------------------------------------------------------------------ dynamics
def dyn(cls="Deterministic", n=1, action_spec=ACT, **kw):
    from alf.algorithms import dynamics_learning_algorithm as m
    from alf.networks import DynamicsNetwork

    c = partial(
        DynamicsNetwork,
        joint_fc_layer_params=(4,),
        activation=torch.tanh,
        prob=cls == "Stochastic",
        **(
            dict(
                continuous_projection_net_ctor=partial(
                    alf.networks.NormalProjectionNetwork,
                    state_dependent_std=True,
                    std_transform=torch.nn.functional.softplus,
                )
            )
            if cls == "Stochastic"
            else {}
        ),
    )
    return set_params(
        getattr(m, cls + "DynamicsAlgorithm")(
            action_spec=action_spec, feature_spec=OBS, num_replicas=n, dynamics_network_ctor=c, **kw
        )
    )


def _ds(a, B=2):
    return alf.nest.map_structure(lambda s: wave(B, *s.shape, k=0.4), a.train_state_spec)


for _c in ("Deterministic", "Stochastic"):
    for _r in (1, 3):
        _p = "mbrl.dynamics.%s.replicas%d" % (_c.lower(), _r)

        @case(_p + ".state_spec")
        def _(c=_c, r=_r):
            a = dyn(c, r)
            return [a.train_state_spec, a.num_replicas]

        @case(_p + ".predict_step")
        def _(c=_c, r=_r):
            """Next feature: the state's feature plus the predicted change."""
            with no_noise():
                a = dyn(c, r)
                s = a.predict_step(step(), _ds(a))
                return [s.output, s.state]

        @case(_p + ".predict_step_unexpanded_feature")
        def _(c=_c, r=_r):
            with no_noise():
                a = dyn(c, r)
                s = a.predict_step(step(), _ds(a)._replace(feature=wave(2, 3, k=0.2)))
                return [s.output, s.state]

        @case(_p + ".train_step")
        def _(c=_c, r=_r):
            """Loss per sample, zero at first steps; the state becomes the observation."""
            with no_noise():
                a = dyn(c, r)
                s = a.train_step(step(step_type=[F, M]), _ds(a))
                return [s.state, s.info.loss]

        @case(_p + ".update_state")
        def _(c=_c, r=_r):
            a = dyn(c, r)
            return a.update_state(step(), _ds(a))

        @case(_p + ".calc_loss")
        def _(c=_c, r=_r):
            """The mean loss, as a scalar."""
            with no_noise():
                a = dyn(c, r)
                li = a.calc_loss(a.train_step(step(step_type=[F, M]), _ds(a)).info)
                return [li.loss, li.scalar_loss, li.extra]


@case("mbrl.dynamics.refuses_nested_action")
def _():
    return refuses(lambda: dyn(action_spec=dict(a=ACT, b=ACT)))


@case("mbrl.dynamics.stochastic_refuses_plain_network")
def _():
    from alf.algorithms.dynamics_learning_algorithm import StochasticDynamicsAlgorithm
    from alf.networks import DynamicsNetwork

    return refuses(
        lambda: StochasticDynamicsAlgorithm(
            ACT,
            OBS,
            dynamics_network_ctor=partial(DynamicsNetwork, joint_fc_layer_params=(4,), prob=False),
        )
    )


@case("mbrl.dynamics.fields")
def _():
    from alf.algorithms import dynamics_learning_algorithm as m

    return [list(m.DynamicsState._fields), list(m.DynamicsInfo._fields)]


# -------------------------------------------------------------------- reward
def reward_func(obs, action):
    return obs.sum(-1) - 0.1 * (action**2).sum(-1)


@case("mbrl.fixed_reward.compute_reward")
def _():
    from alf.algorithms.reward_learning_algorithm import FixedRewardFunction

    a = FixedRewardFunction(reward_func)
    r, s = a.compute_reward(wave(2, 3), wave(2, 2), ())
    return [r, s, a.train_step(step()), a.train_state_spec]


# ------------------------------------------------------------------- planning
def cost(obs, acts):
    """[B, population, horizon, dim] to [B, population]; best near 0.4."""
    return ((acts - 0.4) ** 2).sum((-1, -2)) + 0 * obs.sum()


def planner(cls, **kw):
    from alf.algorithms import planning_algorithm as m

    kw.setdefault("population_size", 200)
    kw.setdefault("planning_horizon", 3)
    # the CEM planner takes one bound for all dimensions, the other one a bound for each
    a = getattr(m, cls)(OBS, ACT if "CEM" in cls else ACTV, **kw)
    a.set_action_sequence_cost_func(cost)
    return a


for _c in ("RandomShootingAlgorithm", "CEMPlanAlgorithm"):

    @case("mbrl.%s.state_spec" % _c)
    def _(c=_c):
        return planner(c).train_state_spec

    @case("mbrl.%s.train_step" % _c)
    def _(c=_c):
        a = planner(c)
        return a.train_step(step(), zero_state(a.train_state_spec))

    @case("mbrl.%s.needs_cost_function" % _c)
    def _(c=_c):
        from alf.algorithms import planning_algorithm as m

        a = getattr(m, c)(
            OBS,
            ACT,
            population_size=10,
            planning_horizon=3,
            **(dict(elite_size=3) if "CEM" in c else {}),
        )
        return refuses(lambda: a.predict_plan(step(), zero_state(a.train_state_spec), 0.0))

    @case("mbrl.%s.refuses_discrete" % _c)
    def _(c=_c):
        from alf.algorithms import planning_algorithm as m

        return refuses(lambda: getattr(m, c)(OBS, DISC, population_size=10, planning_horizon=3))

    @case("mbrl.%s.plan_near_optimum" % _c)
    def _(c=_c):
        """Whether the first action comes within 0.35 of the optimum (random draws)."""
        a = planner(c)
        act, _ = a.predict_plan(step(step_type=[F, F]), zero_state(a.train_state_spec), 0.0)
        return [list(act.shape), bool(((act - 0.4).abs() < 0.35).all())]


def _grid(*shape):
    return wave(*shape, k=2.3)


@case("mbrl.RandomShootingAlgorithm.uniform_draw_at_half")
def _():
    """All candidates at the middle of the bounds give that action."""
    with no_noise():
        a = planner(
            "RandomShootingAlgorithm",
            lower_bound=torch.tensor([-1.0, 0.0]),
            upper_bound=torch.tensor([1.0, 1.0]),
        )
        return a.predict_plan(step(), zero_state(a.train_state_spec), 0.0)[0]


for _n, _kw in dict(
    default={},
    tau=dict(tau=0.5),
    one_iteration=dict(max_iter_num=1),
    var=dict(scalar_var=0.1),
    bounds=dict(upper_bound=torch.tensor(0.3), lower_bound=torch.tensor(-0.3)),
).items():

    @case("mbrl.CEMPlanAlgorithm.fixed_draws.%s" % _n)
    def _(kw=_kw):
        """Plan and shifted plan when the normal draws are a fixed grid."""
        with no_noise(normal=_grid):
            kw = dict(kw)
            kw.setdefault("planning_horizon", 1)
            a = planner("CEMPlanAlgorithm", elite_size=10, population_size=50, **kw)
            s = zero_state(a.train_state_spec)
            s = s._replace(prev_plan=wave(*s.prev_plan.shape, amp=0.2))
            act, ns = a.predict_plan(step(step_type=[F, M]), s, 0.0)
            return [list(act.shape), list(ns.prev_plan.shape)]


@case("mbrl.CEMPlanAlgorithm.new_plan_is_shifted")
def _():
    """The stored plan is the plan without its first action, padded by the mean."""
    torch.manual_seed(0)
    a = planner("CEMPlanAlgorithm")
    s = zero_state(a.train_state_spec)
    act, ns = a.predict_plan(step(step_type=[F, F]), s, 0.0)
    return list(ns.prev_plan.shape)


@case("mbrl.plan_algorithm.state_and_horizon")
def _():
    from alf.algorithms.planning_algorithm import PlanAlgorithm, PlannerInfo, PlannerState

    return [
        PlanAlgorithm(OBS, ACT).train_state_spec,
        list(PlannerState._fields),
        list(PlannerInfo._fields),
    ]


# ----------------------------------------------------------------------- MBRL
class _Recorder:
    """Stands for a planner: keeps the cost function, returns a fixed action."""


def mbrl(n=1, particles=1, **kw):
    from alf.algorithms.mbrl_algorithm import MbrlAlgorithm
    from alf.algorithms.planning_algorithm import RandomShootingAlgorithm
    from alf.algorithms.reward_learning_algorithm import FixedRewardFunction

    return MbrlAlgorithm(
        OBS,
        ACTV,
        reward_module=FixedRewardFunction(kw.pop("reward_func", reward_func)),
        planner_module_ctor=partial(RandomShootingAlgorithm, population_size=6, planning_horizon=3),
        dynamics_module_ctor=lambda feature_spec, action_spec: dyn("Deterministic", n),
        particles_per_replica=particles,
        epsilon_greedy=0.0,
        config=config(),
        dynamics_optimizer=sgd(),
        **kw,
    )


for _n, _p in ((1, 1), (3, 1), (1, 2), (3, 2)):

    @case("mbrl.mbrl.replicas%d_particles%d.state_specs" % (_n, _p))
    def _(n=_n, p=_p):
        a = mbrl(n, p)
        return [a.train_state_spec, a.predict_state_spec]

    @case("mbrl.mbrl.replicas%d_particles%d.rollout_step" % (_n, _p))
    def _(n=_n, p=_p):
        with no_noise(u=0.7):
            a = mbrl(n, p)
            r = a.rollout_step(step(), zero_state(a.rollout_state_spec))
            return [r.output, r.state, r.info]

    @case("mbrl.mbrl.replicas%d_particles%d.imagined_cost" % (_n, _p))
    def _(n=_n, p=_p):
        """The cost the planner sees for given action sequences: minus summed
        predicted rewards, averaged over replicas and particles."""
        seen = {}
        a = mbrl(n, p)
        orig = a._planner_module._action_seq_cost_func
        return orig(wave(2, 3), wave(2, 4, 3, 2, k=0.7))

    @case("mbrl.mbrl.replicas%d_particles%d.train_and_loss" % (_n, _p))
    def _(n=_n, p=_p):
        a = mbrl(n, p)
        s = alf.nest.map_structure(lambda sp: wave(2, *sp.shape, k=0.4), a.train_state_spec)
        r = a.train_step(step(step_type=[F, M]), s)
        li = a.calc_loss(r.info)
        return [r.info.dynamics.loss, li.loss, li.scalar_loss]


@case("mbrl.mbrl.fields")
def _():
    from alf.algorithms.mbrl_algorithm import MbrlInfo, MbrlState

    return [list(MbrlState._fields), list(MbrlInfo._fields)]


def latent():
    from cases_representation import prl

    from alf.algorithms.mbrl_algorithm import LatentMbrlAlgorithm
    from alf.algorithms.planning_algorithm import RandomShootingAlgorithm

    a = LatentMbrlAlgorithm(
        TensorSpec((4,)),
        ACTV,
        config=config(),
        planner_module_ctor=partial(RandomShootingAlgorithm, population_size=6, planning_horizon=2),
    )
    a.set_latent_predictive_representation_module(prl(2))
    return a


@case("mbrl.latent.rollout_step")
def _():
    with no_noise(u=0.7):
        a = latent()
        r = a.rollout_step(step(obs=wave(2, 4)), zero_state(a.rollout_state_spec))
        return [a.train_state_spec, r.output, r.state]


@case("mbrl.latent.train_step_and_loss_are_empty")
def _():
    a = latent()
    r = a.train_step(step(obs=wave(2, 4)), zero_state(a.train_state_spec))
    return [r.output, r.info, a.calc_loss(r.info)]


# ------------------------------------------------------- Lagrangian reward weights
def lag(thresholds=(0.5, -0.5), **kw):
    from alf.algorithms.lagrangian_reward_weight_algorithm import LagrangianRewardWeightAlgorithm

    return LagrangianRewardWeightAlgorithm(
        REW2,
        list(thresholds),
        optimizer=alf.optimizers.Adam(lr=0.1) if kw.pop("adam", False) else sgd(0.5),
        **kw,
    )


_L = {
    "default": {},
    "no_normalization": dict(reward_weight_normalization=False),
    "init_list": dict(init_weights=[0.2, 3.0]),
    "init_list_unnormalized": dict(init_weights=[0.2, 3.0], reward_weight_normalization=False),
    "exp": dict(lambda_transform=torch.exp),
    "max_weight": dict(max_weight=1.05, reward_weight_normalization=False),
    "fixed_first": dict(thresholds=(None, -0.5)),
    "fixed_first_unnormalized": dict(thresholds=(None, -0.5), reward_weight_normalization=False),
    "adam": dict(adam=True),
    "large_init": dict(init_weights=30.0, reward_weight_normalization=False),
}
for _n, _kw in _L.items():

    @case("mbrl.lagrangian.%s.weights" % _n)
    def _(kw=_kw):
        """Reward weights before and after three training iterations."""
        from alf.algorithms.lagrangian_reward_weight_algorithm import LagInfo

        a = lag(**kw)
        out = [a.reward_weights]
        for t in range(3):
            a.after_train_iter(None, LagInfo(rollout_reward=wave(4, 3, 2, k=0.3 + t)))
            out.append(a.reward_weights)
        return out


@case("mbrl.lagrangian.rollout_step_uses_untransformed_reward")
def _():
    a = lag()
    x = step(rdim=2)._replace(untransformed=step(rdim=2, reward=wave(2, 2, k=3.0)))
    return [a.rollout_step(x).info, a.predict_step(x)]


for _n, _f in dict(
    scalar_reward=lambda: __import__(
        "alf.algorithms.lagrangian_reward_weight_algorithm", fromlist=["x"]
    ).LagrangianRewardWeightAlgorithm(TensorSpec(()), [0.0], sgd()),
    wrong_length=lambda: lag(thresholds=(0.1,)),
    negative_init=lambda: lag(init_weights=-1.0),
    unknown_transform=lambda: lag(lambda_transform=torch.relu),
).items():

    @case("mbrl.lagrangian.refuses_%s" % _n)
    def _(f=_f):
        return refuses(f)


@case("mbrl.lagrangian_pred.weights")
def _():
    """The averaged prediction reward trains the weights."""
    from alf.algorithms.lagrangian_reward_weight_algorithm import (
        LagrangianPredRewardWeightAlgorithm,
    )
    from alf.utils.averager import EMAverager

    alf.config("TrainerConfig", evaluate=True, async_eval=False)
    a = LagrangianPredRewardWeightAlgorithm(
        REW2, [0.5, -0.5], sgd(0.5), pred_rewards_averager_ctor=partial(EMAverager, update_rate=0.5)
    )
    out = [a.reward_weights]
    for t in range(3):
        x = step(rdim=2)
        a.predict_step(x._replace(untransformed=step(rdim=2, reward=wave(2, 2, k=1.0 + t))))
        a.after_train_iter(None, None)
        out.append(a.reward_weights)
    return out


@case("mbrl.lagrangian_pred.needs_evaluation")
def _():
    from alf.algorithms.lagrangian_reward_weight_algorithm import (
        LagrangianPredRewardWeightAlgorithm,
    )

    alf.config("TrainerConfig", evaluate=False)
    return refuses(lambda: LagrangianPredRewardWeightAlgorithm(REW2, [0.5, -0.5], sgd()))
