"""Algorithm base class: optimizers, state dicts, check points, updates, unroll."""

import copy
import json
import os
import tempfile
from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave
from torch import nn

import alf
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def _algs():
    from alf.algorithms.algorithm import Algorithm

    class Leaf(Algorithm):
        def __init__(self, optimizer=None, n=2, name="Leaf", checkpoint=None, sub=None):
            super().__init__(optimizer=optimizer, name=name, checkpoint=checkpoint)
            self._w = nn.Parameter(torch.ones(n))
            self._b = nn.Parameter(torch.zeros(()))
            if sub is not None:
                self._sub = sub

        def calc_loss(self, info):
            return info

    class Tree(Algorithm):
        def __init__(self, optimizer=None, ignore=(), name="Tree", checkpoint=None, **children):
            super().__init__(optimizer=optimizer, name=name, checkpoint=checkpoint)
            self._ignore = list(ignore)
            for k, v in children.items():
                setattr(self, k, v)

        def _trainable_attributes_to_ignore(self):
            return self._ignore

        def calc_loss(self, info):
            return info

    return Leaf, Tree


def info_of(a):
    """[optimizer class, learning rate, parameter names] for each optimizer."""
    out = []
    for o in json.loads(a.get_optimizer_info()):
        lr = (o.get("hypers") or {}).get("lr")
        out.append([o["optimizer"], None if lr is None else float(lr), sorted(o["parameters"])])
    return sorted(out, key=str)


def adam(lr=0.5):
    return alf.optimizers.Adam(lr=lr)


# ----------------------------------------------------------- optimizer assignment
@case("core.optimizer_info.no_optimizer")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(a=Leaf(), b=Leaf()))


@case("core.optimizer_info.default_takes_all")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(sgd(), a=Leaf(), b=Leaf()))


@case("core.optimizer_info.child_keeps_its_own")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(sgd(), a=Leaf(adam()), b=Leaf()))


@case("core.optimizer_info.only_child_has_one")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(a=Leaf(adam()), b=Leaf()))


@case("core.optimizer_info.add_optimizer_for_module")
def _():
    Leaf, Tree = _algs()
    m = nn.Linear(2, 3)
    t = Tree(sgd(), a=Leaf(), m=m)
    t.add_optimizer(adam(), [m])
    return info_of(t)


@case("core.optimizer_info.add_optimizer_for_parameter")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), a=Leaf(), p=nn.Parameter(torch.zeros(3)))
    t.add_optimizer(adam(), [t.p])
    return info_of(t)


@case("core.optimizer_info.module_list")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), ms=nn.ModuleList([nn.Linear(1, 1), nn.Linear(2, 1)]))
    t.add_optimizer(adam(), [t.ms[1]])
    return info_of(t)


@case("core.optimizer_info.module_list_added_whole")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), ms=nn.ModuleList([nn.Linear(1, 1), nn.Linear(2, 1)]), a=Leaf())
    t.add_optimizer(adam(), [t.ms])
    return info_of(t)


@case("core.optimizer_info.parameter_list")
def _():
    Leaf, Tree = _algs()
    t = Tree(
        sgd(), ps=nn.ParameterList([nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))])
    )
    t.add_optimizer(adam(), [t.ps[0]])
    return info_of(t)


@case("core.optimizer_info.module_dict")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), md=nn.ModuleDict(dict(x=nn.Linear(1, 1), y=nn.Linear(2, 1))))
    t.add_optimizer(adam(), [t.md["y"]])
    return info_of(t)


@case("core.optimizer_info.ignored_attribute")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(sgd(), ignore=["b"], a=Leaf(), b=Leaf()))


@case("core.optimizer_info.ignored_child_optimizer_is_listed")
def _():
    Leaf, Tree = _algs()
    return info_of(Tree(sgd(), ignore=["b"], a=Leaf(), b=Leaf(adam())))


@case("core.optimizer_info.child_algorithm_added")
def _():
    """Parameters of a child algorithm go to the optimizer added for it."""
    Leaf, Tree = _algs()
    l = Leaf()
    t = Tree(sgd(), a=l, b=Leaf())
    t.add_optimizer(adam(), [l])
    return info_of(t)


