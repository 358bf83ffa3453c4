"""``alf.networks``: encoding, actor, critic, value, q, recurrent, containers, projections."""

import functools

import torch
import torch.nn as nn
from harness import case, fill, fill_symmetric, pattern, refuses

import alf
from alf import layers
from alf.nest.utils import NestConcat, NestSum
from alf.networks import action_encoder, preprocessors

N = alf.networks
T, B = alf.TensorSpec, alf.BoundedTensorSpec
OBS = T((3,))
CONT = B((2,), minimum=[-1, 0], maximum=[1, 4])
DISC = B((), torch.int64, 0, 2)


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


def size(module):
    return sum(p.numel() for p in module.parameters())


def zeros(spec, batch):
    return alf.nest.map_structure(lambda s: s.zeros((batch,)), spec)


def states(spec):
    """The layout of a state: its specs in flattened order and the outer type."""
    return [alf.nest.flatten(spec), type(spec).__name__ if spec != () else "()"]


def plain(n):
    """A nest with lists and tuples as lists."""
    return n


# ---- EncodingNetwork ------------------------------------------------------


@case("networks.EncodingNetwork.fc_layers")
def _():
    n = fill(N.EncodingNetwork(OBS, fc_layer_params=(5, 4)))
    y, s = n(x(2, 3))
    return [y, s == (), n.output_spec, n.input_tensor_spec, n.state_spec == (), size(n)]


@case("networks.EncodingNetwork.no_layers_is_the_input")
def _():
    n = N.EncodingNetwork(OBS)
    return [n(x(2, 3))[0], n.output_spec]


@case("networks.EncodingNetwork.last_layer")
def _():
    n = fill(
        N.EncodingNetwork(OBS, fc_layer_params=(5,), last_layer_size=2, last_activation=torch.tanh)
    )
    return [n(x(2, 3))[0], n.output_spec]


@case("networks.EncodingNetwork.last_layer_needs_activation")
def _():
    return [
        refuses(N.EncodingNetwork, OBS, last_layer_size=2),
        refuses(N.EncodingNetwork, OBS, last_activation=torch.tanh),
    ]


@case("networks.EncodingNetwork.output_tensor_spec")
def _():
    n = fill(
        N.EncodingNetwork(
            OBS,
            output_tensor_spec=T((2, 3)),
            fc_layer_params=(4,),
            last_layer_size=6,
            last_activation=alf.math.identity,
        )
    )
    return [n(x(2, 3))[0], n.output_spec]


@case("networks.EncodingNetwork.output_tensor_spec_of_other_size")
def _():
    return refuses(
        lambda: N.EncodingNetwork(
            OBS,
            output_tensor_spec=T((2, 3)),
            fc_layer_params=(4,),
            last_layer_size=5,
            last_activation=alf.math.identity,
        )(x(2, 3))
    )


@case("networks.EncodingNetwork.conv_layers")
def _():
    n = fill(
        N.EncodingNetwork(
            T((2, 6, 6)), conv_layer_params=((3, 3, 2), (4, 2, 1, 1)), fc_layer_params=(3,)
        )
    )
    return [n(x(2, 2, 6, 6))[0], size(n)]


@case("networks.EncodingNetwork.conv_output_is_flattened_without_fc")
def _():
    n = fill(N.EncodingNetwork(T((1, 4, 4)), conv_layer_params=((2, 2, 1),)))
    return [n(x(1, 1, 4, 4))[0].shape, n.output_spec]


@case("networks.EncodingNetwork.nested_input_with_combiner")
def _():
    n = fill(
        N.EncodingNetwork(
            {"b": T((2,)), "a": T((1,))}, preprocessing_combiner=NestConcat(), fc_layer_params=(3,)
        )
    )
    return n({"a": x(2, 1), "b": x(2, 2)})[0]


@case("networks.EncodingNetwork.nested_input_without_combiner")
def _():
    return refuses(N.EncodingNetwork, {"b": T((2,)), "a": T((1,))}, fc_layer_params=(3,))


@case("networks.EncodingNetwork.input_preprocessors")
def _():
    n = fill(
        N.EncodingNetwork(
            {"a": B((), torch.int64, 0, 4), "b": T((2,))},
            input_preprocessors={
                "a": preprocessors.EmbeddingPreprocessor(B((), torch.int64, 0, 4), 2),
                "b": None,
            },
            preprocessing_combiner=NestSum(),
            fc_layer_params=(3,),
        )
    )
    return n({"a": torch.tensor([1, 4]), "b": x(2, 2)})[0]


@case("networks.EncodingNetwork.preprocessor_as_a_layer")
def _():
    n = fill(
        N.EncodingNetwork(
            OBS, input_preprocessors=layers.FC(3, 4, torch.tanh), fc_layer_params=(2,)
        )
    )
    return [n(x(2, 3))[0], size(n)]


@case("networks.EncodingNetwork.input_preprocessors_ctor")
def _():
    n = fill(
        N.EncodingNetwork(
            OBS,
            input_preprocessors_ctor=lambda spec: layers.FC(spec.shape[0], 4),
            fc_layer_params=(2,),
        )
    )
    return [n(x(2, 3))[0], size(n)]


@case("networks.EncodingNetwork.use_fc_bn")
def _():
    n = fill(N.EncodingNetwork(OBS, fc_layer_params=(4, 2), use_fc_bn=True))
    return [n(x(5, 3))[0], size(n)]


@case("networks.EncodingNetwork.use_fc_bn_eval")
def _():
    return fill(N.EncodingNetwork(OBS, fc_layer_params=(4, 2), use_fc_bn=True)).eval()(x(5, 3))[0]


@case("networks.EncodingNetwork.use_fc_ln")
def _():
    return fill(
        N.EncodingNetwork(
            OBS,
            fc_layer_params=(4, 2),
            use_fc_ln=True,
            last_layer_size=3,
            last_activation=alf.math.identity,
            last_use_fc_ln=True,
        )
    )(x(5, 3))[0]


@case("networks.EncodingNetwork.batch_ensemble")
def _():
    """Only with ids in the input are there ids in the output."""
    n = N.EncodingNetwork(OBS, fc_layer_params=(4, 2), use_batch_ensemble=True, ensemble_size=3)
    y = n(x(5, 3))[0]
    return [type(y).__name__, n.output_spec]


@case("networks.EncodingNetwork.batch_ensemble_with_ids")
def _():
    n = fill(
        N.EncodingNetwork(
            OBS,
            fc_layer_params=(4, 2),
            use_batch_ensemble=True,
            ensemble_size=3,
            input_with_ensemble_ids=True,
        )
    )
    y = n((x(5, 3), torch.tensor([0, 1, 2, 0, 1])))[0]
    return [type(y).__name__, y]


@case("networks.EncodingNetwork.wrong_input_structure")
def _():
    n = N.EncodingNetwork(OBS, fc_layer_params=(4,))
    return [refuses(n, {"a": x(2, 3)}), refuses(n, x(2, 4))]


@case("networks.EncodingNetwork.make_parallel_shared_input")
def _():
    n = fill(N.EncodingNetwork(OBS, fc_layer_params=(4, 2)).make_parallel(3))
    return [n(x(2, 3, 3))[0], n.output_spec, n.input_tensor_spec]


@case("networks.EncodingNetwork.make_parallel_non_parallel_input_allowed")
def _():
    n = fill(
        N.EncodingNetwork(OBS, fc_layer_params=(4, 2)).make_parallel(
            3, allow_non_parallel_input=True
        )
    )
    return n(x(2, 3))[0]


@case("networks.EncodingNetwork.make_parallel_non_parallel_input_by_default")
def _():
    n = N.EncodingNetwork(OBS, fc_layer_params=(4, 2)).make_parallel(3)
    return refuses(n, x(2, 3))


@case("networks.EncodingNetwork.make_parallel_conv")
def _():
    n = fill(
        N.EncodingNetwork(
            T((1, 4, 4)), conv_layer_params=((2, 2, 1),), fc_layer_params=(3,)
        ).make_parallel(2)
    )
    return n(x(2, 2, 1, 4, 4))[0]


