"""Encoders, auto-encoders, decoders, predictive learners, MERLIN, MoNet, MI."""

from functools import partial

import torch
import torch.distributions as td
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave

import alf
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def enc(spec, **kw):
    from alf.networks import EncodingNetwork

    kw.setdefault("fc_layer_params", (4,))
    kw.setdefault("activation", torch.tanh)
    return EncodingNetwork(spec, **kw)


Z = 2


# --------------------------------------------------------------------- VAE
def vae(prior=False, **kw):
    from alf.algorithms.vae import VariationalAutoEncoder

    a = dict(input_tensor_spec=OBS)
    if prior:
        a["z_prior_network"] = enc(
            TensorSpec((3,)), last_layer_size=2 * Z, last_activation=alf.math.identity
        )
    a.update(kw)
    return set_params(VariationalAutoEncoder(Z, **a))


for _n, _kw in dict(
    default={},
    beta=dict(beta=0.1),
    target=dict(target_kld_per_dim=0.3),
    target_beta=dict(target_kld_per_dim=0.3, beta=0.5),
).items():
    for _prior in (False, True):
        for _noise in ("mode", "noise"):

            @case("repr.vae.%s%s.%s" % (_n, ".prior" if _prior else "", _noise))
            def _(kw=_kw, prior=_prior, noise=_noise):
                """z, its mode and std; KL per sample, weighted loss and beta loss."""
                with no_noise(normal=wave if noise == "noise" else None):
                    a = vae(prior, **kw)
                    x = (wave(2, 3, k=0.4), wave(2, 3)) if prior else wave(2, 3)
                    r = a.train_step(x)
                    return [r.output, r.info]


@case("repr.vae.preprocess_network")
def _():
    with no_noise():
        return vae(preprocess_network=enc(OBS, fc_layer_params=(5,))).train_step(wave(2, 3)).info


@case("repr.vae.default_network_sizes")
def _():
    """Two layers of twice the latent size, then mean and log variance."""
    return sorted(list(p.shape) for p in vae().parameters())


@case("repr.vae.gradients")
def _():
    with no_noise(normal=wave):
        a = vae(target_kld_per_dim=0.2)
        r = a.train_step(wave(2, 3))
        (r.info.loss.sum() + r.output.z.sum()).backward()
        return [
            p.grad.sum()
            for p in sorted(a.parameters(), key=lambda p: (list(p.shape), p.sum().item()))
            if p.grad is not None
        ]


@case("repr.vae.fields")
def _():
    from alf.algorithms.vae import VAEInfo, VAEOutput

    return [list(VAEInfo._fields), list(VAEOutput._fields)]


@case("repr.vae.beta_optimizer")
def _():
    a = vae(target_kld_per_dim=0.2, beta_optimizer=sgd())
    return len(a.optimizers())


def dvae(prior=False, **kw):
    from alf.algorithms.vae import DiscreteVAE

    spec = BoundedTensorSpec((2,), dtype=torch.int64, minimum=0, maximum=2)
    a = dict(
        input_tensor_spec=OBS,
        z_network_cls=lambda input_tensor_spec, **k: enc(
            input_tensor_spec, preprocessing_combiner=alf.nest.utils.NestConcat(), **k
        ),
    )
    if prior:
        a.update(
            prior_input_tensor_spec=OBS,
            prior_z_network_cls=lambda input_tensor_spec, **k: enc(input_tensor_spec, **k),
        )
    a.update(kw)
    return set_params(DiscreteVAE(spec, **a))


for _n, _kw in dict(
    default={}, beta=dict(beta=0.1), target=dict(target_kld_per_categorical=0.3)
).items():
    for _prior in (False, True):

        @case("repr.discrete_vae.%s%s" % (_n, ".prior" if _prior else ""))
        def _(kw=_kw, prior=_prior):
            with no_noise():
                a = dvae(prior, **kw)
                x = (wave(2, 3, k=0.4), wave(2, 3)) if prior else wave(2, 3)
                r = a.train_step(x)
                return [r.output.z_mode, r.info, a.output_spec]


