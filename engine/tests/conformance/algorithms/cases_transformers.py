"""Data transformers."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, refuses, seq, wave

import alf
from alf.data_structures import AlgStep, TimeStep, make_experience
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def T():
    import alf.algorithms.data_transformer as m

    return m


def ts(t=0, first=(False, False), obs=None, reward=None):
    return step(
        observation=wave(2, 3, k=1.0 + t) if obs is None else obs,
        step_type=[F if f else M for f in first],
        reward=reward,
    )


@case("transformer.identity")
def _():
    a = T().IdentityDataTransformer(observation_spec=OBS)
    x, s = a.transform_timestep(ts(), ())
    return [a.transformed_observation_spec, a.state_spec, x.observation, s, a.stack_size]


@case("transformer.identity.spec_unknown_without_argument")
def _():
    return refuses(lambda: T().IdentityDataTransformer().transformed_observation_spec)


for _n, _size, _axis, _spec in (
    ("two", 2, 0, OBS),
    ("three", 3, 0, OBS),
    ("one", 1, 0, OBS),
    ("axis1", 2, 1, TensorSpec((2, 3))),
    ("scalar", 3, 0, TensorSpec(())),
    ("bounded", 2, 0, BoundedTensorSpec((2,), minimum=[0.0, -1.0], maximum=[1.0, 2.0])),
    ("negative_axis", 2, -1, TensorSpec((2, 3))),
):

    @case("transformer.frame_stacker.%s" % _n)
    def _(size=_size, axis=_axis, spec=_spec):
        """Oldest frame first; at a first step all frames are that step's."""
        a = T().FrameStacker(spec, stack_size=size, stack_axis=axis)
        s, out = zero_state(a.state_spec), []
        for t in range(4):
            x, s = a.transform_timestep(
                ts(t, (t == 0, t in (0, 2)), obs=wave(2, *spec.shape, k=1.0 + t)), s
            )
            out.append(x.observation)
        return [a.transformed_observation_spec, a.stack_size, out]


@case("transformer.frame_stacker.fields")
def _():
    spec = dict(a=OBS, b=TensorSpec((2,)))
    a = T().FrameStacker(spec, stack_size=2, fields=["a"])
    s = zero_state(a.state_spec)
    x, s = a.transform_timestep(ts(obs=dict(a=wave(2, 3), b=wave(2, 2)), first=(True, True)), s)
    x, s = a.transform_timestep(ts(obs=dict(a=wave(2, 3, k=2.0), b=wave(2, 2, k=2.0))), s)
    return [a.transformed_observation_spec, x.observation]


@case("transformer.frame_stacker.refuses_zero")
def _():
    return refuses(lambda: T().FrameStacker(OBS, stack_size=0))


def _buffer(
    types,
    obs=lambda t: wave(2, 3, k=1.0 + 0.3 * t),
    reward=lambda t: torch.tensor([0.1 * t, -0.2 * t]),
):
    from alf.experience_replayers.replay_buffer import ReplayBuffer
    from alf.utils import dist_utils

    rb = None
    for t in range(len(types)):
        x = TimeStep(
            step_type=torch.tensor(types[t], dtype=torch.int32),
            reward=reward(t),
            discount=torch.ones(2),
            observation=obs(t),
            prev_action=wave(2, 2, k=0.3 * t + 0.1),
            env_id=torch.arange(2),
        )
        e = make_experience(x, AlgStep(output=wave(2, 2)), state=())
        if rb is None:
            rb = ReplayBuffer(
                data_spec=dist_utils.extract_spec(e, from_dim=1),
                num_environments=2,
                max_length=16,
                keep_episodic_info=True,
            )
        rb.add_batch(e, e.env_id)
    return rb


def _exp(rb, positions, n):
    from alf.data_structures import add_batch_info
    from alf.experience_replayers.replay_buffer import BatchInfo

    e, p = torch.tensor([0, 1]), torch.tensor(positions)
    pos = p[:, None] + torch.arange(n)
    exp = rb.get_field(None, e[:, None].expand_as(pos), pos)
    return add_batch_info(exp, BatchInfo(env_ids=e, positions=p, replay_buffer=rb), rb)


TYPES = [[F, F], [M, M], [L, M], [F, L], [M, F], [M, M], [M, M]]

for _n, _size, _pos, _len in (("plain", 2, (1, 1), 2), ("across_begin", 3, (3, 4), 2)):

    @case("transformer.frame_stacker.experience.%s" % _n)
    def _(size=_size, pos=_pos, n=_len):
        """Frames before the sampled ones come from the buffer, not from the former episode."""
        a = T().FrameStacker(OBS, stack_size=size)
        return a.transform_experience(_exp(_buffer(TYPES), pos, n)).observation


# -------------------------------------------------------------- image, cast
for _n, _kw in dict(
    default={}, to_one=dict(min=0.0, max=1.0), scale=dict(min=-0.5, max=0.5)
).items():

    @case("transformer.image_scale.%s" % _n)
    def _(kw=_kw):
        spec = BoundedTensorSpec((1, 2, 2), dtype=torch.uint8, minimum=0, maximum=255)
        a = T().ImageScaleTransformer(spec, **kw)
        img = torch.tensor([[[[0, 255], [128, 64]]], [[[1, 2], [3, 4]]]], dtype=torch.uint8)
        return [
            a.transformed_observation_spec,
            a.transform_timestep(ts(obs=img), ())[0].observation,
        ]


