"""Temporal difference, actor critic and PPO losses; entropy targets."""

import itertools

import fixtures as fx
import torch
import torch.distributions as td
from fixtures import *
from harness import case, no_noise, refuses, seq, wave

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def _td(cls, multi, raw=False, **kw):
    info = traj(multi)
    loss = cls(**kw)
    out = loss(info, VALUES2 if multi else VALUES, TARGETS2 if multi else TARGETS)
    if not raw:
        # a loss at a last step is masked out by training: see *.at_last_step
        return {"loss": out.loss * (STEP_TYPES != L)}
    return out


for lam, multi in itertools.product((0.0, 0.5, 0.95, 1.0), (False, True)):
    for gamma in (0.99, 1.0, 0.0):

        def _c(lam=lam, multi=multi, gamma=gamma):
            from alf.algorithms.td_loss import TDLoss

            if multi:
                return _td(TDLoss, True, gamma=gamma, td_lambda=lam)
            return _td(TDLoss, False, gamma=gamma, td_lambda=lam)

        case("losses.td_loss.lambda%s.gamma%s%s" % (lam, gamma, ".two_rewards" if multi else ""))(
            _c
        )


@case("losses.td_loss.default_lambda")
def _():
    """Without td_lambda the constructor uses 0.95."""
    from alf.algorithms.td_loss import TDLoss

    return _td(TDLoss, False)


@case("losses.td_loss.gamma_property")
def _():
    from alf.algorithms.td_loss import TDLoss

    return [TDLoss(gamma=0.9).gamma, TDLoss(gamma=[0.9, 0.5]).gamma]


@case("losses.td_loss.compute_td_target")
def _():
    from alf.algorithms.td_loss import TDLoss

    return {
        str(l): TDLoss(gamma=0.9, td_lambda=l).compute_td_target(traj(), TARGETS)
        * (STEP_TYPES != L)[:-1]
        for l in (0.0, 0.5, 1.0)
    }


@case("losses.td_loss.extra.code_gives_td_error_docs_say_loss")
def _():
    """The code returns return minus value with a zero row appended; the
    docstring says that extra equals loss."""
    from alf.algorithms.td_loss import TDLoss

    return _td(TDLoss, False, raw=True, td_lambda=1.0).extra * (STEP_TYPES != L)


for _l in (0.0, 0.5, 1.0):

    @case("losses.td_loss.at_last_step.lambda%s" % _l)
    def _(l=_l):
        from alf.algorithms.td_loss import TDLoss

        return _td(TDLoss, False, raw=True, td_lambda=l, gamma=0.9).loss[STEP_TYPES == L]


@case("losses.td_loss.final_row_is_zero")
def _():
    from alf.algorithms.td_loss import TDLoss

    return _td(TDLoss, False, raw=True).loss[-1]


@case("losses.td_loss.custom_error_function")
def _():
    from alf.algorithms.td_loss import TDLoss

    return _td(
        TDLoss, False, td_lambda=0.0, td_error_loss_fn=lambda target, value: (target - value).abs()
    )


@case("losses.td_loss.error_function_gets_target_first")
def _():
    """td_error_loss_fn is called with the target, then the estimate."""
    from alf.algorithms.td_loss import TDLoss

    return _td(
        TDLoss, False, td_lambda=0.0, td_error_loss_fn=lambda target, value: 2 * target + value
    )


@case("losses.td_loss.huber")
def _():
    from alf.algorithms.td_loss import TDLoss
    from alf.utils.losses import element_wise_huber_loss

    return _td(TDLoss, False, td_lambda=0.95, td_error_loss_fn=element_wise_huber_loss)


for _multi in (False, True):

    @case("losses.td_loss.normalize_target" + (".two_rewards" if _multi else ""))
    def _(multi=_multi):
        from alf.algorithms.td_loss import TDLoss

        return _td(TDLoss, multi, gamma=0.9, td_lambda=0.5, normalize_target=True)


@case("losses.td_loss.gradient_only_through_value")
def _():
    from alf.algorithms.td_loss import TDLoss

    v = VALUES.clone().requires_grad_()
    t = TARGETS.clone().requires_grad_()
    out = TDLoss(gamma=0.9, td_lambda=0.0)(traj(), v, t)
    (out.loss * (STEP_TYPES != L)).sum().backward()
    return {"value_grad": v.grad, "target_has_grad": t.grad is not None}


