"""Behaviour cloning and hand-crafted controllers."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def bc(action_spec=ACT, mod="bc", net="actor_dist", **kw):
    import importlib

    m = importlib.import_module("alf.algorithms.%s_algorithm" % mod)
    C = m.BcAlgorithm if mod == "bc" else m.CausalBcAlgorithm
    n = nets()
    if mod != "bc":
        kw.setdefault(
            "discriminator_network_cls",
            partial(
                alf.networks.EncodingNetwork,
                fc_layer_params=(4,),
                activation=torch.tanh,
                last_layer_size=2,
                last_activation=alf.math.identity,
            ),
        )
        kw["discriminator_optimizer"] = sgd()
    return set_params(
        C(
            OBS,
            action_spec,
            actor_network_cls=n[net],
            actor_optimizer=sgd(),
            config=config(),
            epsilon_greedy=0.0,
            **kw,
        )
    )


def info(action_spec=ACT, t=0):
    from alf.data_structures import BasicRLInfo

    return BasicRLInfo(
        action=wave(2, 2, k=1.3 + t, amp=0.5) if action_spec is ACT else torch.tensor([t % 3, 2])
    )


for _n, _s in (("continuous", ACT), ("discrete", DISC)):

    @case("imitation.bc.%s.predict_step" % _n)
    def _(s=_s):
        a = bc(s)
        r = a.predict_step(step(), zero_state(a.predict_state_spec))
        return [a.train_state_spec, r.output, r.state]

    @case("imitation.bc.%s.train_step_offline" % _n)
    def _(s=_s):
        """Minus the log probability of the data's action."""
        a = bc(s)
        r = a.train_step_offline(step(), zero_state(a.train_state_spec), info(s))
        return [r.output, r.state, r.info]

    @case("imitation.bc.%s.calc_loss_offline" % _n)
    def _(s=_s):
        a = bc(s)
        i = time_major(
            lambda t: (
                a.train_step_offline(
                    step(obs=wave(2, 3, k=1.0 + t)), zero_state(a.train_state_spec), info(s, t)
                ).info
            ),
            3,
        )
        li = a.calc_loss_offline(i)
        return [li.loss, li.extra]

    @case("imitation.bc.%s.update" % _n)
    def _(s=_s):
        a = bc(s)
        i = time_major(
            lambda t: (
                a.train_step_offline(
                    step(obs=wave(2, 3, k=1.0 + t)), zero_state(a.train_state_spec), info(s, t)
                ).info
            ),
            3,
        )
        a.update_with_gradient(a.calc_loss_offline(i)._replace(extra=()))
        return params_of(a)


for _n, _net, _kw in (
    ("default", "actor_dist", {}),
    ("weights", "actor_dist", dict(f_norm_penalty_weight=0.1, bc_regulatization_weight=0.5)),
    (
        "no_regularization",
        "actor_dist",
        dict(f_norm_penalty_weight=0.0, bc_regulatization_weight=0.0),
    ),
):

    @case("imitation.causal_bc.%s.train_step_offline" % _n)
    def _(net=_net, kw=_kw):
        a = bc(ACT, "causal_bc", net, **kw)
        r = a.train_step_offline(step(), zero_state(a.train_state_spec), info())
        return [r.output, r.state, r.info]

    @case("imitation.causal_bc.%s.calc_loss_offline" % _n)
    def _(net=_net, kw=_kw):
        """The discriminator of the previous step pairs with the action of the next."""
        a = bc(ACT, "causal_bc", net, **kw)
        i = time_major(
            lambda t: (
                a.train_step_offline(
                    step(obs=wave(2, 3, k=1.0 + t)), zero_state(a.train_state_spec), info(ACT, t)
                ).info
            ),
            3,
        )
        li = a.calc_loss_offline(i)
        return [li.loss, li.extra]

    @case("imitation.causal_bc.%s.update" % _n)
    def _(net=_net, kw=_kw):
        a = bc(ACT, "causal_bc", net, **kw)
        i = time_major(
            lambda t: (
                a.train_step_offline(
                    step(obs=wave(2, 3, k=1.0 + t)), zero_state(a.train_state_spec), info(ACT, t)
                ).info
            ),
            3,
        )
        a.update_with_gradient(a.calc_loss_offline(i)._replace(extra=()))
        return params_of(a)


@case("imitation.causal_bc.predict_step")
def _():
    a = bc(ACT, "causal_bc", "actor_dist")
    r = a.predict_step(step(), zero_state(a.predict_state_spec))
    return [r.output, r.state]


@case("imitation.fields")
def _():
    from alf.algorithms import bc_algorithm as b
    from alf.algorithms import causal_bc_algorithm as c

    return [
        list(x._fields)
        for x in (b.BcState, b.BcInfo, b.BcLossInfo, c.BcState, c.BcInfo, c.BcLossInfo)
    ]


# ---------------------------------------------------------------- hand-crafted
def carla(obs=None, **kw):
    from alf.algorithms.handcrafted_algorithm import SimpleCarlaAlgorithm

    return SimpleCarlaAlgorithm(
        OBS, BoundedTensorSpec((4,), minimum=-1, maximum=1), config=config(), **kw
    )


def carla_obs(waypoints=2):
    wp = torch.tensor(
        [[[1.0, 0, 0], [2.0, 1, 0]], [[0.0, 1, 0], [-1.0, 1, 0]], [[1.0, -1, 0], [0.0, -1, 0]]]
    )[:, :waypoints]
    return dict(
        observation=dict(
            navigation=wp, goal=torch.tensor([[100.0, 0, 0], [20.0, 5, 0], [0.3, 0.2, 0]])
        )
    )


for _n, _w, _kw in (
    ("default", 2, {}),
    ("one_waypoint", 1, {}),
    ("distances", 2, dict(distance_to_decelerate=10.0, distance_to_stop=25.0)),
):

    @case("imitation.handcrafted.carla.%s" % _n)
    def _(w=_w, kw=_kw):
        """Throttle by the distance to the goal; steering by the way point's angle over pi."""
        a = carla(**kw)
        x = step(3, observation=carla_obs(w), action_spec=ACT)
        return [a.predict_step(x, ()).output, a.rollout_step(x, ()).output]


@case("imitation.handcrafted.base_needs_policy")
def _():
    from alf.algorithms.handcrafted_algorithm import HandcraftedAlgorithm

    a = HandcraftedAlgorithm(OBS, ACT, config=config())
    return [
        refuses(lambda: a.predict_step(step(), ())),
        a.train_state_spec,
        a.train_step(step(), (), ()),
        a.calc_loss(()),
    ]