@case("core.optimizer_info.three_levels")
def _():
    Leaf, Tree = _algs()
    inner = Tree(adam(), x=Leaf(), y=Leaf(adam(0.25), n=3))
    return info_of(Tree(sgd(), inner=inner, z=Leaf()))


@case("core.optimizer_info.hypers_are_numbers")
def _():
    Leaf, Tree = _algs()
    o = json.loads(Tree(sgd(), a=Leaf()).get_optimizer_info())[0]
    return [o["hypers"]["lr"], sorted(o)]


@case("core.optimizer_info.force_params_visible_to_parent")
def _():
    Leaf, Tree = _algs()
    l = Leaf(adam())
    l.force_params_visible_to_parent = True
    return [
        l.force_params_visible_to_parent,
        Leaf().force_params_visible_to_parent,
        info_of(Tree(sgd(), a=l)),
    ]


@case("core.optimizer_info.called_twice")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), a=Leaf())
    info_of(t)
    return info_of(t)


@case("core.add_optimizer.refuses_none")
def _():
    Leaf, Tree = _algs()
    t = Tree(a=Leaf())
    return refuses(lambda: t.add_optimizer(None, [t.a]))


@case("core.optimizers.count")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), ignore=["c"], a=Leaf(adam()), b=Leaf(), c=Leaf(adam()))
    return [
        len(t.optimizers()),
        len(t.optimizers(recurse=False)),
        len(t.optimizers(include_ignored_attributes=True)),
    ]


@case("core.default_optimizer")
def _():
    Leaf, Tree = _algs()
    o = sgd()
    return [Tree(o).default_optimizer is o, Tree().default_optimizer is None]


@case("core.unoptimized_parameter_info")
def _():
    Leaf, Tree = _algs()
    return json.loads(Tree(a=Leaf(adam()), b=Leaf()).get_unoptimized_parameter_info())


@case("core.get_param_name")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), a=Leaf())
    t.get_optimizer_info()
    return [t.get_param_name(t.a._w), t.get_param_name(nn.Parameter(torch.zeros(1)))]


@case("core.compute_paras_statistics")
def _():
    """Per parameter: L2 and L1 norm over size, mean, standard deviation."""
    Leaf, Tree = _algs()
    t = set_params(Tree(a=Leaf(n=4), m=nn.Linear(2, 3)))
    return {
        k: torch.as_tensor(v, dtype=torch.float32) for k, v in t.compute_paras_statistics().items()
    }


# --------------------------------------------------------------------- state dict
@case("core.state_dict.keys_nested")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), a=Leaf(adam()), m=nn.Linear(2, 3), bn=nn.BatchNorm1d(2))
    return sorted(t.state_dict())


@case("core.state_dict.two_optimizers")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(), m=nn.Linear(2, 3))
    t.add_optimizer(adam(), [t.m])
    t.p = nn.Parameter(torch.zeros(1))
    return sorted(k for k in t.state_dict() if "_optimizers" in k)


@case("core.state_dict.shared_module_saved_once")
def _():
    Leaf, Tree = _algs()
    m = nn.Linear(2, 3)
    return sorted(Tree(a=nn.Sequential(m), b=nn.Sequential(m)).state_dict())


@case("core.state_dict.cycle")
def _():
    Leaf, Tree = _algs()
    a, b = nn.Linear(1, 1), nn.Linear(1, 2)
    a.other = b
    b.other = a
    return sorted(Tree(a=a).state_dict())


@case("core.state_dict.round_trip_with_momentum")
def _():
    Leaf, Tree = _algs()
    mk = lambda: Tree(adam(0.1), a=Leaf())
    t, u = mk(), mk()
    for _ in range(2):
        t.update_with_gradient(LossInfo(loss=(t.a._w**2).sum() + t.a._b))
    u.load_state_dict(copy.deepcopy(t.state_dict()))
    out = []
    for x in (t, u):
        x.update_with_gradient(LossInfo(loss=(x.a._w**2).sum() + x.a._b))
        out.append(x.a._w.detach().clone())
    return out