@case("repr.discrete_vae.straight_through_gradient")
def _():
    with no_noise():
        a = dvae()
        r = a.train_step(wave(2, 3))
        (r.output.z * wave(2, 2, 3)).sum().backward()
        return [
            p.grad.sum()
            for p in sorted(a.parameters(), key=lambda p: (list(p.shape), p.sum().item()))
            if p.grad is not None
        ]


@case("repr.discrete_vae.refuses_wrong_mode")
def _():
    return refuses(lambda: dvae(mode="gumbel"))


@case("repr.discrete_vae.refuses_scalar_spec")
def _():
    from alf.algorithms.vae import DiscreteVAE

    return refuses(lambda: DiscreteVAE(DISC, input_tensor_spec=OBS))


# ------------------------------------------------------------------- VQ-VAE
def vqvae(**kw):
    from alf.algorithms.vq_vae import Vqvae

    kw.setdefault("optimizer", sgd())
    return set_params(
        Vqvae(
            OBS,
            num_embeddings=5,
            embedding_dim=2,
            encoder_ctor=lambda s: enc(s, last_layer_size=2, last_activation=alf.math.identity),
            decoder_ctor=lambda s: enc(s, last_layer_size=3, last_activation=alf.math.identity),
            **kw,
        )
    )


for _n, _kw in dict(default={}, commitment=dict(commitment_loss_weight=0.25)).items():

    @case("repr.vq_vae.%s.train_step" % _n)
    def _(kw=_kw):
        r = vqvae(**kw).train_step(wave(4, 3))
        return [r.output, r.info]

    @case("repr.vq_vae.%s.predict_step" % _n)
    def _(kw=_kw):
        """Reconstruction, and the quantized embedding as info."""
        r = vqvae(**kw).predict_step(wave(4, 3))
        return [r.output, r.info]

    @case("repr.vq_vae.%s.update" % _n)
    def _(kw=_kw):
        a = vqvae(**kw)
        a.update_with_gradient(a.train_step(wave(4, 3)).info._replace(extra=()))
        return params_of(a)


# ----------------------------------------------------------------- decoding
for _n, _kw in dict(
    default={}, weight=dict(loss_weight=0.3), l1=dict(loss=torch.nn.L1Loss(reduction="none"))
).items():

    @case("repr.decoding.%s" % _n)
    def _(kw=_kw):
        """Loss summed over everything but the batch."""
        from alf.algorithms.decoding_algorithm import DecodingAlgorithm

        a = set_params(
            DecodingAlgorithm(enc(OBS, last_layer_size=2, last_activation=alf.math.identity), **kw)
        )
        r = a.train_step((wave(2, 3), wave(2, 2, k=0.3)))
        return [r.output, r.info]


@case("repr.decoding.refuses_other_shape")
def _():
    from alf.algorithms.decoding_algorithm import DecodingAlgorithm

    a = DecodingAlgorithm(enc(OBS))
    return refuses(lambda: a.train_step((wave(2, 3), wave(2, 3))))


# ----------------------------------------------------------------- encoding
def encoding(**kw):
    from alf.algorithms.encoding_algorithm import EncodingAlgorithm

    kw.setdefault("encoder_cls", nets()["enc"])
    return set_params(EncodingAlgorithm(OBS, ACT, optimizer=sgd(), **kw))


@case("repr.encoding.steps")
def _():
    a = encoding()
    return [
        a.output_spec,
        a.predict_step(step(), ()).output,
        a.train_step(step(), ()).output,
        a.train_step(step(), ()).info,
    ]


for _op in (True, False):

    @case("repr.encoding.rollout_on_policy_%s" % _op)
    def _(op=_op):
        a = encoding()
        a.set_on_policy(op)
        r = a.rollout_step(step(), ())
        return [r.output, r.info]


class _TwoHeads(alf.networks.Network):
    def __init__(self, input_tensor_spec):
        super().__init__(input_tensor_spec, name="two_heads")

    def forward(self, x, state=()):
        return dict(repr=2 * x, loss=x.sum(-1), other=(x**2).sum(-1)), state