@case("networks.EncodingNetwork.make_parallel_combiner")
def _():
    n = N.EncodingNetwork(
        [T((2,)), T((1,))], preprocessing_combiner=NestConcat(), fc_layer_params=(3,)
    ).make_parallel(2)
    return fill(n)([x(4, 2, 2), x(4, 2, 1)])[0]


@case("networks.EncodingNetwork.copy_has_new_parameters")
def _():
    n = N.EncodingNetwork(OBS, fc_layer_params=(4,))
    c = n.copy()
    with torch.no_grad():
        for p in c.parameters():
            p.zero_()
    return [bool(n(x(2, 3))[0].abs().sum() > 0), size(c) == size(n), c.name == n.name]


@case("networks.EncodingNetwork.copy_with_changed_argument")
def _():
    return N.EncodingNetwork(OBS, fc_layer_params=(4,)).copy(fc_layer_params=(7,)).output_spec


@case("networks.EncodingNetwork.singleton_copy_is_the_same")
def _():
    n = N.EncodingNetwork(OBS, fc_layer_params=(4,)).singleton()
    return n.copy() is n


@case("networks.EncodingNetwork.name_and_saved_args")
def _():
    n = N.EncodingNetwork(OBS, fc_layer_params=(4,), name="mine")
    return [n.name, sorted(n.saved_args), n.is_rnn, n.is_distribution_output]


@case("networks.ParallelEncodingNetwork")
def _():
    n = fill(
        N.ParallelEncodingNetwork(
            OBS, 2, fc_layer_params=(4,), last_layer_size=1, last_activation=torch.tanh
        )
    )
    return [n(x(2, 3))[0], n(x(2, 2, 3))[0], n.output_spec]


# ---- images ---------------------------------------------------------------


@case("networks.ImageEncodingNetwork.paddings_and_strides")
def _():
    n = fill(N.ImageEncodingNetwork(2, (6, 5), ((3, 3, 2, 1), (2, (2, 1), 1))))
    return [n(x(1, 2, 6, 5))[0], n.output_spec]


@case("networks.ImageEncodingNetwork.same_padding")
def _():
    n = fill(
        N.ImageEncodingNetwork(1, 5, ((2, 3, 1), (3, 3, 1)), same_padding=True, flatten_output=True)
    )
    return [n(x(1, 1, 5, 5))[0].shape, n.output_spec]


@case("networks.ImageEncodingNetwork.make_parallel")
def _():
    return fill(N.ImageEncodingNetwork(1, 4, ((2, 2, 2),), flatten_output=True).make_parallel(2))(
        x(2, 2, 1, 4, 4)
    )[0]


@case("networks.ImageDecodingNetwork")
def _():
    n = fill(
        N.ImageDecodingNetwork(
            4,
            ((2, 3, 2), (1, 2, 1, 1)),
            start_decoding_size=2,
            start_decoding_channels=3,
            preprocess_fc_layer_params=(5,),
        )
    )
    return [n(x(2, 4))[0], n.output_spec]


@case("networks.ImageDecodingNetwork.output_activation_and_rectangular_start")
def _():
    n = fill(
        N.ImageDecodingNetwork(
            4,
            ((1, 2, 2),),
            start_decoding_size=(2, 3),
            start_decoding_channels=2,
            output_activation=alf.math.identity,
        )
    )
    return n(x(2, 4))[0]


@case("networks.ImageDecodingNetwork.same_padding")
def _():
    return N.ImageDecodingNetwork(
        4,
        ((2, 4, 2), (1, 4, 2)),
        start_decoding_size=4,
        start_decoding_channels=2,
        same_padding=True,
    ).output_spec


@case("networks.ImageDecodingNetworkV2")
def _():
    n = fill(
        N.ImageDecodingNetworkV2(
            4, (2, (2, 3, 1, 1), 2, (1, 3, 1, 1)), start_decoding_size=2, start_decoding_channels=3
        )
    )
    return [n(x(1, 4))[0], n.output_spec]


@case("networks.AutoShapeImageDeconvNetwork")
def _():
    from alf.networks.encoding_networks import AutoShapeImageDeconvNetwork

    n = AutoShapeImageDeconvNetwork(
        4, ((2, 3, 2), (3, 3, 2)), output_shape=(3, 11, 15), start_decoding_channels=5
    )
    return [n(x(2, 4))[0].shape, n.output_spec, size(n)]


@case("networks.SpatialBroadcastDecodingNetwork")
def _():
    from alf.networks.encoding_networks import SpatialBroadcastDecodingNetwork

    n = fill(SpatialBroadcastDecodingNetwork(3, 4, ((2, 3, 1, 1), (1, 1, 1)), output_width=3))
    return [n(x(1, 3))[0], n.output_spec]


# ---- recurrent --------------------------------------------------------------


@case("networks.LSTMCell")
def _():
    n = fill(N.LSTMCell(3, 4))
    y, s = n(x(2, 3), zeros(n.state_spec, 2))
    return [y, s, states(n.state_spec)]


@case("networks.GRUCell")
def _():
    n = fill(N.GRUCell(3, 4))
    y, s = n(x(2, 3), n.state_spec.zeros((2,)) + 0.1)
    return [y, s, n.state_spec]


@case("networks.LSTMEncodingNetwork.state_spec_one_layer")
def _():
    return plain(N.LSTMEncodingNetwork(OBS, hidden_size=5).state_spec)


@case("networks.LSTMEncodingNetwork.state_spec_two_layers")
def _():
    return alf.nest.flatten(N.LSTMEncodingNetwork(OBS, hidden_size=(5, 4)).state_spec)


@case("networks.LSTMEncodingNetwork.two_steps")
def _():
    n = fill(
        N.LSTMEncodingNetwork(
            OBS, pre_fc_layer_params=(4,), hidden_size=(5, 4), post_fc_layer_params=(3,)
        )
    )
    y, s = n(x(2, 3), zeros(n.state_spec, 2))
    y2, s = n(x(2, 3), s)
    return [y, y2, alf.nest.flatten(s), n.output_spec]


@case("networks.LSTMEncodingNetwork.output_layers")
def _():
    n = fill(N.LSTMEncodingNetwork(OBS, hidden_size=(5, 4), lstm_output_layers=(0, 1)))
    return [n(x(2, 3), zeros(n.state_spec, 2))[0], n.output_spec]


@case("networks.LSTMEncodingNetwork.output_layer_0")
def _():
    n = fill(N.LSTMEncodingNetwork(OBS, hidden_size=(5, 4), lstm_output_layers=0))
    return n(x(2, 3), zeros(n.state_spec, 2))[0]


@case("networks.LSTMEncodingNetwork.last_layer")
def _():
    n = fill(
        N.LSTMEncodingNetwork(OBS, hidden_size=4, last_layer_size=2, last_activation=torch.tanh)
    )
    return n(x(2, 3), zeros(n.state_spec, 2))[0]


@case("networks.LSTMEncodingNetwork.make_parallel")
def _():
    n = fill(
        N.LSTMEncodingNetwork(
            OBS, pre_fc_layer_params=(4,), hidden_size=4, post_fc_layer_params=(2,)
        ).make_parallel(2)
    )
    y, s = n(x(3, 2, 3), zeros(n.state_spec, 3))
    return [y, n.output_spec, alf.nest.flatten(n.state_spec)]


@case("networks.LSTMEncodingNetwork.is_rnn")
def _():
    return [N.LSTMEncodingNetwork(OBS, hidden_size=4).is_rnn]


# ---- value networks ---------------------------------------------------------


@case("networks.ValueNetwork.scalar")
def _():
    n = fill(N.ValueNetwork(OBS, fc_layer_params=(4,)))
    return [n(x(2, 3))[0], n.output_spec, size(n)]


@case("networks.ValueNetwork.vector_output")
def _():
    n = fill(N.ValueNetwork(OBS, output_tensor_spec=T((2,)), fc_layer_params=(4,)))
    return [n(x(2, 3))[0], n.output_spec]


@case("networks.ValueNetwork.make_parallel")
def _():
    n = fill(N.ValueNetwork(OBS, fc_layer_params=(4,)).make_parallel(3))
    return [n(x(2, 3))[0], n(x(2, 3, 3))[0], n.output_spec, size(n)]