@case("core.load_state_dict.reports_keys")
def _():
    Leaf, Tree = _algs()
    t, u = Tree(a=Leaf()), Tree(a=Leaf(), b=Leaf())
    r = u.load_state_dict(t.state_dict(), strict=False)
    q = t.load_state_dict(u.state_dict(), strict=False)
    return [
        sorted(r.missing_keys),
        sorted(r.unexpected_keys),
        sorted(q.missing_keys),
        sorted(q.unexpected_keys),
    ]


@case("core.load_state_dict.strict_reports_instead_of_raising")
def _():
    """Keys are kept in lists when strict; only a shape mismatch is refused."""
    Leaf, Tree = _algs()
    t, u = Tree(a=Leaf()), Tree(a=Leaf(), b=Leaf())
    r = u.load_state_dict(t.state_dict(), strict=True)
    return [sorted(r.missing_keys), sorted(r.unexpected_keys)]


@case("core.load_state_dict.refuses_other_shape")
def _():
    Leaf, Tree = _algs()
    t, u = Tree(a=Leaf()), Tree(a=Leaf(n=3))
    return refuses(lambda: u.load_state_dict(t.state_dict()))


@case("core.checkpoint.enable_checkpoint_false_leaves_out")
def _():
    from alf.utils.checkpoint_utils import enable_checkpoint

    Leaf, Tree = _algs()
    t = Tree(a=Leaf(), b=Leaf())
    enable_checkpoint(t.b, False)
    return sorted(t.state_dict())


def _save(alg, key="alg"):
    from alf.utils.checkpoint_utils import Checkpointer

    d = tempfile.mkdtemp()
    Checkpointer(d, **{key: alg}).save(5)
    return os.path.join(d, "ckpt-5")


for _n, _prefix in (("whole", ""), ("alg", "alg@"), ("sub", "alg.a@")):

    @case("core.checkpoint.preload_%s" % _n)
    def _(prefix=_prefix):
        """checkpoint="prefix@path" loads the part below the prefix at construction."""
        Leaf, Tree = _algs()
        t = Tree(a=Leaf(), b=Leaf())
        with torch.no_grad():
            t.a._w.fill_(7.0), t.b._w.fill_(8.0)
        path = _save(t)
        if prefix == "alg.a@":
            u = Leaf(checkpoint=prefix + path)
            return [u._w, u.pre_loaded]
        u = Tree(a=Leaf(), b=Leaf())
        from alf.algorithms.algorithm import Algorithm

        class Pre(Algorithm):
            def __init__(self, checkpoint):
                super().__init__(checkpoint=checkpoint)
                self.a, self.b = Leaf(), Leaf()

        u = Pre(prefix + path)
        return [u.a._w, u.b._w, u.pre_loaded, u.a.pre_loaded]


@case("core.checkpoint.preload_from_trainer_file")
def _():
    """The trainer writes the entry `algorithm`; a prefix may start with it."""
    Leaf, Tree = _algs()
    t = Tree(a=Leaf(), b=Leaf())
    with torch.no_grad():
        t.a._w.fill_(7.0)
    return Leaf(checkpoint="algorithm.a@" + _save(t, "algorithm"))._w


@case("core.checkpoint.preload_skipped_by_later_load")
def _():
    """A preloaded child keeps its values when the parent is loaded."""
    Leaf, Tree = _algs()
    t = Tree(a=Leaf())
    with torch.no_grad():
        t.a._w.fill_(7.0)
    path = _save(t)
    child = Leaf(checkpoint="alg.a@" + path)
    p = Tree(a=child, b=Leaf())
    q = Tree(a=Leaf(), b=Leaf())
    with torch.no_grad():
        q.a._w.fill_(1.5), q.b._w.fill_(2.5)
    p.load_state_dict(q.state_dict())
    out = [p.a._w.detach().clone(), p.b._w.detach().clone()]
    p.load_state_dict(q.state_dict(), skip_preloded=False)
    return out + [p.a._w]