@case("losses.td_loss.needs_two_steps")
def _():
    from alf.algorithms.td_loss import TDLoss

    i = TrajInfo(reward=REWARDS[:1], step_type=STEP_TYPES[:1], discount=DISCOUNTS[:1])
    return refuses(lambda: TDLoss()(i, VALUES[:1], TARGETS[:1]))


@case("losses.td_loss.discount_scaled_by_gamma")
def _():
    """A step discount of 0.5 multiplies gamma."""
    from alf.algorithms.td_loss import TDLoss

    i = traj()._replace(discount=DISCOUNTS * 0.5)
    return TDLoss(gamma=0.9, td_lambda=1.0)(i, VALUES, TARGETS).loss * (STEP_TYPES != L)


for gamma, multi in ((0.99, False), (0.5, False), (0.9, True)):

    def _c(gamma=gamma, multi=multi):
        from alf.algorithms.one_step_loss import OneStepTDLoss

        return _td(OneStepTDLoss, multi, gamma=gamma)

    case("losses.one_step_td_loss.gamma%s%s" % (gamma, ".two_rewards" if multi else ""))(_c)


@case("losses.one_step_td_loss.equals_td_loss_lambda0")
def _():
    from alf.algorithms.one_step_loss import OneStepTDLoss
    from alf.algorithms.td_loss import TDLoss

    a = _td(OneStepTDLoss, False, True, gamma=0.7)
    b = _td(TDLoss, False, True, gamma=0.7, td_lambda=0.0)
    return bool((a.loss == b.loss).all())


def _qr(cls, n, sum_over, multi, with_tau=True, raw=False, **kw):
    T, B = STEP_TYPES.shape
    shape = (T, B, 2, n) if multi else (T, B, n)
    value, target = wave(*shape, k=0.7), wave(*shape, k=1.3)
    info = traj(multi)
    if multi:
        info = info._replace(reward=REWARDS2)
    loss = cls(num_quantiles=n, sum_over_quantiles=sum_over, **kw)
    tau = (torch.arange(n, dtype=torch.float32) + 0.5) / n
    a = {}
    if with_tau:
        tau_shape = (T, B, 1, n) if multi else (T, B, n)
        a = dict(
            tau_hat=tau.expand(T, B, n),
            delta_tau=torch.full((T, B, n), 1.0 / n),
            next_delta_tau=torch.full((T, B, n), 1.0 / n),
        )
    out = loss(info, value, target, **a)
    if raw:
        return out
    return {"loss": out.loss * (STEP_TYPES != L)}


@case("losses.td_qr_loss.extra_is_dict_of_value_and_returns")
def _():
    from alf.algorithms.td_loss import TDQRLoss

    x = _qr(TDQRLoss, 4, False, False, raw=True, td_lambda=1.0).extra
    return sorted(x) if isinstance(x, dict) else "not a dict"


for sum_over in (False, True):
    for lam in (0.0, 1.0):

        def _c(sum_over=sum_over, lam=lam):
            from alf.algorithms.td_loss import TDQRLoss

            return _qr(TDQRLoss, 4, sum_over, False, gamma=0.9, td_lambda=lam)

        case("losses.td_qr_loss.iqn.lambda%s.sum%d" % (lam, sum_over))(_c)

        def _c(sum_over=sum_over, lam=lam):
            from alf.algorithms.td_loss import TDQRLoss
            from alf.utils import losses as l
            from alf.utils.losses import huber_function, iqn_huber_loss

            return _qr(
                TDQRLoss,
                4,
                sum_over,
                False,
                with_tau=False,
                gamma=0.9,
                td_lambda=lam,
                td_error_loss_fn=l.quantile_huber_loss
                if hasattr(l, "quantile_huber_loss")
                else iqn_huber_loss,
            )

        case("losses.td_qr_loss.without_tau.lambda%s.sum%d" % (lam, sum_over))(_c)


@case("losses.td_qr_loss.refuses_lambda_half")
def _():
    from alf.algorithms.td_loss import TDQRLoss

    return refuses(lambda: TDQRLoss(num_quantiles=4, td_lambda=0.5))