@case("transformer.image_scale.fields")
def _():
    spec = dict(i=BoundedTensorSpec((1, 2, 2), dtype=torch.uint8, minimum=0, maximum=255), v=OBS)
    a = T().ImageScaleTransformer(spec, fields=["i"])
    x = a.transform_timestep(
        ts(obs=dict(i=torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), v=wave(2, 3))), ()
    )[0]
    return [a.transformed_observation_spec, x.observation]


# ---------------------------------------------------------------- normalizers
def _modes(um, make, get):
    """Values seen in the updating mode, in the other one, in plain use."""
    from alf.utils import common

    out = []
    a = make()
    for mode in (um, "rollout" if um == "replay" else "replay", None):
        if mode == "rollout":
            x = common.mark_rollout(lambda: get(a))()
        elif mode == "replay":
            x = common.mark_replay(lambda: get(a))()
        else:
            x = get(a)
        out.append(x)
    return out


for _um in ("replay", "rollout"):

    @case("transformer.observation_normalizer.update_%s" % _um)
    def _(um=_um):
        """Statistics change only in the mode asked for."""
        return _modes(
            um,
            lambda: T().ObservationNormalizer(OBS, update_mode=um),
            lambda a: a.transform_timestep(ts(), ())[0].observation,
        )

    @case("transformer.reward_normalizer.update_%s" % _um)
    def _(um=_um):
        from alf.utils.normalizers import AdaptiveNormalizer

        return _modes(
            um,
            lambda: T().RewardNormalizer(
                normalizer=AdaptiveNormalizer(TensorSpec(()), auto_update=False), update_mode=um
            ),
            lambda a: a.transform_timestep(ts(reward=torch.tensor([3.0, -1.0])), ())[0].reward,
        )


for _n, _kw in dict(
    clip=dict(clipping=0.5),
    em=dict(mode="em", update_rate=0.5),
    adaptive_speed=dict(mode="adaptive", speed=2.0),
    no_mean=dict(zero_mean=False),
).items():

    @case("transformer.observation_normalizer.%s" % _n)
    def _(kw=_kw):
        from alf.utils import common

        a = T().ObservationNormalizer(OBS, **kw)
        out = []
        for t in range(3):
            out.append(common.mark_replay(lambda: a.transform_timestep(ts(t), ())[0].observation)())
        return out


@case("transformer.observation_normalizer.fields")
def _():
    from alf.utils import common

    spec = dict(a=OBS, b=TensorSpec((2,)))
    a = T().ObservationNormalizer(spec, fields=["a"])
    o = dict(a=wave(2, 3), b=wave(2, 2))
    return common.mark_replay(lambda: a.transform_timestep(ts(obs=o), ())[0].observation)()


@case("transformer.observation_normalizer.refuses_unknown_mode")
def _():
    return refuses(lambda: T().ObservationNormalizer(OBS, mode="xx"))


@case("transformer.reward_normalizer.clip")
def _():
    from alf.utils import common
    from alf.utils.normalizers import AdaptiveNormalizer

    a = T().RewardNormalizer(
        normalizer=AdaptiveNormalizer(TensorSpec(()), auto_update=False), clip_value=0.3
    )
    return [
        common.mark_replay(
            lambda: a.transform_timestep(ts(reward=torch.tensor([3.0, -1.0])), ())[0].reward
        )(),
        a.clip_value,
    ]


@case("transformer.reward_normalizer.update_max_calls")
def _():
    from alf.utils import common
    from alf.utils.normalizers import AdaptiveNormalizer

    a = T().RewardNormalizer(
        normalizer=AdaptiveNormalizer(TensorSpec(()), auto_update=False), update_max_calls=1
    )
    return [
        common.mark_replay(lambda: a.transform_timestep(ts(reward=torch.tensor(r)), ())[0].reward)()
        for r in ([3.0, -1.0], [10.0, 20.0], [3.0, -1.0])
    ]


# -------------------------------------------------------------------- rewards
for _n, _f in dict(
    clipping=lambda m: m.RewardClipping(),
    clipping_range=lambda m: m.RewardClipping(minmax=(-0.25, 2)),
    scaling=lambda m: m.RewardScaling(0.5),
    shifting=lambda m: m.RewardShifting(bias=1.5),
    functional=lambda m: m.FunctionalRewardTransformer(lambda r: r**2),
).items():

    @case("transformer.reward_%s" % _n)
    def _(f=_f):
        a = f(T())
        x = a.transform_timestep(ts(reward=torch.tensor([3.0, -1.5])), ())[0]
        y = a.transform_timestep(step(rdim=2, reward=torch.tensor([[3.0, -1.5], [0.1, 0.2]])), ())[
            0
        ]
        return [a.forward(torch.tensor([0.7, 5.0])), x.reward, y.reward]