@case("core.checkpoint.preload_refuses_prefix_without_alg")
def _():
    Leaf, Tree = _algs()
    path = _save(Tree(a=Leaf()))
    return refuses(lambda: Leaf(checkpoint="xyz@" + path))


@case("core.checkpoint.preload_refuses_mismatch")
def _():
    Leaf, Tree = _algs()
    path = _save(Tree(a=Leaf()))
    return refuses(lambda: Leaf(checkpoint="alg@" + path))


@case("core.checkpoint.not_preloaded_by_default")
def _():
    return _algs()[0]().pre_loaded


# ------------------------------------------------------------------------ update
@case("core.update_with_gradient.sgd_step")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(0.5), a=Leaf())
    li, params = t.update_with_gradient(LossInfo(loss=(3 * t.a._w).sum() + t.a._b))
    return [t.a._w, t.a._b, li, sorted(n for n, _ in params)]


@case("core.update_with_gradient.mean_over_loss")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    li, _ = t.update_with_gradient(LossInfo(loss=torch.stack([t.a._w, 3 * t.a._w])))
    return [t.a._w, li]


@case("core.update_with_gradient.valid_masks")
def _():
    """Masked entries are zeroed, and still count in the mean."""
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    m = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    li, _ = t.update_with_gradient(
        LossInfo(loss=torch.stack([t.a._w, 3 * t.a._w]), extra=dict(x=torch.ones(2, 2))), m
    )
    return [t.a._w, li]


@case("core.update_with_gradient.weight")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    li, _ = t.update_with_gradient(LossInfo(loss=1 * t.a._w), weight=0.25)
    return [t.a._w, li]


@case("core.update_with_gradient.scalar_loss_is_added")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    li, _ = t.update_with_gradient(
        LossInfo(loss=torch.stack([t.a._w, t.a._w]), scalar_loss=2 * t.a._b)
    )
    return [t.a._w, t.a._b, li]


@case("core.update_with_gradient.scalar_loss_only")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    li, _ = t.update_with_gradient(LossInfo(scalar_loss=2 * t.a._b))
    return [t.a._b, li]


@case("core.update_with_gradient.refuses_vector_scalar_loss")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    return refuses(lambda: t.update_with_gradient(LossInfo(scalar_loss=t.a._w)))


@case("core.update_with_gradient.refuses_unhandled_parameters")
def _():
    Leaf, Tree = _algs()
    t = Tree(a=Leaf(sgd()), b=Leaf())
    return refuses(lambda: t.update_with_gradient(LossInfo(loss=1 * t.a._w)))


@case("core.update_with_gradient.gradients_reset_between_calls")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf())
    for _ in range(3):
        t.update_with_gradient(LossInfo(loss=1 * t.a._w))
    return t.a._w


@case("core.update_with_gradient.each_optimizer_steps")
def _():
    Leaf, Tree = _algs()
    t = Tree(sgd(1.0), a=Leaf(sgd(0.1)), b=Leaf())
    t.update_with_gradient(LossInfo(loss=t.a._w + t.b._w + t.a._b + t.b._b))
    return [t.a._w, t.b._w]


@case("core.calc_loss.refuses_other_than_loss_info")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    return [
        refuses(lambda: A().calc_loss(torch.zeros(1))),
        A().calc_loss(LossInfo(loss=torch.ones(1))),
    ]


@case("core.train_from_unroll.masks_last_steps")
def _():
    """Returns T*B; the loss of last steps gives no gradient."""
    from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
    from alf.data_structures import Experience

    class A(OnPolicyAlgorithm):
        def __init__(self, **kw):
            super().__init__(OBS, ACT, train_state_spec=(), config=config(**kw), optimizer=sgd(1.0))
            self._w = nn.Parameter(torch.zeros(4, 3))

        def calc_loss(self, info):
            return LossInfo(loss=info * self._w)

    out = []
    for mask in (True, False):
        a = A(mask_out_loss_for_last_step=mask)
        ts = TimeStep(
            step_type=STEP_TYPES,
            reward=REWARDS,
            discount=DISCOUNTS,
            observation=wave(4, 3, 3),
            prev_action=wave(4, 3, 2),
            env_id=torch.zeros(4, 3),
        )
        n = a.train_from_unroll(Experience(time_step=ts, action=wave(4, 3, 2)), torch.ones(4, 3))
        out.append([n, a._w.detach().clone()])
    return out