@case("networks.ValueNetwork.make_parallel_vector_output")
def _():
    n = fill(N.ValueNetwork(OBS, output_tensor_spec=T((2,)), fc_layer_params=(4,)).make_parallel(3))
    return n(x(2, 3))[0]


@case("networks.ValueNetwork.initial_values_are_small")
def _():
    return bool(N.ValueNetwork(OBS, fc_layer_params=(100, 100))(x(20, 3))[0].abs().max() < 0.5)


@case("networks.ValueNetwork.use_fc_ln")
def _():
    return fill(N.ValueNetwork(OBS, fc_layer_params=(4,), use_fc_ln=True))(x(2, 3))[0]


@case("networks.ValueRNNNetwork")
def _():
    n = fill(
        N.ValueRNNNetwork(OBS, fc_layer_params=(4,), lstm_hidden_size=3, value_fc_layer_params=(2,))
    )
    y, s = n(x(2, 3), zeros(n.state_spec, 2))
    return [y, n(x(2, 3), s)[0], states(n.state_spec), size(n)]


@case("networks.ValueRNNNetwork.make_parallel")
def _():
    n = fill(N.ValueRNNNetwork(OBS, fc_layer_params=(4,), lstm_hidden_size=3).make_parallel(2))
    return [n(x(3, 2, 3), zeros(n.state_spec, 3))[0], alf.nest.flatten(n.state_spec)]


# ---- critics ---------------------------------------------------------------


@case("networks.CriticNetwork.scalar")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, CONT),
            observation_fc_layer_params=(4,),
            action_fc_layer_params=(3,),
            joint_fc_layer_params=(5,),
        )
    )
    return [n((x(2, 3), x(2, 2)))[0], n.output_spec, size(n)]


@case("networks.CriticNetwork.no_own_layers")
def _():
    return fill(N.CriticNetwork((OBS, CONT), joint_fc_layer_params=(5,)))((x(2, 3), x(2, 2)))[0]


@case("networks.CriticNetwork.vector_output")
def _():
    n = fill(N.CriticNetwork((OBS, CONT), output_tensor_spec=T((2,)), joint_fc_layer_params=(5,)))
    return [n((x(2, 3), x(2, 2)))[0], n.output_spec]


@case("networks.CriticNetwork.last_layer_activation_and_ln")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, CONT),
            joint_fc_layer_params=(5,),
            use_fc_ln=True,
            last_layer_activation=torch.tanh,
        )
    )
    return n((x(2, 3), x(2, 2)))[0]


@case("networks.CriticNetwork.use_fc_bn_eval")
def _():
    return fill(N.CriticNetwork((OBS, CONT), joint_fc_layer_params=(5,), use_fc_bn=True)).eval()(
        (x(2, 3), x(2, 2))
    )[0]


@case("networks.CriticNetwork.nested_action")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, [CONT, B((1,))]),
            action_preprocessing_combiner=NestConcat(),
            joint_fc_layer_params=(5,),
        )
    )
    return n((x(2, 3), [x(2, 2), x(2, 1)]))[0]


@case("networks.CriticNetwork.observation_action_combiner")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, CONT),
            observation_fc_layer_params=(4,),
            action_fc_layer_params=(4,),
            observation_action_combiner=NestSum(),
            joint_fc_layer_params=(5,),
        )
    )
    return n((x(2, 3), x(2, 2)))[0]


@case("networks.CriticNetwork.image_observation")
def _():
    n = fill(
        N.CriticNetwork(
            (T((1, 4, 4)), CONT),
            observation_conv_layer_params=((2, 2, 2),),
            joint_fc_layer_params=(5,),
        )
    )
    return n((x(2, 1, 4, 4), x(2, 2)))[0]


@case("networks.CriticNetwork.action_one_hot_processor")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, DISC), action_input_processors=layers.OneHot(3), joint_fc_layer_params=(5,)
        )
    )
    return n((x(2, 3), torch.tensor([0, 2])))[0]


@case("networks.CriticNetwork.make_parallel")
def _():
    n = fill(
        N.CriticNetwork(
            (OBS, CONT), observation_fc_layer_params=(4,), joint_fc_layer_params=(5,)
        ).make_parallel(3)
    )
    return [n((x(2, 3), x(2, 2)))[0], n((x(2, 3, 3), x(2, 3, 2)))[0], n.output_spec, size(n)]


@case("networks.CriticNetwork.make_parallel_naive")
def _():
    n = N.CriticNetwork(
        (OBS, CONT), joint_fc_layer_params=(5,), use_naive_parallel_network=True
    ).make_parallel(3)
    return [n((x(2, 3), x(2, 2)))[0].shape, size(n)]


@case("networks.CriticNetwork.make_parallel_with_bn")
def _():
    n = fill(
        N.CriticNetwork((OBS, CONT), joint_fc_layer_params=(5,), use_fc_bn=True).make_parallel(2)
    )
    return n((x(4, 3), x(4, 2)))[0]


@case("networks.CriticRNNNetwork")
def _():
    n = fill(
        N.CriticRNNNetwork(
            (OBS, CONT),
            observation_fc_layer_params=(4,),
            joint_fc_layer_params=(5,),
            lstm_hidden_size=3,
            critic_fc_layer_params=(2,),
        )
    )
    return [n((x(2, 3), x(2, 2)), zeros(n.state_spec, 2))[0], states(n.state_spec), size(n)]


@case("networks.CriticRNNNetwork.make_parallel")
def _():
    n = fill(
        N.CriticRNNNetwork(
            (OBS, CONT), joint_fc_layer_params=(5,), lstm_hidden_size=3
        ).make_parallel(2)
    )
    return [n((x(4, 2, 3), x(4, 2, 2)), zeros(n.state_spec, 4))[0], alf.nest.flatten(n.state_spec)]


# ---- q ----------------------------------------------------------------------


@case("networks.QNetwork")
def _():
    n = fill(N.QNetwork(OBS, DISC, fc_layer_params=(4,)))
    return [n(x(2, 3))[0], n.output_spec, size(n)]


@case("networks.QNetwork.make_parallel")
def _():
    n = fill(N.QNetwork(OBS, DISC, fc_layer_params=(4,)).make_parallel(2))
    return [n(x(2, 3))[0], n(x(2, 2, 3))[0], n.output_spec]


@case("networks.QNetwork.refuses_continuous_actions")
def _():
    return refuses(N.QNetwork, OBS, CONT, fc_layer_params=(4,))


@case("networks.QNetwork.minimum_above_zero")
def _():
    """The number of values is that of the actions."""
    return N.QNetwork(OBS, B((), torch.int64, 1, 3), fc_layer_params=(4,))(x(2, 3))[0].shape


@case("networks.QRNNNetwork")
def _():
    n = fill(
        N.QRNNNetwork(
            OBS, DISC, fc_layer_params=(4,), lstm_hidden_size=3, value_fc_layer_params=(2,)
        )
    )
    return [n(x(2, 3), zeros(n.state_spec, 2))[0], states(n.state_spec)]


# ---- actors -----------------------------------------------------------------


@case("networks.ActorNetwork.scaled_to_the_spec")
def _():
    n = fill(N.ActorNetwork(OBS, CONT, fc_layer_params=(4,)), 2.0)
    return [n(x(5, 3))[0], n.output_spec, size(n)]


@case("networks.ActorNetwork.nested_actions")
def _():
    n = fill(
        N.ActorNetwork(OBS, {"a": CONT, "b": B((1,), minimum=-3, maximum=3)}, fc_layer_params=(4,))
    )
    return n(x(2, 3))[0]


@case("networks.ActorNetwork.squashing_func")
def _():
    return fill(N.ActorNetwork(OBS, CONT, fc_layer_params=(4,), squashing_func=torch.sin))(x(2, 3))[
        0
    ]


@case("networks.ActorNetwork.discrete_refused")
def _():
    return refuses(N.ActorNetwork, OBS, DISC, fc_layer_params=(4,))


@case("networks.ActorNetwork.make_parallel")
def _():
    n = N.ActorNetwork(OBS, CONT, fc_layer_params=(4,)).make_parallel(2)
    return [n(x(3, 2, 3))[0].shape, size(n)]