@case("repr.encoding.output_fields")
def _():
    a = encoding(encoder_cls=_TwoHeads, output_fields="repr")
    return [a.output_spec, a.train_step(step(), ()).output, a.predict_step(step(), ()).output]


@case("repr.encoding.loss_fields")
def _():
    a = encoding(encoder_cls=_TwoHeads, loss_fields=["loss", "other"])
    r = a.train_step(step(), ())
    return [a.output_spec, r.output, r.info]


@case("repr.encoding.loss_weights")
def _():
    a = encoding(encoder_cls=_TwoHeads, loss_fields=["loss", "other"], loss_weights=[0.5, 2.0])
    return a.train_step(step(), ()).info


@case("repr.encoding.refuses_vector_loss")
def _():
    return refuses(lambda: encoding(encoder_cls=_TwoHeads, loss_fields="repr"))


# ------------------------------------------------------ simple decoder, PRL
def sdec(**kw):
    from alf.algorithms.predictive_representation_learner import SimpleDecoder

    kw.setdefault("decoder_net_ctor", partial(enc_kw, last_layer_size=1))
    return SimpleDecoder(TensorSpec((4,)), kw.pop("target_field", "reward"), **kw)


def enc_kw(input_tensor_spec, last_layer_size=1, **kw):
    from alf.networks import EncodingNetwork

    net = EncodingNetwork(
        input_tensor_spec,
        fc_layer_params=(4,),
        activation=torch.tanh,
        last_layer_size=last_layer_size,
        last_activation=alf.math.identity,
    )
    if last_layer_size == 1 and not kw.get("keep"):
        return alf.nn.Sequential(net, alf.layers.Reshape(()))
    return net


for _n, _kw in dict(
    default={},
    weight=dict(loss_weight=0.2),
    l2=dict(loss_ctor=partial(torch.nn.MSELoss, reduction="none")),
    normalize=dict(normalize_target=True),
).items():
    for _mask in (False, True):

        @case("repr.simple_decoder.%s%s" % (_n, ".mask" if _mask else ""))
        def _(kw=_kw, mask=_mask):
            a = set_params(sdec(**kw))
            m = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.bool) if mask else None
            return a.calc_loss(wave(3, 2, k=0.8), wave(3, 2, k=1.3), m)


@case("repr.simple_decoder.vector_target")
def _():
    """Averaged over the last axis."""
    a = sdec(decoder_net_ctor=partial(enc_kw, last_layer_size=2))
    return a.calc_loss(wave(3, 2, 2, k=0.8), wave(3, 2, 2, k=1.3))


@case("repr.simple_decoder.steps")
def _():
    a = set_params(sdec())
    r, p = a.train_step(wave(2, 4)), a.predict_step(wave(2, 4))
    return [r.output, r.info, p.output, a.get_target_fields()]


@case("repr.simple_decoder.name")
def _():
    return [sdec().name, sdec(append_target_field_to_name=False).name, sdec(name="d").name]


def prl(R=2, two=False, same_state=False, **kw):
    from alf.algorithms.predictive_representation_learner import (
        PredictiveRepresentationLearner,
        SimpleDecoder,
    )
    from alf.networks import LSTMEncodingNetwork

    d = partial(SimpleDecoder, target_field="reward", decoder_net_ctor=enc_kw)
    d2 = partial(
        SimpleDecoder,
        target_field="observation",
        decoder_net_ctor=partial(enc_kw, last_layer_size=3),
    )
    return set_params(
        PredictiveRepresentationLearner(
            OBS,
            ACT,
            num_unroll_steps=R,
            decoder_ctor=[d, d2] if two else d,
            encoding_net_ctor=(lambda o: LSTMEncodingNetwork(o, hidden_size=4))
            if same_state
            else (lambda o: enc(o)),
            dynamics_net_ctor=lambda a: LSTMEncodingNetwork(a, hidden_size=4),
            config=config(),
            **kw,
        )
    )