@case("transformer.reward_clipping.refuses_reversed_range")
def _():
    return refuses(lambda: T().RewardClipping(minmax=(1, -1)))


# -------------------------------------------------------------------- hindsight
for _n, _a, _g, _kw in (
    ("vector", wave(2, 2, 3), wave(2, 2, 3, k=1.2), {}),
    ("close", 0.01 * wave(2, 2, 3), torch.zeros(2, 2, 3), {}),
    ("scalar", torch.tensor([[0.0, 1.0]]), torch.tensor([[0.04, 1.06]]), {}),
    ("threshold", torch.tensor([[0.0, 1.0]]), torch.tensor([[0.04, 1.06]]), dict(threshold=0.1)),
):

    @case("transformer.l2_dist_close_reward.%s" % _n)
    def _(a=_a, g=_g, kw=_kw):
        """0 within the threshold, -1 otherwise."""
        return T().l2_dist_close_reward_fn(a, g, **kw)


def _her(u, proportion=0.8, pos=(1, 0), **kw):
    spec = dict(achieved_goal=TensorSpec((2,)), desired_goal=TensorSpec((2,)))
    obs = lambda t: dict(
        achieved_goal=torch.tensor([[0.1 * t, 0.0], [0.5, -0.1 * t]]),
        desired_goal=torch.tensor([[0.3, 0.0], [0.5, 0.5]]),
    )

    def rew(t):
        o = obs(t)
        return -((o["achieved_goal"] - o["desired_goal"]).norm(dim=1) >= 0.05).float()

    rb = _buffer(TYPES, obs, rew)
    a = T().HindsightExperienceTransformer(spec, her_proportion=proportion, **kw)
    with no_noise(u=u):
        r = a.transform_experience(_exp(rb, pos, 2))
    return [
        r.time_step.reward,
        r.time_step.observation["desired_goal"],
        r.time_step.observation["achieved_goal"],
    ]


for _u in (0.0, 0.5, 0.79, 0.95):

    @case("transformer.hindsight.uniform%s" % _u)
    def _(u=_u):
        """All uniform draws equal: below the proportion every pair is relabelled
        with the achieved goal that fraction of the way to the episode's end."""
        return _her(u)


@case("transformer.hindsight.proportion_zero")
def _():
    return _her(0.0, 0.0)


@case("transformer.hindsight.own_reward_function")
def _():
    return _her(0.5, reward_fn=lambda ag, g: (ag - g).sum(-1))


@case("transformer.hindsight.timestep_unchanged")
def _():
    spec = dict(achieved_goal=TensorSpec((2,)), desired_goal=TensorSpec((2,)))
    a = T().HindsightExperienceTransformer(spec)
    o = dict(achieved_goal=wave(2, 2), desired_goal=wave(2, 2))
    return [a.transformed_observation_spec, a.transform_timestep(ts(obs=o), ())[0].observation]


# ------------------------------------------------------------------- composition
@case("transformer.untransformed")
def _():
    a = T().UntransformedTimeStep(OBS)
    x = a.transform_timestep(ts(), ())[0]
    b = T().UntransformedTimeStep(OBS, fields_to_keep=["reward"])
    y = b.transform_timestep(ts(), ())[0]
    return [
        x.untransformed.observation,
        x.untransformed.reward,
        y.untransformed.reward,
        y.untransformed.observation,
    ]


@case("transformer.sequential")
def _():
    m = T()
    a = m.SequentialDataTransformer(
        [
            m.UntransformedTimeStep,
            partial(m.FrameStacker, stack_size=2),
            partial(m.RewardScaling, 0.5),
        ],
        OBS,
    )
    s = zero_state(a.state_spec)
    x, s = a.transform_timestep(ts(0, (True, True), reward=torch.tensor([1.0, 2.0])), s)
    x, s = a.transform_timestep(ts(1, reward=torch.tensor([1.0, 2.0])), s)
    return [
        a.transformed_observation_spec,
        a.stack_size,
        x.observation,
        x.reward,
        x.untransformed.reward,
        x.untransformed.observation,
        len(a.members()),
    ]


for _n, _f in dict(
    stacker_after_reward=lambda m: [
        partial(m.RewardScaling, 0.5),
        partial(m.FrameStacker, stack_size=2),
    ],
    untransformed_late=lambda m: [partial(m.FrameStacker, stack_size=2), m.UntransformedTimeStep],
    hindsight_after_reward=lambda m: [
        partial(m.RewardScaling, 0.5),
        m.HindsightExperienceTransformer,
    ],
).items():

    @case("transformer.sequential.refuses_%s" % _n)
    def _(f=_f):
        m = T()
        return refuses(lambda: m.SequentialDataTransformer(f(m), OBS))


@case("transformer.create_data_transformer")
def _():
    m = T()
    a = m.create_data_transformer(None, OBS)
    b = m.create_data_transformer(partial(m.FrameStacker, stack_size=2), OBS)
    c = m.create_data_transformer(
        [partial(m.FrameStacker, stack_size=2), partial(m.RewardScaling, 0.5)], OBS
    )
    return [type(x).__name__ for x in (a, b, c)] + [c.transformed_observation_spec]