@case("networks.ActorRNNNetwork")
def _():
    n = fill(
        N.ActorRNNNetwork(
            OBS, CONT, fc_layer_params=(4,), lstm_hidden_size=3, actor_fc_layer_params=(2,)
        )
    )
    return [n(x(2, 3), zeros(n.state_spec, 2))[0], states(n.state_spec)]


@case("networks.ActorDistributionNetwork.continuous")
def _():
    n = fill(N.ActorDistributionNetwork(OBS, CONT, fc_layer_params=(4,)))
    d = n(x(2, 3))[0]
    return [d, d.mean, size(n), n.is_distribution_output]


@case("networks.ActorDistributionNetwork.discrete")
def _():
    n = fill(N.ActorDistributionNetwork(OBS, DISC, fc_layer_params=(4,)))
    d = n(x(2, 3))[0]
    return [d, d.probs]


@case("networks.ActorDistributionNetwork.nested_mixed_actions")
def _():
    n = fill(N.ActorDistributionNetwork(OBS, {"c": CONT, "d": DISC}, fc_layer_params=(4,)))
    d = n(x(2, 3))[0]
    return [sorted(d), d["c"], d["d"]]


@case("networks.ActorDistributionNetwork.make_parallel_discrete")
def _():
    n = fill(N.ActorDistributionNetwork(OBS, DISC, fc_layer_params=(4,)).make_parallel(2))
    return n(x(3, 2, 3))[0].probs


@case("networks.ActorDistributionNetwork.make_parallel_continuous")
def _():
    n = fill(N.ActorDistributionNetwork(OBS, CONT, fc_layer_params=(4,)).make_parallel(2))
    d = n(x(3, 2, 3))[0]
    return [d.mean, d.batch_shape, d.event_shape]


@case("networks.ActorDistributionNetwork.output_spec")
def _():
    s = N.ActorDistributionNetwork(OBS, DISC, fc_layer_params=(4,)).output_spec
    return [type(s).__name__, alf.nest.flatten(s.input_params_spec)]


@case("networks.ActorDistributionRNNNetwork")
def _():
    n = fill(
        N.ActorDistributionRNNNetwork(
            OBS, CONT, fc_layer_params=(4,), lstm_hidden_size=3, actor_fc_layer_params=(2,)
        )
    )
    return [n(x(2, 3), zeros(n.state_spec, 2))[0], states(n.state_spec)]


@case("networks.UnitNormalActorDistributionNetwork")
def _():
    n = N.UnitNormalActorDistributionNetwork(OBS, CONT)
    return n(x(2, 3))[0]


@case("networks.LatentActorDistributionNetwork.batch_shape")
def _():
    n = N.LatentActorDistributionNetwork(OBS, CONT, scale_distribution=True)
    d = n(x(4, 3))[0]
    s = d.sample()
    return [s.shape, d.log_prob(s).shape, d.batch_shape, d.event_shape]


# ---- projections --------------------------------------------------------------

P = functools.partial


def project(net, *others):
    d = fill(net)(x(2, 3))[0]
    return [d, size(net)] + [getattr(d, name) for name in others]


@case("projection.Categorical")
def _():
    return project(N.CategoricalProjectionNetwork(3, DISC), "probs")


@case("projection.Categorical.minimum_above_zero")
def _():
    d = N.CategoricalProjectionNetwork(3, B((), torch.int64, 1, 3))(x(2, 3))[0]
    return d.probs.shape


@case("projection.Categorical.vector")
def _():
    d = fill(N.CategoricalProjectionNetwork(3, B((2,), torch.int64, 0, 2)))(x(2, 3))[0]
    return [d, d.base_dist.probs]


@case("projection.Categorical.vector_of_unequal_bounds")
def _():
    return refuses(N.CategoricalProjectionNetwork, 3, B((2,), torch.int64, 0, [2, 3]))


@case("projection.Categorical.make_parallel")
def _():
    return fill(N.CategoricalProjectionNetwork(3, DISC).make_parallel(2))(x(2, 2, 3))[0].probs


@case("projection.Categorical.initial_policy_is_nearly_uniform")
def _():
    p = N.CategoricalProjectionNetwork(3, DISC)(x(10, 3))[0].probs
    return bool((p - 1 / 3).abs().max() < 0.15)


@case("projection.Normal.default")
def _():
    return project(N.NormalProjectionNetwork(3, CONT), "mean", "stddev")


@case("projection.Normal.state_dependent_std")
def _():
    return project(N.NormalProjectionNetwork(3, CONT, state_dependent_std=True), "mean", "stddev")


@case("projection.Normal.std_bias_initializer_value")
def _():
    d = N.NormalProjectionNetwork(3, CONT, std_bias_initializer_value=-1.0)(x(2, 3))[0]
    return d.stddev


@case("projection.Normal.std_transform_exp")
def _():
    d = N.NormalProjectionNetwork(
        3, CONT, std_bias_initializer_value=-1.0, std_transform=torch.exp
    )(x(2, 3))[0]
    return d.stddev


@case("projection.Normal.squash_mean_false")
def _():
    return project(N.NormalProjectionNetwork(3, CONT, squash_mean=False), "mean")


@case("projection.Normal.scale_distribution")
def _():
    d = fill(N.NormalProjectionNetwork(3, CONT, scale_distribution=True))(x(2, 3))[0]
    a = torch.tensor([[0.5, 1.0], [-0.9, 3.9]])
    return [d, d.log_prob(a)]


@case("projection.Normal.scale_distribution_with_activation")
def _():
    return project(
        N.NormalProjectionNetwork(3, CONT, activation=torch.tanh, scale_distribution=True)
    )


@case("projection.Normal.action_of_rank_2_is_refused")
def _():
    return refuses(N.NormalProjectionNetwork, 3, B((2, 2), minimum=-1, maximum=1))


@case("projection.Normal.parallelism")
def _():
    d = fill(N.NormalProjectionNetwork(3, CONT).make_parallel(2))(x(4, 2, 3))[0]
    return [d.mean, d.stddev, d.batch_shape, d.event_shape]


@case("projection.Normal.initial_mean_in_the_middle")
def _():
    d = N.NormalProjectionNetwork(3, CONT)(torch.zeros(1, 3))[0]
    return [d.mean, d.stddev]


@case("projection.StableNormal.default")
def _():
    return project(N.StableNormalProjectionNetwork(3, CONT), "mean", "stddev")


@case("projection.StableNormal.init_std")
def _():
    return [
        N.StableNormalProjectionNetwork(3, CONT, init_std=0.4, inverse_std_transform=t)(
            torch.zeros(1, 3)
        )[0].stddev
        for t in ("softplus", "exp")
    ]


@case("projection.StableNormal.min_and_max_std")
def _():
    out = []
    for t in ("softplus", "exp"):
        n = fill(
            N.StableNormalProjectionNetwork(
                3,
                CONT,
                state_dependent_std=True,
                inverse_std_transform=t,
                min_std=0.3,
                max_std=0.9,
                init_std=0.5,
            ),
            3.0,
        )
        out.append(n(x(3, 3))[0].stddev)
    return out


@case("projection.StableNormal.scale_distribution")
def _():
    return project(
        N.StableNormalProjectionNetwork(3, CONT, scale_distribution=True, state_dependent_std=True)
    )


@case("projection.Cauchy.default")
def _():
    d = fill(N.CauchyProjectionNetwork(3, CONT))(x(2, 3))[0]
    return [d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]])), d.batch_shape, d.event_shape]


@case("projection.Cauchy.scale_distribution")
def _():
    d = fill(
        N.CauchyProjectionNetwork(3, CONT, scale_distribution=True, state_dependent_scale=True)
    )(x(2, 3))[0]
    return d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]]))


@case("projection.Beta.default")
def _():
    d = fill(N.BetaProjectionNetwork(3, CONT))(x(2, 3))[0]
    return [
        d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]])),
        d.mean,
        d.stddev,
        d.batch_shape,
        d.event_shape,
        d.entropy(),
    ]


@case("projection.Beta.min_concentration")
def _():
    d = fill(N.BetaProjectionNetwork(3, CONT, min_concentration=1.0))(x(2, 3))[0]
    return [d, d.mean]