@case("losses.td_qr_loss.refuses_wrong_quantile_number")
def _():
    from alf.algorithms.td_loss import TDQRLoss

    T, B = STEP_TYPES.shape
    return refuses(lambda: TDQRLoss(num_quantiles=5)(traj(), wave(T, B, 4), wave(T, B, 4)))


for sum_over in (False, True):

    def _c(sum_over=sum_over):
        from alf.algorithms.one_step_loss import OneStepTDQRLoss

        return _qr(OneStepTDQRLoss, 3, sum_over, False, gamma=0.8)

    case("losses.one_step_td_qr_loss.sum%d" % sum_over)(_c)


# ----------------------------------------------------------- actor critic
def _cat():
    T, B = STEP_TYPES.shape
    return td.Categorical(logits=wave(T, B, 3, k=0.9))


def _norm():
    from alf.utils.dist_utils import DiagMultivariateNormal

    T, B = STEP_TYPES.shape
    return DiagMultivariateNormal(wave(T, B, 2, k=0.8), 0.5 + seq(T, B, 2, lo=0, hi=1))


ACTS = (torch.arange(12) % 3).reshape(4, 3)
CACTS = wave(4, 3, 2, k=1.7, amp=0.7)


def _ac(kind="cat", multi=False, weights=None, **kw):
    from alf.algorithms.actor_critic_loss import ActorCriticLoss

    info = traj(
        multi,
        action=ACTS if kind == "cat" else CACTS,
        action_distribution=_cat() if kind == "cat" else _norm(),
        reward_weights=() if weights is None else weights,
    )
    return ActorCriticLoss(**kw)(info)


_AC = {
    "default": {},
    "gamma": dict(gamma=0.5),
    "gae": dict(use_gae=True),
    "gae_lambda": dict(use_gae=True, td_lambda=0.3),
    "gae_no_td_lambda_return": dict(use_gae=True, use_td_lambda_return=False),
    "lambda_ignored_without_gae": dict(td_lambda=0.3),
    "normalize": dict(normalize_advantages=True),
    "normalize_gae": dict(normalize_advantages=True, use_gae=True),
    "clip": dict(advantage_clip=0.5),
    "clip_after_normalize": dict(advantage_clip=0.5, normalize_advantages=True),
    "entropy": dict(entropy_regularization=0.1),
    "td_weight": dict(td_loss_weight=0.25),
    "all": dict(
        gamma=0.9,
        use_gae=True,
        td_lambda=0.7,
        normalize_advantages=True,
        advantage_clip=1.0,
        entropy_regularization=0.05,
        td_loss_weight=0.5,
    ),
}
for _n, _kw in _AC.items():
    for _kind in ("cat", "norm"):

        def _c(kw=_kw, kind=_kind):
            return _ac(kind, **kw)

        case("losses.actor_critic.%s.%s" % (_n, _kind))(_c)

    def _c(kw=_kw):
        w = torch.tensor([0.7, 0.3]).expand(4, 3, 2)
        return _ac("cat", True, weights=w, **kw)

    case("losses.actor_critic.%s.two_rewards" % _n)(_c)


@case("losses.actor_critic.refuses_zero_clip")
def _():
    from alf.algorithms.actor_critic_loss import ActorCriticLoss

    return refuses(lambda: ActorCriticLoss(advantage_clip=0.0))


@case("losses.actor_critic.gamma_list")
def _():
    w = torch.tensor([1.0, 0.5]).expand(4, 3, 2)
    return _ac("cat", True, weights=w, gamma=[0.9, 0.1])


@case("losses.actor_critic.calc_loss_same_as_call")
def _():
    from alf.algorithms.actor_critic_loss import ActorCriticLoss

    info = traj(action=ACTS, action_distribution=_cat())
    l = ActorCriticLoss(gamma=0.8)
    return bool((l.calc_loss(info).loss == l(info).loss).all())


@case("losses.actor_critic.nested_action")
def _():
    from alf.algorithms.actor_critic_loss import ActorCriticLoss

    info = traj(action=dict(a=ACTS, b=CACTS), action_distribution=dict(a=_cat(), b=_norm()))
    return ActorCriticLoss(entropy_regularization=0.1)(info)