def _pinfo(R, two=False):
    from alf.algorithms.predictive_representation_learner import (
        PredictiveRepresentationLearnerInfo as I,
    )

    mask = torch.ones(2, R + 1, dtype=torch.bool)
    mask[1, R:] = False
    t = wave(2, R + 1, k=0.7)
    return I(
        action=wave(2, R, 2, k=0.5), mask=mask, target=[t, wave(2, R + 1, 3, k=1.1)] if two else t
    )


for _R in (0, 1, 3):
    for _two in (False, True):

        @case(
            "repr.predictive_learner.unroll%d%s.train_step" % (_R, ".two_decoders" if _two else "")
        )
        def _(R=_R, two=_two):
            """Latent, and the decoders' losses averaged over the unroll."""
            a = prl(R, two)
            r = a.train_step(step(), zero_state(a.train_state_spec), _pinfo(R, two))
            return [r.output, r.info]


@case("repr.predictive_learner.same_state.train_step")
def _():
    a = prl(2, same_state=True)
    r = a.train_step(step(), zero_state(a.train_state_spec), _pinfo(2))
    return [a.train_state_spec, r.output, r.state, r.info]


@case("repr.predictive_learner.projection_only_for_other_states")
def _():
    return [len(list(prl(2).parameters())), len(list(prl(2, same_state=True).parameters()))]


@case("repr.predictive_learner.predict_and_rollout")
def _():
    a = prl(2, postprocessor=lambda x: 2 * x)
    return [a.output_spec, a.predict_step(step(), ()).output, a.rollout_step(step(), ()).output]


@case("repr.predictive_learner.predict_multi_step")
def _():
    a = prl(2, True)
    lat = wave(2, 4)
    return [
        a.predict_multi_step(lat, wave(2, 2, 2)),
        a.predict_multi_step(lat, wave(2, 2, 2), target_field="reward"),
        a.predict_multi_step(lat, wave(2, 2, 2), target_field=["observation", "reward"]),
    ]


@case("repr.predictive_learner.get_decoder")
def _():
    a = prl(2, True)
    return [a.get_decoder("reward").name, a.get_decoder("observation").get_target_fields()]


def _buffer(T=8):
    from alf.data_structures import make_experience
    from alf.experience_replayers.replay_buffer import ReplayBuffer
    from alf.utils import dist_utils

    types = [[F, M, M, L, F, M, M, M], [F, M, M, M, M, L, F, M]]
    rb = None
    for t in range(T):
        ts = TimeStep(
            step_type=torch.tensor([types[0][t], types[1][t]], dtype=torch.int32),
            reward=torch.tensor([0.1 * t, 1.0 - 0.2 * t]),
            discount=torch.ones(2),
            observation=wave(2, 3, k=0.5 + 0.1 * t),
            prev_action=wave(2, 2, k=0.3 * t + 0.1),
            env_id=torch.arange(2),
        )
        e = make_experience(ts, AlgStep(output=wave(2, 2, k=0.3 * t + 0.4)), state=())
        if rb is None:
            rb = ReplayBuffer(
                data_spec=dist_utils.extract_spec(e, from_dim=1),
                num_environments=2,
                max_length=16,
                keep_episodic_info=True,
            )
        rb.add_batch(e, e.env_id)
    return rb


for _n, _R, _two, _pos in (
    ("plain", 2, False, (0, 1)),
    ("across_end", 3, False, (2, 4)),
    ("two_decoders", 1, True, (0, 1)),
    ("no_unroll", 0, False, (1, 1)),
):

    @case("repr.predictive_learner.preprocess_experience.%s" % _n)
    def _(R=_R, two=_two, pos=_pos):
        """Actions, mask (false past the episode's end) and targets from the buffer."""
        from alf.experience_replayers.replay_buffer import BatchInfo

        rb = _buffer()
        e, p = torch.tensor([0, 1]), torch.tensor(pos)
        pp = p[:, None] + torch.arange(2)
        exp = rb.get_field(None, e[:, None].expand_as(pp), pp)
        _, info = prl(R, two).preprocess_experience(
            exp.time_step, (), BatchInfo(env_ids=e, positions=p, replay_buffer=rb)
        )
        return info