@case("projection.Beta.initial_is_uniform_concentration")
def _():
    d = N.BetaProjectionNetwork(3, CONT)(x(2, 3))[0]
    return [d.mean, d.stddev, d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]]))]


@case("projection.Beta.make_parallel")
def _():
    d = fill(N.BetaProjectionNetwork(3, CONT).make_parallel(2))(x(4, 2, 3))[0]
    return [d.mean, d.batch_shape, d.event_shape]


@case("projection.Truncated.default")
def _():
    d = fill(N.TruncatedProjectionNetwork(3, CONT))(x(2, 3))[0]
    return [d, d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]]))]


@case("projection.Truncated.scales_clipped")
def _():
    d = fill(
        N.TruncatedProjectionNetwork(
            3, CONT, state_dependent_scale=True, min_scale=0.5, max_scale=1.0
        ),
        3.0,
    )(x(2, 3))[0]
    return [d, d.scale]


@case("projection.Truncated.cauchy_and_t2")
def _():
    from alf.utils.distributions import TruncatedCauchy, TruncatedT2

    v = torch.tensor([[0.0, 1.0], [0.5, 3.0]])
    return [
        fill(N.TruncatedProjectionNetwork(3, CONT, dist_ctor=c))(x(2, 3))[0].log_prob(v)
        for c in (TruncatedCauchy, TruncatedT2)
    ]


@case("projection.OnehotCategorical.modes")
def _():
    out = {}
    for mode in ("st", "gumbel", "st-gumbel", "plain"):
        d = fill(N.OnehotCategoricalProjectionNetwork(3, DISC, mode=mode))(x(2, 3))[0]
        out[mode] = [
            d.logits.softmax(-1),
            d.batch_shape,
            d.event_shape,
            d.has_rsample,
            d.sample().shape,
            d.sample().sum(-1),
        ]
    return out


@case("projection.OnehotCategorical.mode_keeps_the_gradient_of_probabilities")
def _():
    from alf.utils import dist_utils

    d = fill(N.OnehotCategoricalProjectionNetwork(3, DISC))(x(2, 3))[0]
    return dist_utils.get_mode(d)


@case("projection.OnehotCategorical.unknown_mode")
def _():
    return refuses(lambda: N.OnehotCategoricalProjectionNetwork(3, DISC, mode="other")(x(2, 3)))


@case("projection.Mixture.of_normals")
def _():
    n = fill(N.MixtureProjectionNetwork(3, CONT, 3, component_ctor=N.NormalProjectionNetwork))
    d = n(x(2, 3))[0]
    return [
        d.mean,
        d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]])),
        d.batch_shape,
        d.event_shape,
        n.num_components,
    ]


@case("projection.Mixture.of_betas")
def _():
    n = fill(N.MixtureProjectionNetwork(3, CONT, 2, component_ctor=N.BetaProjectionNetwork))
    d = n(x(2, 3))[0]
    return [d.mean, d.log_prob(torch.tensor([[0.0, 1.0], [0.5, 3.0]]))]


# ---- preprocessors ------------------------------------------------------------


@case("networks.EmbeddingPreprocessor.discrete")
def _():
    s = B((), torch.int64, 0, 4)
    n = fill(preprocessors.EmbeddingPreprocessor(s, 3))
    return [n(torch.tensor([0, 4]))[0], n.output_spec, size(n)]


@case("networks.EmbeddingPreprocessor.discrete_is_a_table_only")
def _():
    """Layers and activations are for continuous inputs."""
    s = B((), torch.int64, 0, 4)
    n = preprocessors.EmbeddingPreprocessor(s, 3, fc_layer_params=(2,), last_activation=torch.tanh)
    return size(n)


@case("networks.EmbeddingPreprocessor.continuous")
def _():
    n = fill(
        preprocessors.EmbeddingPreprocessor(
            T((2,)), 3, fc_layer_params=(4,), last_activation=torch.tanh
        )
    )
    return [n(x(2, 2))[0], n.output_spec]


@case("networks.EmbeddingPreprocessor.image")
def _():
    n = fill(preprocessors.EmbeddingPreprocessor(T((1, 4, 4)), 3, conv_layer_params=((2, 2, 2),)))
    return n(x(2, 1, 4, 4))[0]


@case("networks.EmbeddingPreprocessor.unbounded_discrete_refused")
def _():
    return refuses(preprocessors.EmbeddingPreprocessor, T((), torch.int64), 3)


@case("networks.CosineEmbeddingPreprocessor")
def _():
    from alf.networks.preprocessors import CosineEmbeddingPreprocessor

    n = CosineEmbeddingPreprocessor(T((2,)), 4)
    return n(torch.tensor([[0.1, 0.5], [0.25, 1.0]]))[0]


@case("networks.PreprocessorNetwork.outer_rank")
def _():
    class Mine(N.PreprocessorNetwork):
        def forward(self, inputs, state=(), min_outer_rank=1, max_outer_rank=1):
            return super().forward(inputs, state, min_outer_rank, max_outer_rank)

    n = Mine([OBS, OBS], preprocessing_combiner=NestConcat())
    return [
        n([x(2, 3), x(2, 3)])[0],
        refuses(n, [x(2, 2, 3), x(2, 2, 3)]),
        n([x(2, 2, 3), x(2, 2, 3)], max_outer_rank=2)[0].shape,
    ]


@case("networks.SimpleActionEncoder")
def _():
    n = action_encoder.SimpleActionEncoder({"d": DISC, "c": CONT})
    return [
        n({"d": torch.tensor([0, 2]), "c": x(2, 2)})[0],
        n({"d": torch.tensor(1), "c": x(2)})[0],
        n.output_spec,
    ]


@case("networks.SimpleActionEncoder.minimum_above_zero_refused")
def _():
    return refuses(action_encoder.SimpleActionEncoder, B((), torch.int64, 1, 2))


# ---- containers ---------------------------------------------------------------


@case("containers.Sequential.plain")
def _():
    n = fill(alf.nn.Sequential(layers.FC(3, 4, torch.relu), layers.FC(4, 2), input_tensor_spec=OBS))
    return [n(x(2, 3)), n.output_spec, n.state_spec == (), n.input_tensor_spec]


@case("containers.Sequential.input_spec_from_the_first_module")
def _():
    return [
        alf.nn.Sequential(layers.FC(3, 4)).input_tensor_spec,
        refuses(alf.nn.Sequential, torch.tanh),
    ]


@case("containers.Sequential.named_inputs_and_output")
def _():
    n = fill(
        alf.nn.Sequential(
            layers.FC(3, 2),
            a=layers.FC(2, 2),
            b=(("input", "a"), lambda v: v[0].sum(-1, keepdim=True) + v[1]),
            output={"p": "a", "q": "b"},
        )
    )
    return [n(x(2, 3))[0], n.output_spec]


@case("containers.Sequential.input_of_a_positional_module")
def _():
    n = fill(
        alf.nn.Sequential(("input.a", layers.FC(3, 2)), input_tensor_spec={"a": OBS, "b": OBS})
    )
    return n({"a": x(2, 3), "b": x(2, 3)})[0]


@case("containers.Sequential.with_state")
def _():
    n = fill(alf.nn.Sequential(layers.FC(3, 4), N.LSTMCell(4, 2), layers.FC(2, 2)))
    s = zeros(n.state_spec, 2)
    y, s2 = n(x(2, 3), s)
    return [y, s2, n.state_spec]


@case("containers.Sequential.state_kept_when_stateless")
def _():
    n = alf.nn.Sequential(layers.FC(3, 4))
    return n(x(2, 3), ())[1] == ()


@case("containers.Sequential.refuses_a_class")
def _():
    return [
        refuses(alf.nn.Sequential, layers.FC, input_tensor_spec=OBS),
        refuses(alf.nn.Sequential, 3, input_tensor_spec=OBS),
    ]


@case("containers.Sequential.make_parallel")
def _():
    n = fill(
        alf.nn.Sequential(
            layers.FC(3, 4, torch.relu), a=layers.FC(4, 2), output=("a", "input")
        ).make_parallel(2)
    )
    return [n(x(3, 2, 3))[0], n.input_tensor_spec]


@case("containers.Sequential.item")
def _():
    return type(alf.nn.Sequential(layers.FC(3, 4), layers.FC(4, 2))[1]).__name__