# --------------------------------------------------------------------- properties
@case("core.state_specs.defaults_follow_train")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    a = A(train_state_spec=TensorSpec((2,)))
    b = A(train_state_spec=TensorSpec((2,)), rollout_state_spec=TensorSpec((3,)))
    c = A(train_state_spec=TensorSpec((2,)), predict_state_spec=TensorSpec((4,)))
    return [[x.train_state_spec, x.rollout_state_spec, x.predict_state_spec] for x in (a, b, c)]


@case("core.initial_states")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    a = A(
        train_state_spec=dict(a=TensorSpec((2,)), b=TensorSpec((), torch.int64)),
        predict_state_spec=(),
    )
    return [
        a.get_initial_train_state(3),
        a.get_initial_rollout_state(2),
        a.get_initial_predict_state(2),
        a.get_initial_transform_state(2),
    ]


@case("core.on_policy")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    a, b = A(), A(is_on_policy=True)
    a.set_on_policy(False)
    b.set_on_policy(True)
    return [
        A().on_policy,
        a.on_policy,
        b.on_policy,
        refuses(lambda: b.set_on_policy(False)),
        A().is_rl(),
        A().has_offline,
    ]


@case("core.on_policy_of_base_classes")
def _():
    from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
    from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
    from alf.algorithms.rl_algorithm import RLAlgorithm

    class A(OffPolicyAlgorithm):
        pass

    class B(OnPolicyAlgorithm):
        pass

    class C(RLAlgorithm):
        pass

    k = dict(observation_spec=OBS, action_spec=ACT, train_state_spec=())
    return [x(**k).on_policy for x in (A, B, C)] + [A(**k).is_rl()]


@case("core.use_rollout_state.reaches_children")
def _():
    Leaf, Tree = _algs()
    t = Tree(a=Leaf())
    t.use_rollout_state = True
    return [t.use_rollout_state, t.a.use_rollout_state, t.need_full_rollout_state()]


@case("core.need_full_rollout_state")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    a = A(train_state_spec=TensorSpec((1,)))
    before = a.need_full_rollout_state()
    a.use_rollout_state = True
    return [before, a.need_full_rollout_state()]


@case("core.convert_train_state_to_predict_state")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        pass

    s = torch.ones(2, 1)
    return [
        A(train_state_spec=TensorSpec((1,))).convert_train_state_to_predict_state(s),
        refuses(
            lambda: A(
                train_state_spec=TensorSpec((1,)), predict_state_spec=()
            ).convert_train_state_to_predict_state(s)
        ),
    ]


@case("core.path")
def _():
    Leaf, Tree = _algs()
    t = Tree(a=Leaf())
    t.set_path("x.y")
    return [t.path, Leaf().path, t.name]


@case("core.forward_is_refused")
def _():
    return refuses(lambda: _algs()[0]()(torch.zeros(1)))


@case("core.loss_class")
def _():
    """The Loss algorithm passes its input on as the loss, times a weight."""
    from alf.algorithms.algorithm import Loss

    a, b = Loss(), Loss(loss_weight=0.5)
    a.set_on_policy(True)
    b.set_on_policy(False)
    x = wave(2, 2)
    return [
        a.rollout_step(x),
        b.rollout_step(x),
        b.train_step(x),
        b.calc_loss(x),
        a.predict_step(x),
    ]


@case("core.train_step_offline.falls_back")
def _():
    from alf.algorithms.algorithm import Algorithm

    class A(Algorithm):
        def train_step(self, inputs, state, rollout_info):
            return AlgStep(output=inputs + 1, info=rollout_info)

    return [
        A().train_step_offline(torch.ones(1), (), torch.zeros(1)),
        A().calc_loss_offline(LossInfo(loss=torch.ones(1))),
    ]