# ------------------------------------------------------------ mutual information
def mi(typ, sampler="shift", **kw):
    from alf.algorithms.mi_estimator import MIEstimator

    return set_params(
        MIEstimator(
            OBS, TensorSpec((2,)), fc_layers=(4,), sampler=sampler, estimator_type=typ, **kw
        )
    )


for _t in ("DV", "KLD", "JSD"):

    @case("repr.mi_estimator.%s.train_step" % _t)
    def _(t=_t):
        r = mi(t).train_step((wave(4, 3), wave(4, 2, k=0.6)))
        return [r.output, r.info]

    @case("repr.mi_estimator.%s.outer_dims" % _t)
    def _(t=_t):
        r = mi(t).train_step((wave(3, 2, 3), wave(3, 2, 2, k=0.6)))
        return [r.output, r.info]

    @case("repr.mi_estimator.%s.calc_pmi" % _t)
    def _(t=_t):
        a = mi(t)
        a.train_step((wave(4, 3), wave(4, 2, k=0.6)))
        return a.calc_pmi(wave(4, 3), wave(4, 2, k=0.6))

    @case("repr.mi_estimator.%s.y_distribution" % _t)
    def _(t=_t):
        from alf.utils.dist_utils import DiagMultivariateNormal as N

        with no_noise():
            r = mi(t).train_step(
                (wave(4, 3), wave(4, 2, k=0.6)),
                y_distribution=N(wave(4, 2, k=0.2), torch.ones(4, 2)),
            )
            return [r.output, r.info]

    @case("repr.mi_estimator.%s.two_steps" % _t)
    def _(t=_t):
        a = mi(t)
        a.train_step((wave(4, 3), wave(4, 2, k=0.6)))
        return a.train_step((wave(4, 3, k=2.0), wave(4, 2, k=1.6))).info


@case("repr.mi_estimator.ML")
def _():
    from alf.utils.dist_utils import DiagMultivariateNormal as N

    a = mi("ML")
    d = N(wave(4, 2, k=0.2), 0.5 * torch.ones(4, 2))
    r = a.train_step((wave(4, 3), wave(4, 2, k=0.6)), y_distribution=d)
    return [r.output, r.info, a.calc_pmi(wave(4, 3), wave(4, 2, k=0.6), d)]


@case("repr.mi_estimator.ML.starts_at_zero")
def _():
    """Before training q(y|x) equals P(y)."""
    from alf.algorithms.mi_estimator import MIEstimator
    from alf.utils.dist_utils import DiagMultivariateNormal as N

    a = MIEstimator(OBS, TensorSpec((2,)), fc_layers=(4,), estimator_type="ML")
    d = N(wave(4, 2, k=0.2), 0.5 * torch.ones(4, 2))
    return a.calc_pmi(wave(4, 3), wave(4, 2, k=0.6), d)


@case("repr.mi_estimator.shuffle_identity")
def _():
    with no_noise():
        return mi("JSD", "shuffle").train_step((wave(4, 3), wave(4, 2, k=0.6))).info


for _s in ("buffer", "double_buffer"):

    @case("repr.mi_estimator.%s.shapes" % _s)
    def _(s=_s):
        r = mi("DV", s, buffer_size=16).train_step((wave(4, 3), wave(4, 2)))
        return [list(r.output.shape), list(r.info.loss.shape)]


for _n, _f in (("type", lambda: mi("XX")), ("sampler", lambda: mi("DV", "xx"))):

    @case("repr.mi_estimator.refuses_wrong_%s" % _n)
    def _(f=_f):
        return refuses(f)


# -------------------------------------------------------------------- MERLIN
def merlin(part="merlin"):
    from alf.algorithms import merlin_algorithm as m
    from alf.algorithms.actor_critic_loss import ActorCriticLoss
    from alf.algorithms.decoding_algorithm import DecodingAlgorithm

    e = enc(OBS)
    d = DecodingAlgorithm(
        enc(TensorSpec((4,)), last_layer_size=3, last_activation=alf.math.identity), loss_weight=0.5
    )
    if part == "mbp":
        return set_params(
            m.MemoryBasedPredictor(
                ACT,
                e,
                d,
                num_read_keys=2,
                lstm_size=(5,),
                latent_dim=4,
                memory_size=3,
                loss_weight=0.7,
            )
        )
    return set_params(
        m.MerlinAlgorithm(
            OBS,
            ACT,
            e,
            d,
            config=config(),
            latent_dim=4,
            lstm_size=(5,),
            memory_size=3,
            optimizer=sgd(),
            rl_loss=ActorCriticLoss(gamma=0.9),
        )
    )