@case("containers.Sequential.copy")
def _():
    n = alf.nn.Sequential(layers.FC(3, 4))
    c = n.copy()
    return [c is n, size(c), c.name]


@case("containers.Sequential.unknown_name")
def _():
    return refuses(
        lambda: alf.nn.Sequential(layers.FC(3, 4), ("nothing", layers.FC(4, 2)))(x(2, 3))
    )


@case("containers.Parallel.nest")
def _():
    n = fill(alf.nn.Parallel({"a": layers.FC(3, 2), "b": layers.FC(2, 1)}))
    return [n({"a": x(2, 3), "b": x(2, 2)}), n.output_spec, n.input_tensor_spec]


@case("containers.Parallel.with_state")
def _():
    n = fill(alf.nn.Parallel((N.LSTMCell(3, 2), layers.FC(3, 1))))
    return [n((x(2, 3), x(2, 3)), zeros(n.state_spec, 2)), n.state_spec]


@case("containers.Parallel.make_parallel")
def _():
    n = alf.nn.Parallel((layers.FC(3, 2), layers.FC(3, 1))).make_parallel(4)
    return [v.shape for v in n((x(2, 4, 3), x(2, 4, 3)))[0]]


@case("containers.Parallel.spec_needed_for_functions")
def _():
    return [
        refuses(alf.nn.Parallel, (torch.tanh,)),
        alf.nn.Parallel((torch.tanh,), (OBS,))((x(2, 3),))[0],
    ]


@case("containers.Branch.positional")
def _():
    n = fill(alf.nn.Branch(layers.FC(3, 2), layers.FC(3, 1)))
    y, s = n(x(2, 3))
    return [y, type(y).__name__, s == (), n.output_spec]


@case("containers.Branch.named")
def _():
    n = fill(alf.nn.Branch(a=layers.FC(3, 2), b=layers.FC(3, 1)))
    return n(x(2, 3))[0]


@case("containers.Branch.with_state")
def _():
    n = fill(alf.nn.Branch(N.GRUCell(3, 2), layers.FC(3, 1)))
    return [n(x(2, 3), zeros(n.state_spec, 2)), n.state_spec]


@case("containers.Branch.make_parallel")
def _():
    return [
        v.shape
        for v in alf.nn.Branch(layers.FC(3, 2), layers.FC(3, 1)).make_parallel(4)(x(2, 4, 3))[0]
    ]


@case("containers.Branch.functions")
def _():
    return alf.nn.Branch(torch.tanh, torch.exp, input_tensor_spec=OBS)(x(1, 3))[0]


@case("containers.Echo")
def _():
    """The block's second output is its second input at the next step."""
    block = alf.nn.Sequential(
        a=(("input.input", "input.echo"), NestConcat()),
        b=layers.FC(5, 2, torch.tanh),
        output={"output": "b", "echo": "b"},
        input_tensor_spec={"input": OBS, "echo": T((2,))},
    )
    n = fill(alf.nn.Echo(block))
    y, s = n(x(2, 3), zeros(n.state_spec, 2))
    return [y, n(x(2, 3), s)[0], n.state_spec]


# ---- small networks --------------------------------------------------------------


@case("networks.Residue")
def _():
    return [
        fill(N.Residue(layers.FC(3, 3)))(x(2, 3))[0],
        fill(N.Residue(layers.FC(3, 3), activation=torch.tanh))(x(2, 3))[0],
    ]


def run_sequence(net, values):
    state = zeros(net.state_spec, 1)
    out = []
    for v in values:
        y, state = net(v, state)
        out.append(y.clone())
    return torch.stack(out)


@case("networks.TemporalPool.no_pooling")
def _():
    return run_sequence(N.TemporalPool((), 3), [torch.tensor([float(i * i)]) for i in range(2, 9)])


@case("networks.TemporalPool.skip")
def _():
    return run_sequence(
        N.TemporalPool((), 3, 2), [torch.tensor([float(i * i)]) for i in range(2, 9)]
    )


@case("networks.TemporalPool.avg")
def _():
    return run_sequence(
        N.TemporalPool((), 3, 2, mode="avg"), [torch.tensor([float(i * i)]) for i in range(2, 9)]
    )


@case("networks.TemporalPool.max")
def _():
    return run_sequence(
        N.TemporalPool(2, 2, 2, mode="max"),
        [torch.tensor([[float(i * i), -float(i)]]) for i in range(2, 9)],
    )


@case("networks.TemporalPool.unknown_mode")
def _():
    return refuses(N.TemporalPool, 2, 2, 2, mode="median")


@case("networks.Delay.one_and_three")
def _():
    values = [torch.tensor([[float(i)]]) for i in range(1, 6)]
    return [run_sequence(N.Delay(T((1,)), d), values) for d in (1, 3)]


@case("networks.Delay.zero")
def _():
    n = N.Delay(T((1,)), 0)
    return [n(torch.ones(1, 1), ()), n.state_spec == ()]


@case("networks.Delay.nested")
def _():
    n = N.Delay({"a": T((1,))}, 2)
    s = zeros(n.state_spec, 1)
    _, s = n({"a": torch.ones(1, 1)}, s)
    _, s = n({"a": torch.ones(1, 1) * 2}, s)
    return n({"a": torch.ones(1, 1) * 3}, s)[0]


@case("networks.NoisyFC.mean_in_eval_mode")
def _():
    from alf.utils import common

    n = fill(N.NoisyFC(3, 2, activation=torch.tanh))
    with common.eval_context():
        return [n(x(2, 3), zeros(n.state_spec, 2))[0], n.weight, n.bias, states(n.state_spec)[0]]


@case("networks.NoisyFC.given_noise")
def _():
    """Noise that is kept is the state: factorised, scaled by the sigmas."""
    n = fill(N.NoisyFC(3, 2, new_noise_prob=0.0))
    y, s = n(x(2, 3), (x(2, 3), x(2, 2)))
    return [y, s]


@case("networks.NoisyFC.zero_state_draws_noise")
def _():
    n = N.NoisyFC(3, 2, new_noise_prob=0.0)
    y, s = n(x(2, 3), zeros(n.state_spec, 2))
    return [bool((v != 0).all()) for v in s]


@case("networks.NoisyFC.sigma_init")
def _():
    n = N.NoisyFC(4, 9, std_init=0.6, kernel_initializer=lambda w: w.zero_())
    return sorted(set(round(float(v), 4) for p in n.parameters() for v in p.flatten()))


@case("networks.NaiveParallelNetwork")
def _():
    n = fill(N.NaiveParallelNetwork(N.ValueNetwork(OBS, fc_layer_params=(4,)), 2))
    return [n(x(3, 3))[0], n(x(3, 2, 3))[0], n.output_spec, size(n)]


@case("networks.NaiveParallelNetwork.recurrent_state")
def _():
    n = fill(N.NaiveParallelNetwork(N.LSTMEncodingNetwork(OBS, hidden_size=2), 2))
    y, s = n(x(3, 3), zeros(n.state_spec, 3))
    return [y, alf.nest.flatten(n.state_spec), alf.nest.flatten(s)]


@case("networks.Network.base_make_parallel_is_naive")
def _():
    class Mine(N.Network):
        def __init__(self, input_tensor_spec, name="Mine"):
            super().__init__(input_tensor_spec, name=name)
            self._f = layers.FC(3, 2)

        def forward(self, inputs, state=()):
            return self._f(inputs), state

    n = Mine(OBS)
    return [
        type(n.make_parallel(3)).__name__,
        n.make_parallel(3)(x(2, 3))[0].shape,
        n.copy().name,
        n.output_spec,
    ]


@case("networks.NetworkWrapper")
def _():
    n = N.NetworkWrapper(torch.tanh, OBS)
    return [n(x(2, 3)), n.output_spec]


@case("networks.NetworkWrapper.with_state")
def _():
    n = N.NetworkWrapper(lambda i, s: (i + s, i), OBS, OBS)
    return [n(x(2, 3), torch.ones(2, 3)), n.state_spec]


