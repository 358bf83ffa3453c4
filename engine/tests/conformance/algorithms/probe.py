"""Makes a family of cases out of one RL algorithm constructor.

For `probe("rl.sac.default", make)` the cases are
  .state_specs     train, rollout and predict state specs
  .predict_step    action and state with epsilon_greedy = 0
  .rollout_step    the same while collecting, every random draw at its centre
  .train_step      the same for one training step
  .*_info          the info field of these
  .calc_loss       loss over three steps of two environments (last steps hidden)
  .calc_loss.extra what `extra` holds
  .update          parameters after one SGD step on that loss
  .target_update   parameters after three updates with after_update()
"""

import torch
from fixtures import *
from harness import case, no_noise, params_of, set_params, wave

import alf
from alf.data_structures import LossInfo

ST = torch.tensor([[F, M], [M, L], [L, F]], dtype=torch.int32)
DC = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def steps(action_spec=ACT, rdim=None, T=3, observation=None):
    out = []
    for t in range(T):
        r = wave(2, k=0.9 + t) if rdim is None else wave(2, rdim, k=0.9 + t)
        obs = wave(2, 3, k=1.0 + 0.3 * t) if observation is None else observation(t)
        pa = alf.nest.map_structure(
            lambda s: (
                wave(2, *s.shape, k=1.1 + t, amp=0.8)
                if s.is_continuous
                else ((torch.arange(2) + t) % 3).to(s.dtype)
            ),
            action_spec,
        )
        out.append(step(observation=obs, step_type=ST[t], reward=r, discount=DC[t], prev_action=pa))
    return out


def mask_last(nest):
    """Zero what stands at last steps: training masks it out."""
    m = (ST != L).to(torch.float32)

    def f(x):
        if isinstance(x, torch.Tensor) and x.shape[:2] == m.shape and x.is_floating_point():
            return x * m.reshape(m.shape + (1,) * (x.ndim - 2))
        return x

    return alf.nest.map_structure(f, nest)


def build(make):
    alg = set_params(make())
    alg.set_path("")
    return alg


def collect(alg, inputs, on_policy=False, before_train=None, state=None):
    """Infos of training steps, stacked along time."""
    infos = []

    def one(t):
        x = inputs[t]
        s = zero_state(alg.rollout_state_spec)
        with torch.set_grad_enabled(on_policy):  # off-policy unroll has no gradient
            r = alg.rollout_step(x, s)
        if on_policy:
            return r.info
        s = zero_state(alg.train_state_spec) if state is None else state
        info = r.info
        if before_train is not None:
            info = before_train(info)
        return alg.train_step(x, s, info).info

    return time_major(one, len(inputs))


ALL = (
    "state_specs",
    "predict_step",
    "rollout_step",
    "train_step",
    "calc_loss",
    "update",
    "target_update",
)


def probe(
    prefix,
    make,
    action_spec=ACT,
    rdim=None,
    parts=ALL,
    on_policy=False,
    observation=None,
    before_train=None,
    u=0.5,
    flat=False,
):
    inp = lambda: steps(action_spec, rdim, observation=observation)

    def add(part, fn):
        if part.split("_info")[0].split(".")[0] in parts:

            def run():
                with no_noise(u):
                    return fn()

            run.__doc__ = fn.__doc__
            case("%s.%s" % (prefix, part))(run)

    def split(s):
        # the nesting of recurrent states is not compared, only their leaves
        st = alf.nest.flatten(s.state) if flat else s.state
        return {"output": s.output, "state": st}, s.info

    def specs():
        a = make()
        f = alf.nest.flatten if flat else (lambda x: x)
        return {
            "train": f(a.train_state_spec),
            "rollout": f(a.rollout_state_spec),
            "predict": f(a.predict_state_spec),
        }

    def predict():
        a = build(make)
        return split(a.predict_step(inp()[0], zero_state(a.predict_state_spec)))

    def rollout():
        a = build(make)
        with torch.set_grad_enabled(on_policy):
            return split(a.rollout_step(inp()[0], zero_state(a.rollout_state_spec)))

    def train():
        a = build(make)
        x = inp()[0]
        with torch.no_grad():
            r = a.rollout_step(x, zero_state(a.rollout_state_spec)).info
        if before_train is not None:
            r = before_train(r)
        out = a.train_step(x, zero_state(a.train_state_spec), r)
        return split(out)

    def loss():
        a = build(make)
        li = a.calc_loss(collect(a, inp(), on_policy, before_train))
        return (
            mask_last({"loss": li.loss, "scalar_loss": li.scalar_loss, "priority": li.priority}),
            mask_last(li.extra),
        )

    def one_update(a):
        info = collect(a, inp(), on_policy, before_train)
        li = a.calc_loss(info)
        li = LossInfo(loss=li.loss, scalar_loss=li.scalar_loss)
        a.update_with_gradient(li, (ST != L).to(torch.float32))
        return info

    def update():
        a = build(make)
        one_update(a)
        return params_of(a)

    def target():
        a = build(make)
        for _ in range(3):
            info = one_update(a)
            a.after_update(steps(action_spec, rdim, observation=observation)[0], info)
        return params_of(a)

    add("state_specs", specs)
    add("predict_step", lambda: predict()[0])
    add("predict_step_info", lambda: predict()[1])
    add("rollout_step", lambda: rollout()[0])
    add("rollout_step_info", lambda: rollout()[1])
    if not on_policy:
        add("train_step", lambda: train()[0])
        add("train_step_info", lambda: train()[1])
    add("calc_loss", lambda: loss()[0])
    add("calc_loss.extra", lambda: loss()[1])
    add("update", update)
    add("target_update", target)