# --------------------------------------------------------------------- PPO
def _ppo_info(kind="cat", multi=False, weights=None, rollout_value=False):
    from alf.algorithms.ppo_algorithm import PPOInfo

    T, B = STEP_TYPES.shape
    if kind == "cat":
        old, new, act = td.Categorical(logits=wave(T, B, 3, k=0.5)), _cat(), ACTS
    else:
        from alf.utils.dist_utils import DiagMultivariateNormal

        old = DiagMultivariateNormal(wave(T, B, 2, k=0.4), 0.8 * torch.ones(T, B, 2))
        new, act = _norm(), CACTS
    r = VALUES2 if multi else VALUES
    return PPOInfo(
        step_type=STEP_TYPES,
        discount=DISCOUNTS,
        reward=REWARDS2 if multi else REWARDS,
        action=act,
        rollout_log_prob=old.log_prob(act),
        rollout_action_distribution=old,
        returns=r + (TARGETS2 if multi else TARGETS),
        advantages=TARGETS2 if multi else TARGETS,
        action_distribution=new,
        value=r,
        reward_weights=() if weights is None else weights,
    )


_PPO = {
    "default": {},
    "no_normalize": dict(normalize_advantages=False),
    "tight_clip": dict(normalize_advantages=False, importance_ratio_clipping=0.01),
    "wide_clip": dict(normalize_advantages=False, importance_ratio_clipping=5.0),
    "no_ratio_clip": dict(normalize_advantages=False, importance_ratio_clipping=0.0),
    "log_prob_clip": dict(normalize_advantages=False, log_prob_clipping=0.9),
    "log_prob_clip_wide": dict(normalize_advantages=False, log_prob_clipping=10.0),
    "advantage_clip": dict(advantage_clip=0.3),
    "entropy": dict(entropy_regularization=0.02),
    "td_weight": dict(td_loss_weight=0.5),
    "check_numerics": dict(check_numerics=True),
}
for _n, _kw in _PPO.items():
    for _kind in ("cat", "norm"):

        def _c(kw=_kw, kind=_kind):
            from alf.algorithms.ppo_loss import PPOLoss

            return PPOLoss(**kw)(_ppo_info(kind))

        case("losses.ppo.%s.%s" % (_n, _kind))(_c)


@case("losses.ppo.two_rewards")
def _():
    from alf.algorithms.ppo_loss import PPOLoss

    w = torch.tensor([0.7, 0.3]).expand(4, 3, 2)
    return PPOLoss(normalize_advantages=False)(_ppo_info("cat", True, w))


@case("losses.ppo.two_rewards_normalized")
def _():
    from alf.algorithms.ppo_loss import PPOLoss

    w = torch.tensor([0.7, 0.3]).expand(4, 3, 2)
    return PPOLoss()(_ppo_info("cat", True, w))


@case("losses.ppo.compute_advantages_internally")
def _():
    """With the flag the GAE of rollout_value replaces the given advantages."""
    from alf.algorithms.ppo_loss import PPOLoss

    Info = namedtuple("Info", list(_ppo_info()._fields) + ["rollout_value"], default_value=())
    i = _ppo_info()
    i = Info(**i._asdict(), rollout_value=0.5 * VALUES)
    return PPOLoss(compute_advantages_internally=True, gamma=0.9, td_lambda=0.6)(i)


@case("losses.ppo.internal_advantages_need_rollout_value")
def _():
    from alf.algorithms.ppo_loss import PPOLoss

    return refuses(lambda: PPOLoss(compute_advantages_internally=True)(_ppo_info()))


@case("losses.ppo.gradients")
def _():
    from alf.algorithms.ppo_loss import PPOLoss

    lg = wave(4, 3, 3, k=0.9).requires_grad_()
    i = _ppo_info()._replace(action_distribution=td.Categorical(logits=lg))
    PPOLoss(entropy_regularization=0.01)(i).loss.sum().backward()
    return lg.grad


# ---------------------------------------------------------- entropy targets
def _et(action_spec=ACT, **kw):
    from alf.algorithms.entropy_target_algorithm import EntropyTargetAlgorithm

    return EntropyTargetAlgorithm(action_spec, **kw)