@case("repr.merlin.predictor.state_spec")
def _():
    return merlin("mbp").train_state_spec


@case("repr.merlin.predictor.train_step")
def _():
    with no_noise():
        a = merlin("mbp")
        s, out = zero_state(a.train_state_spec), []
        for t in range(3):
            r = a.train_step((wave(2, 3, k=1.0 + t), wave(2, 2)), s)
            s = r.state
            out.append([r.output, r.info])
        return [out, s]


@case("repr.merlin.predictor.predict_step")
def _():
    with no_noise():
        a = merlin("mbp")
        r = a.predict_step((wave(2, 3), wave(2, 2)), zero_state(a.train_state_spec))
        return [r.output, r.info]


@case("repr.merlin.state_specs")
def _():
    a = merlin()
    return [a.train_state_spec, a.predict_state_spec]


@case("repr.merlin.rollout_step")
def _():
    with no_noise():
        a = merlin()
        s, out = zero_state(a.rollout_state_spec), []
        for t in range(2):
            r = a.rollout_step(step(obs=wave(2, 3, k=1.0 + t)), s)
            s = r.state
            out.append([r.output, r.info])
        return out


@case("repr.merlin.calc_loss")
def _():
    with no_noise():
        a = merlin()
        ins = [
            step(obs=wave(2, 3, k=1.0 + t), step_type=[[F, M], [M, L], [M, F]][t]) for t in range(3)
        ]
        info = time_major(
            lambda t: a.rollout_step(ins[t], zero_state(a.rollout_state_spec)).info, 3
        )
        li = a.calc_loss(info)
        return [li.loss, li.extra]


@case("repr.merlin.fields")
def _():
    from alf.algorithms import merlin_algorithm as m

    return {
        n: list(getattr(m, n)._fields)
        for n in ("MBPState", "MBPLossInfo", "MerlinState", "MerlinLossInfo", "MerlinInfo")
    }


for _n in ("ResnetEncodingNetwork", "ResnetDecodingNetwork"):

    @case("repr.merlin.%s.shape" % _n)
    def _(n=_n):
        from alf.algorithms import merlin_algorithm as m

        if "Enc" in n:
            net = getattr(m, n)(TensorSpec((3, 16, 16)), output_size=7)
            return list(net(torch.zeros(2, 3, 16, 16))[0].shape)
        net = getattr(m, n)(TensorSpec((7,)), TensorSpec((3, 16, 16)))
        return list(net(torch.zeros(2, 7))[0].shape)


# --------------------------------------------------------------------- MoNet
def unet(spec=TensorSpec((3, 8, 8)), **kw):
    from alf.algorithms.monet_algorithm import MoNetUNet

    return MoNetUNet(
        spec, kw.pop("filters", (4, 4)), kw.pop("fc", (8,)), kw.pop("output_channels", 2)
    )


@case("repr.monet.unet.output")
def _():
    net = set_params(unet())
    y = net(wave(2, 3, 8, 8))[0]
    return [list(y.shape), net.encoding_dim, y]


@case("repr.monet.unet.encode_decode")
def _():
    net = set_params(unet())
    e, mid = net.encode(wave(2, 3, 8, 8))
    return [
        list(e.shape),
        [list(m.shape) for m in mid],
        bool(torch.allclose(net.decode(e, mid), net(wave(2, 3, 8, 8))[0])),
    ]