@case("networks.wrap_as_network")
def _():
    from alf.networks.network import get_input_tensor_spec, wrap_as_network

    fc = layers.FC(3, 2)
    return [
        wrap_as_network(fc, None).output_spec,
        get_input_tensor_spec(fc),
        get_input_tensor_spec(nn.Linear(4, 1)),
        get_input_tensor_spec(torch.tanh),
    ]


@case("networks.BatchSquashNetwork")
def _():
    n = N.BatchSquashNetwork(fill(N.EncodingNetwork(OBS, fc_layer_params=(2,))))
    return n(x(2, 4, 3))[0]


@case("networks.AMPWrapper.disabled")
def _():
    n = N.AMPWrapper(False, fill(N.EncodingNetwork(OBS, fc_layer_params=(2,))))
    return n(x(2, 3), ())[0]


@case("networks.OUProcess.no_noise_decays")
def _():
    p = N.OUProcess(T((2,)), damping=0.25, stddev=0.0)
    return [
        (
            p(torch.tensor([[4.0, -8.0]]))[0]
            if isinstance(p(torch.tensor([[4.0, -8.0]])), tuple)
            else p(torch.tensor([[4.0, -8.0]]))
        )
    ]


# ---- dynamics ---------------------------------------------------------------------


@case("networks.DynamicsNetwork.deterministic")
def _():
    n = fill(N.DynamicsNetwork((OBS, CONT), OBS, joint_fc_layer_params=(4,)))
    return [n((x(2, 3), x(2, 2)))[0], size(n)]


@case("networks.DynamicsNetwork.probabilistic")
def _():
    n = fill(
        N.DynamicsNetwork(
            (OBS, CONT),
            OBS,
            joint_fc_layer_params=(4,),
            prob=True,
            continuous_projection_net_ctor=P(
                N.NormalProjectionNetwork, state_dependent_std=True, squash_mean=False
            ),
        )
    )
    return n((x(2, 3), x(2, 2)))[0]


@case("networks.DynamicsNetwork.make_parallel")
def _():
    n = fill(N.DynamicsNetwork((OBS, CONT), OBS, joint_fc_layer_params=(4,)).make_parallel(2))
    return n((x(3, 2, 3), x(3, 2, 2)))[0]


# ---- normalizing flows -----------------------------------------------------------


def flow_facts(net, v, *condition):
    t = net.make_invertible_transform(*condition)
    y = t(v)
    rows = []
    for i in range(v.shape[0]):
        c = [u[i : i + 1] for u in condition]
        one = net.make_invertible_transform(*c)
        j = torch.autograd.functional.jacobian(lambda u: one(u.unsqueeze(0)).squeeze(0), v[i])
        rows.append(torch.logdet(j))
    return [
        y.shape,
        bool((t.inv(y) - v).abs().max() < 1e-3),
        t.log_abs_det_jacobian(v, y).shape,
        bool((t.log_abs_det_jacobian(v, y) - torch.stack(rows)).abs().max() < 1e-3),
    ]


@case("flow.RealNVP.inverse_and_log_det")
def _():
    return flow_facts(
        fill(
            N.RealNVPNetwork(T((4,)), fc_layer_params=(5,), num_layers=2, use_transform_cache=False)
        ),
        x(3, 4),
    )


@case("flow.RealNVP.distributed_mask")
def _():
    return flow_facts(
        fill(
            N.RealNVPNetwork(
                T((5,)),
                fc_layer_params=(4,),
                num_layers=3,
                mask_mode="distributed",
                use_transform_cache=False,
            )
        ),
        x(3, 5),
    )


@case("flow.RealNVP.distributed_mask_with_sub_dim")
def _():
    return flow_facts(
        fill(
            N.RealNVPNetwork(
                T((5,)),
                fc_layer_params=(4,),
                num_layers=2,
                mask_mode="distributed",
                sub_dim=2,
                use_transform_cache=False,
            )
        ),
        x(3, 5),
    )


@case("flow.RealNVP.contiguous_one_layer_keeps_these_coordinates")
def _():
    n = fill(N.RealNVPNetwork(T((5,)), fc_layer_params=(4,), num_layers=1, sub_dim=2))
    return (n.make_invertible_transform()(x(1, 5)) - x(1, 5)).abs() < 1e-6


@case("flow.RealNVP.distributed_one_layer_keeps_these_coordinates")
def _():
    n = fill(N.RealNVPNetwork(T((5,)), fc_layer_params=(4,), num_layers=1, mask_mode="distributed"))
    return (n.make_invertible_transform()(x(1, 5)) - x(1, 5)).abs() < 1e-6


@case("flow.RealNVP.conditional")
def _():
    n = fill(
        N.RealNVPNetwork(
            T((4,)),
            conditional_input_tensor_spec=OBS,
            fc_layer_params=(5,),
            num_layers=2,
            use_transform_cache=False,
        )
    )
    return [flow_facts(n, x(3, 4), x(3, 3)), n.use_conditional_inputs]


@case("flow.RealNVP.network_calls")
def _():
    n = fill(
        N.RealNVPNetwork(
            T((4,)), conditional_input_tensor_spec=OBS, fc_layer_params=(5,), num_layers=2
        )
    )
    y = n((x(3, 4), x(3, 3)))[0]
    return [y.shape, bool((n.inverse((y, x(3, 3)))[0] - x(3, 4)).abs().max() < 1e-3)]


@case("flow.RealNVP.unknown_mask")
def _():
    return refuses(N.RealNVPNetwork, T((4,)), fc_layer_params=(5,), mask_mode="spiral")


# ---- parameters from outside --------------------------------------------------------


@case("param.ParamNetwork.fc")
def _():
    n = N.ParamNetwork(
        OBS, fc_layer_params=(4, 2), last_layer_size=1, last_activation=alf.math.identity
    )
    n.set_parameters(pattern((2, n.param_length), 0.8))
    return [n.param_length, n(x(3, 3))[0]]


@case("param.ParamNetwork.conv_and_fc")
def _():
    n = N.ParamNetwork(
        T((1, 6, 6)), conv_layer_params=((2, 3, 1, 1, 2), (3, 2, 1)), fc_layer_params=(4,)
    )
    n.set_parameters(pattern((1, n.param_length), 0.8))
    return [n.param_length, n(x(2, 1, 6, 6))[0]]


@case("param.ParamNetwork.use_ln")
def _():
    n = N.ParamNetwork(
        OBS,
        fc_layer_params=(4,),
        use_fc_ln=True,
        n_groups=2,
        last_layer_size=2,
        last_activation=alf.math.identity,
    )
    n.set_parameters(pattern((2, n.param_length), 0.8))
    return [n.param_length, n(x(3, 3))[0]]


@case("param.ParamNetwork.last_layer_needs_activation")
def _():
    return refuses(N.ParamNetwork, OBS, fc_layer_params=(4,), last_layer_size=1)


@case("param.ParamConvNet")
def _():
    n = N.ParamConvNet(1, (6, 6), ((2, 3, 1), (3, 2, 2)), use_bias=True, flatten_output=True)
    n.set_parameters(pattern((2, n.param_length), 0.8))
    return [n.param_length, n(x(2, 1, 6, 6))[0].shape, n(x(2, 1, 6, 6))[0]]


# ---- ReluMLP ------------------------------------------------------------------------


def relu_mlp(**options):
    from alf.networks.relu_mlp import ReluMLP

    return fill(ReluMLP(OBS, hidden_layers=(5, 4), **options), 0.9)


@case("relu_mlp.forward_and_jacobian")
def _():
    n = relu_mlp(output_size=2)
    out, _ = n(x(2, 3), requires_jac=True)
    return [out, n.compute_jac(x(2, 3)), n.output_spec]


@case("relu_mlp.jacobian_equals_autograd")
def _():
    n = relu_mlp(output_size=2)
    j = torch.autograd.functional.jacobian(lambda v: n(v)[0], x(1, 3)).reshape(2, 3)
    return bool((n.compute_jac(x(1, 3))[0] - j).abs().max() < 1e-5)


@case("relu_mlp.jac_diag")
def _():
    n = relu_mlp(output_size=3)
    return [n.compute_jac_diag(x(2, 3)), n(x(2, 3), requires_jac_diag=True)[0]]