_ENT = [2.0, 1.9, 1.0, 0.2, -0.5, -1.5, -2.6, -2.5, -1.8, -2.1, -5.0, -3.0, 0.5, 1.0]
_ET = {
    "default": {},
    "skip_free_stage": dict(skip_free_stage=True),
    "max_entropy": dict(max_entropy=1.5, target_entropy=-1.0),
    "target_positive": dict(target_entropy=0.8),
    "target_positive_skip": dict(target_entropy=0.8, skip_free_stage=True),
    "window5": dict(average_window=5),
    "slow": dict(skip_free_stage=True, slow_update_rate=0.01, fast_update_rate=0.01),
    "min_alpha": dict(min_alpha=0.09, skip_free_stage=True),
    "initial_alpha": dict(
        initial_alpha=2.0, very_slow_update_rate=0.1, max_entropy=1.0, target_entropy=0.0
    ),
}
for _n, _kw in _ET.items():

    def _c(kw=_kw):
        a = _et(**kw)
        return [a.adjust_alpha(torch.tensor(e)) for e in _ENT]

    case("losses.entropy_target.adjust_alpha.%s" % _n)(_c)


@case("losses.entropy_target.refuses_target_above_max")
def _():
    return refuses(lambda: _et(target_entropy=2.0, max_entropy=1.0))


@case("losses.entropy_target.discrete_default_target")
def _():
    a = _et(DISC, skip_free_stage=True)
    return [a.adjust_alpha(torch.tensor(e)) for e in (1.0, 0.6, 0.3, 0.1, 0.2)]


@case("losses.entropy_target.train_step_info")
def _():
    d = td.Categorical(logits=wave(2, 3))
    return _et(DISC).train_step((d, torch.tensor([M, L])))


@case("losses.entropy_target.calc_loss")
def _():
    """The mean entropy over steps which are not last adjusts alpha."""
    from alf.algorithms.entropy_target_algorithm import EntropyTargetInfo

    a = _et(DISC, skip_free_stage=True)
    info = a.train_step((_cat(), STEP_TYPES)).info
    return [a.calc_loss(info), a.calc_loss(info)]


@case("losses.entropy_target.rollout_step_off_policy_is_empty")
def _():
    a = _et(DISC)
    a.set_on_policy(False)
    return a.rollout_step((_cat(), STEP_TYPES))


@case("losses.entropy_target.rollout_step_on_policy")
def _():
    a = _et(DISC)
    a.set_on_policy(True)
    return a.rollout_step((_cat(), STEP_TYPES))


@case("losses.entropy_target.all_last_steps_leave_alpha")
def _():
    a = _et(DISC, skip_free_stage=True)
    info = a.train_step((_cat(), torch.full((4, 3), L))).info
    return a.calc_loss(info)


@case("losses.nested_entropy_target.calc_loss")
def _():
    from alf.algorithms.entropy_target_algorithm import NestedEntropyTargetAlgorithm

    a = NestedEntropyTargetAlgorithm(
        dict(a=DISC, b=ACT), target_entropy=dict(a=0.5, b=-1.0), skip_free_stage=True
    )
    info = a.train_step((dict(a=_cat(), b=_norm()), STEP_TYPES)).info
    return [a.calc_loss(info), a.calc_loss(info)]


for _w in (1, 3):

    @case("losses.sgd_entropy_target.calc_loss.window%d" % _w)
    def _(w=_w):
        from alf.algorithms.entropy_target_algorithm import SGDEntropyTargetAlgorithm

        a = SGDEntropyTargetAlgorithm(
            DISC, initial_alpha=0.2, target_entropy=0.7, window_size=w, optimizer=sgd()
        )
        info = a.train_step((_cat(), STEP_TYPES)).info
        return [info.loss, a.calc_loss(info), a.calc_loss(info)]


@case("losses.sgd_entropy_target.alpha_after_update")
def _():
    from alf.algorithms.entropy_target_algorithm import SGDEntropyTargetAlgorithm

    a = SGDEntropyTargetAlgorithm(DISC, initial_alpha=0.2, target_entropy=0.3, optimizer=sgd(0.5))
    out = []
    for _ in range(3):
        l = a.calc_loss(a.train_step((_cat(), STEP_TYPES)).info)
        a.update_with_gradient(l)
        out.append([p.detach().exp() for p in a.parameters()])
    return out