def monet(**kw):
    from alf.algorithms.monet_algorithm import MoNetAlgorithm, MoNetUNet
    from alf.networks import EncodingNetwork, SpatialBroadcastDecodingNetwork

    return set_params(
        MoNetAlgorithm(
            n_slots=3,
            slot_size=4,
            input_tensor_spec=TensorSpec((3, 8, 8)),
            attention_unet_cls=partial(MoNetUNet, filters=(4, 4), nonskip_fc_layers=(8,)),
            encoder_cls=partial(
                EncodingNetwork, conv_layer_params=((4, 3, 2),), activation=torch.tanh
            ),
            decoder_cls=partial(
                SpatialBroadcastDecodingNetwork,
                conv_layer_params=((4, 3, 1, 1), (4, 1, 1)),
                fc_layer_params=(4,),
            ),
            **kw,
        )
    )


for _n, _kw in dict(
    default={},
    beta=dict(beta=0.5),
    gamma=dict(gamma=0.2),
    parallel=dict(recurrent_attention=False),
    both=dict(beta=0.1, gamma=0.3, recurrent_attention=False),
).items():

    @case("repr.monet.%s.train_step" % _n)
    def _(kw=_kw):
        with no_noise():
            r = monet(**kw).train_step(wave(2, 3, 8, 8).abs())
            i = r.info
            return [r.output.z_mode, i.kld, i.rec_loss, i.mask_rec_loss, i.mask, i.full_rec]

    @case("repr.monet.%s.calc_loss" % _n)
    def _(kw=_kw):
        with no_noise():
            a = monet(**kw)
            li = a.calc_loss(a.train_step(wave(2, 3, 8, 8).abs()).info)
            return [li.loss, li.extra]


# ------------------------------------------------- intrinsic reward modules
def icm(action_spec=ACT, **kw):
    from alf.algorithms.icm_algorithm import ICMAlgorithm

    return set_params(
        ICMAlgorithm(
            action_spec,
            encoding_net=nets()["enc"](OBS),
            hidden_size=4,
            activation=torch.tanh,
            optimizer=sgd(),
            **kw,
        )
    )


for _n, _a in (("continuous", ACT), ("discrete", DISC)):

    @case("repr.icm.%s.rollout_step" % _n)
    def _(a_spec=_a):
        a = icm(a_spec)
        s, out = zero_state(a.train_state_spec), []
        for t in range(2):
            r = a.rollout_step(step(obs=wave(2, 3, k=1.0 + t), action_spec=a_spec), s)
            s = r.state
            out.append([r.output, s, r.info])
        return out

    @case("repr.icm.%s.train_step_and_loss" % _n)
    def _(a_spec=_a):
        a = icm(a_spec)
        r = a.train_step(step(action_spec=a_spec, step_type=[F, M]), wave(2, 4))
        return [r.output, r.info, a.calc_loss(r.info)]


@case("repr.icm.observation_normalizer_and_vector_features")
def _():
    from alf.algorithms.icm_algorithm import ICMAlgorithm

    a = set_params(ICMAlgorithm(ACT, observation_spec=OBS, hidden_size=4, activation=torch.tanh))
    return [a.train_state_spec, a.rollout_step(step(), wave(2, 3)).info]


@case("repr.icm.state_specs")
def _():
    a = icm()
    return [a.train_state_spec, a.predict_state_spec]


def rnd(**kw):
    from alf.algorithms.rnd_algorithm import RNDAlgorithm
    from alf.networks import EncodingNetwork

    n = lambda k: EncodingNetwork(
        OBS if kw.get("obs") is None else kw["obs"],
        fc_layer_params=(k,),
        activation=torch.tanh,
        last_layer_size=2,
        last_activation=alf.math.identity,
    )
    kw.pop("obs", None)
    return set_params(RNDAlgorithm(n(4), n(5), optimizer=sgd(), **kw))


for _n, _kw in dict(
    default=dict(keep_stacked_frames=0),
    normalized=dict(keep_stacked_frames=0, reward_adapt_speed=8.0),
    clipped=dict(keep_stacked_frames=0, reward_adapt_speed=8.0, clip_value=0.5),
    obs_normalized=dict(keep_stacked_frames=0, observation_adapt_speed=8.0, observation_spec=OBS),
).items():

    @case("repr.rnd.%s.rollout_step" % _n)
    def _(kw=_kw):
        a = rnd(**kw)
        out = []
        for t in range(3):
            r = a.rollout_step(step(obs=wave(2, 3, k=1.0 + t)), ())
            out.append([r.output, r.info])
        return out

    @case("repr.rnd.%s.train_step_and_loss" % _n)
    def _(kw=_kw):
        a = rnd(**kw)
        r = a.train_step(step(), ())
        return [r.output, r.info, a.calc_loss(r.info)]