@case("relu_mlp.vjp_and_jvp")
def _():
    n = relu_mlp(output_size=2)
    return [n.compute_vjp(x(2, 3), x(2, 2)), n.compute_jvp(x(2, 3), x(2, 3))]


@case("relu_mlp.partial_outputs")
def _():
    n = relu_mlp(output_size=4)
    return [
        n.compute_jac(x(2, 3), output_partial_idx=[1, 3]),
        n.compute_vjp(x(2, 3), x(2, 2), output_partial_idx=[1, 3]),
        n.compute_jvp(x(2, 3), x(2, 3), output_partial_idx=[1, 3]),
    ]


# ---- memory --------------------------------------------------------------------------


def memory(**options):
    from alf.networks.memory import MemoryWithUsage

    return MemoryWithUsage(2, 3, **options)


@case("memory.MemoryWithUsage.state_spec")
def _():
    return list(memory().state_spec)


@case("memory.MemoryWithUsage.write_then_read")
def _():
    m = memory(usage_decay=1.0)
    m.build(1)
    m.write(torch.tensor([[1.0, 0.0]]))
    m.write(torch.tensor([[0.0, 2.0]]))
    return [m.read(torch.tensor([[1.0, 0.0]])), m.read(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))]


@case("memory.MemoryWithUsage.usage_is_the_sum_of_attention")
def _():
    m = memory(usage_decay=1.0)
    m.build(1)
    m.read(torch.tensor([[1.0, 0.0]]))
    return [m.usage.clone(), m.read(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])), m.usage]


@case("memory.MemoryWithUsage.least_used_slot_is_replaced")
def _():
    m = memory(usage_decay=1.0)
    m.build(1)
    for i in range(3):
        m.write(torch.tensor([[1.0 + i, 1.0]]))
    m.read(torch.tensor([[0.0, 1.0]]))
    m.write(torch.tensor([[-1.0, -1.0]]))
    return m.states[0]


@case("memory.MemoryWithUsage.dot_product_and_scale")
def _():
    m = memory(normalize=False, scale=2.0)
    m.build(1)
    m.write(torch.tensor([[1.0, 2.0]]))
    return [m.read(torch.tensor([[1.0, 0.5]])), m.read(torch.tensor([[1.0, 0.5]]), scale=0.5)]


@case("memory.MemoryWithUsage.keynet")
def _():
    m = memory(usage_decay=1.0)
    m.build(1)
    m.write(torch.tensor([[1.0, 2.0]]))
    net = fill(m.create_keynet(T((4,)), 2))
    return [
        m.genkey_and_read(net, x(1, 4)),
        m.genkey_and_read(net, x(1, 4), flatten_result=False).shape,
    ]


@case("memory.MemoryWithUsage.reset_and_from_states")
def _():
    m = memory()
    m.build(1)
    m.write(torch.tensor([[1.0, 2.0]]))
    saved = m.states
    m.reset()
    after = list(m.states)
    m.from_states(saved)
    return [after, list(m.states)]


@case("memory.FIFOMemory.newest_first_with_mask")
def _():
    from alf.networks.memory import FIFOMemory

    m = FIFOMemory(2, 3)
    m.build(1)
    out = [m.mask()]
    for i in range(4):
        m.write(torch.full((1, 2), float(i + 1)))
        out += [m.memory().clone(), m.mask().clone()]
    return out


@case("memory.FIFOMemory.state_spec")
def _():
    from alf.networks.memory import FIFOMemory

    return alf.nest.flatten(FIFOMemory(2, 3).state_spec)


# ---- transformers ----------------------------------------------------------------------


@case("transformer.TransformerNetwork.core_only")
def _():
    n = fill_symmetric(
        N.TransformerNetwork(T((4, 8)), num_prememory_layers=2, num_attention_heads=2)
    )
    y, s = n(x(2, 4, 8))
    return [y, list(s), n.state_spec, n.output_spec]


@case("transformer.TransformerNetwork.all_embeddings")
def _():
    n = N.TransformerNetwork(
        T((4, 8)),
        num_prememory_layers=1,
        num_attention_heads=2,
        core_size=2,
        return_core_only=False,
    )
    return [n(x(2, 4, 8))[0].shape, size(n)]


@case("transformer.TransformerNetwork.memory_shapes")
def _():
    out = []
    for central in (True, False):
        n = N.TransformerNetwork(
            T((4, 8)),
            num_prememory_layers=1,
            num_attention_heads=2,
            core_size=2,
            memory_size=6,
            num_memory_layers=2,
            centralized_memory=central,
        )
        y, s = n(x(2, 4, 8), zeros(n.state_spec, 2))
        out.append([y.shape, alf.nest.flatten(n.state_spec), size(n)])
    return out


@case("transformer.TransformerNetwork.memory_needs_a_size")
def _():
    return refuses(
        N.TransformerNetwork,
        T((4, 8)),
        num_prememory_layers=1,
        num_attention_heads=2,
        num_memory_layers=1,
    )


@case("transformer.TransformerNetwork.without_core_embedding")
def _():
    n = N.TransformerNetwork(
        T((4, 8)), num_prememory_layers=1, num_attention_heads=2, use_core_embedding=False
    )
    return [n(x(2, 4, 8))[0].shape, size(n)]


@case("transformer.TransformerNetwork.preprocessors")
def _():
    n = N.TransformerNetwork(
        [T((3, 8)), T((2, 8))],
        num_prememory_layers=1,
        num_attention_heads=2,
        input_preprocessors=[None, None],
        return_core_only=False,
    )
    return n([x(2, 3, 8), x(2, 2, 8)])[0].shape


@case("transformer.SocialAttentionNetwork")
def _():
    n = fill_symmetric(N.SocialAttentionNetwork(T((4, 3)), fc_layer_params=(6, 4), num_of_heads=2))
    return [n(x(2, 4, 3))[0], size(n)]


# ---- mdq critic -------------------------------------------------------------------------


def mdq(method="uniform"):
    from alf.networks.mdq_critic_networks import MdqCriticNetwork
    from alf.utils.action_quantizer import ActionQuantizer

    spec = B((2,), minimum=-1, maximum=1)
    return MdqCriticNetwork(
        (OBS, spec),
        action_qt=ActionQuantizer(spec, method, 5),
        obs_encoding_layer_params=(6,),
        pre_encoding_layer_params=(4,),
        mid_encoding_layer_params=(4,),
        post_encoding_layer_params=(4,),
        free_form_fc_layer_params=(7,),
    )


@case("mdq.get_action.shapes")
def _():
    """Actions and log probabilities are [B, n, action_dim]."""
    a, log_pi = mdq().get_action(x(3, 3), torch.tensor(0.1), greedy=True)[:2]
    return [a.shape, log_pi.shape, bool((log_pi <= 0).all())]


@case("mdq.get_action.greedy_actions_are_bin_centres")
def _():
    a = mdq().get_action(x(8, 3), torch.tensor(0.1), greedy=True)[0]
    centres = torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8])
    return bool(((a.unsqueeze(-1) - centres).abs().min(-1).values < 1e-5).all())


@case("mdq.uniform_prior_logpi")
def _():
    return torch.as_tensor(mdq().get_uniform_prior_logpi()).double().reshape(-1)


@case("mdq.ActionQuantizer.center")
def _():
    from alf.utils.action_quantizer import ActionQuantizer

    q = ActionQuantizer(B((2,), minimum=-1, maximum=1), "uniform", 5)
    return [
        q.ind_to_action(torch.arange(5)),
        q.action_to_ind(torch.tensor([-1.0, -0.61, -0.1, 0.3, 0.79])).float(),
        q.action_bins,
    ]


@case("mdq.ActionQuantizer.boundary")
def _():
    from alf.utils.action_quantizer import ActionQuantizer

    q = ActionQuantizer(B((2,), minimum=-1, maximum=1), "uniform", 5, rep_mode="boundary")
    return [
        q.ind_to_action(torch.arange(5)),
        q.action_to_ind(torch.tensor([-0.9, -0.3, 0.1, 0.3, 0.9])).float(),
    ]


@case("mdq.ActionQuantizer.bounds_must_be_scalars")
def _():
    from alf.utils.action_quantizer import ActionQuantizer

    return refuses(ActionQuantizer, B((2,), minimum=[-1, -1], maximum=1))