@case("core.post_init_runs_once_at_the_end")
def _():
    from alf.algorithms.algorithm import Algorithm

    log = []

    class A(Algorithm):
        def __init__(self):
            super().__init__()
            log.append("A")

        def _post_init(self):
            log.append("post")

    class B(A):
        def __init__(self):
            super().__init__()
            log.append("B")

    B()
    return log


@case("core.specs_not_available_before_use")
def _():
    a = _algs()[0]()
    return [
        refuses(lambda: a.train_info_spec),
        refuses(lambda: a.experience_spec),
        refuses(lambda: a.processed_experience_spec),
    ]


# ------------------------------------------------------------------ replay, unroll
@case("core.observe_for_replay")
def _():
    from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
    from alf.data_structures import make_experience

    class A(OffPolicyAlgorithm):
        pass

    a = A(OBS, ACT, train_state_spec=(), config=config())
    a.set_replay_buffer(2, 6)
    for t in range(3):
        a.observe_for_replay(
            make_experience(
                step(obs=wave(2, 3, k=1.0 + t)),
                AlgStep(output=wave(2, 2), info=dict(v=wave(2))),
                state=(),
            )
        )
    rb = a._replay_buffer
    e, _ = rb.gather_all()
    return [
        int(rb.total_size),
        rb.num_environments,
        e.time_step.observation,
        e.rollout_info,
        e.state,
    ]


@case("core.observe_for_replay.keeps_state_only_if_used")
def _():
    from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
    from alf.data_structures import make_experience

    class A(OffPolicyAlgorithm):
        pass

    out = []
    for use in (False, True):
        a = A(OBS, ACT, train_state_spec=TensorSpec((2,)), config=config(use_rollout_state=use))
        a.set_replay_buffer(2, 6)
        a.observe_for_replay(make_experience(step(), AlgStep(output=wave(2, 2)), state=wave(2, 2)))
        out.append(a._replay_buffer.gather_all()[0].state)
    return out


@case("core.reward_weights")
def _():
    """Default weights are ones; set_reward_weights changes them."""
    from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm

    class A(OffPolicyAlgorithm):
        pass

    k = dict(observation_spec=OBS, action_spec=ACT, train_state_spec=(), config=config())
    a = A(reward_spec=REW2, **k)
    b = A(reward_spec=REW2, reward_weights=[0.5, 2.0], **k)
    out = [
        a.has_multidim_reward(),
        A(**k).has_multidim_reward(),
        a.reward_weights,
        b.reward_weights,
    ]
    a.set_reward_weights(torch.tensor([1.0, 3.0]))
    return out + [a.reward_weights]


for _n in ("ValueUnittestEnv", "PolicyUnittestEnv"):

    @case("core.unroll.on_policy.%s" % _n)
    def _(n=_n):
        """Shapes and bookkeeping of an unroll of four steps with a fixed policy."""
        from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
        from alf.environments import suite_unittest as su

        torch.manual_seed(0)
        kw = dict(action_type=su.ActionType.Continuous) if "Policy" in n else {}
        env = getattr(su, n)(batch_size=2, episode_length=3, **kw)

        class A(OnPolicyAlgorithm):
            def __init__(self):
                super().__init__(
                    env.observation_spec(),
                    env.action_spec(),
                    train_state_spec=TensorSpec((), torch.int64),
                    env=env,
                    config=config(unroll_length=4),
                )
                self._w = nn.Parameter(torch.zeros(1))

            def rollout_step(self, inputs, state):
                a = alf.nest.map_structure(lambda s: s.zeros((2,)), env.action_spec())
                return AlgStep(output=a, state=state + 1, info=dict(s=state))

        exp = A().unroll(4)
        return [
            exp.step_type,
            exp.time_step.discount,
            list(exp.reward.shape),
            exp.rollout_info,
            exp.time_step.env_id,
            exp.batch_info,
            list(exp.action.shape),
        ]


@case("core.action_distribution_specs")
def _():
    out = []
    for name, s in (("continuous", ACT), ("discrete", DISC), ("nested", dict(a=ACT, b=DISC))):
        from alf.utils import dist_utils

        net = nets()["actor_dist"](OBS, s)
        out.append(dist_utils.to_distribution_param_spec(net.output_spec))
    return out