@case("repr.rnd.target_gets_no_gradient")
def _():
    a = rnd(keep_stacked_frames=0)
    a.calc_loss(a.train_step(step(), ()).info).scalar_loss.backward()
    return sorted(list(p.shape) for p in a.parameters() if p.grad is not None)


def diayn(spec=None, **kw):
    from alf.algorithms.diayn_algorithm import DIAYNAlgorithm

    spec = spec or BoundedTensorSpec((), dtype=torch.int64, maximum=3)
    return set_params(DIAYNAlgorithm(spec, nets()["enc"](OBS), **kw))


for _n, _s, _d in (("discrete", None, 4), ("continuous", TensorSpec((2,)), 2)):

    @case("repr.diayn.%s" % _n)
    def _(s=_s, d=_d):
        a = diayn(s)
        skill = torch.eye(4)[[1, 3]] if d == 4 else wave(2, 2)
        prev = torch.eye(4)[[2, 3]] if d == 4 else wave(2, 2, k=0.3)
        out = []
        for t in range(2):
            x = step(observation=[wave(2, 3, k=1.0 + t), skill], step_type=[F, M])
            r = a.rollout_step(x, prev)
            out.append([r.output, r.state, r.info])
        tr = a.train_step(x, prev)
        return [a.train_state_spec, out, tr.info, a.calc_loss(tr.info)]


@case("repr.diayn.create_discrete_skill_spec")
def _():
    from alf.algorithms.diayn_algorithm import create_discrete_skill_spec

    return create_discrete_skill_spec(5)


# -------------------------------------------------------------- prior actors
for _n, _kw in dict(
    default={}, noise=dict(same_action_noise=0.5), prob=dict(same_action_prob=0.3)
).items():

    @case("repr.prior_actor.same_action.%s" % _n)
    def _(kw=_kw):
        """Log probabilities at some actions; a first step has the background only."""
        from alf.algorithms.prior_actor import SameActionPriorActor

        spec = BoundedTensorSpec((2,), minimum=-1.0, maximum=[1.0, 3.0])
        a = SameActionPriorActor(OBS, spec, **kw)
        x = step(step_type=[F, M], prev_action=torch.tensor([[0.5, -0.5], [0.2, 1.0]]))
        d = a.predict_step(x, ()).output
        return [d.log_prob(x.prev_action), d.log_prob(torch.tensor([[0.1, 0.4], [0.9, -0.9]]))]


@case("repr.prior_actor.uniform")
def _():
    from alf.algorithms.prior_actor import UniformPriorActor

    spec = BoundedTensorSpec((2,), minimum=-1.0, maximum=[1.0, 3.0])
    a = UniformPriorActor(OBS, spec)
    d = a.train_step(step(), ()).output
    return d.log_prob(torch.tensor([[0.1, 0.4], [0.9, -0.9]]))


@case("repr.prior_actor.refuses_discrete")
def _():
    from alf.algorithms.prior_actor import SameActionPriorActor

    return refuses(lambda: SameActionPriorActor(OBS, DISC))


@case("repr.goal_generator.categorical")
def _():
    """A goal is drawn at first steps and kept otherwise."""
    from alf.algorithms.goal_generator import GoalState, RandomCategoricalGoalGenerator

    with no_noise():
        a = RandomCategoricalGoalGenerator(OBS, 3)
        g = torch.eye(3)[[2, 1]]
        r = a.rollout_step(step(step_type=[F, M]), GoalState(goal=g))
        t = a.train_step(step(step_type=[F, M]), GoalState(goal=g), r.info)
        return [
            a.action_spec,
            a.train_state_spec,
            list(r.output),
            r.state,
            r.info,
            list(t.output),
            t.info,
            a.calc_loss(t.info),
        ]
