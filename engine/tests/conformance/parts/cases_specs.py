"""``alf.tensor_specs``, ``alf.data_structures``, ``alf.utils.spec_utils``."""

import numpy as np
import torch
from harness import case, ramp, refuses

import alf
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep

T, B = alf.TensorSpec, alf.BoundedTensorSpec


@case("specs.TensorSpec.properties")
def _():
    s = T((2, 3), torch.int64)
    return [s, s.numel, s.ndim, s.dtype_str, s.is_discrete, s.is_continuous, s.is_bounded()]


@case("specs.TensorSpec.discrete_dtypes")
def _():
    return {
        str(d): [T((), d).is_discrete, T((), d).is_continuous]
        for d in (torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool)
    }


@case("specs.TensorSpec.dtype_given_as_string")
def _():
    return T((1,), "int64")


@case("specs.TensorSpec.shape_given_as_list_or_int")
def _():
    return [T([2, 3]), T(())]


@case("specs.TensorSpec.equality")
def _():
    return [
        T((1,)) == T((1,)),
        T((1,)) == T((2,)),
        T((1,)) == T((1,), torch.int64),
        T((1,)) == B((1,)),
        T((1,)) == 3,
    ]


@case("specs.TensorSpec.from_tensor.from_dim")
def _():
    return [
        T.from_tensor(torch.zeros(4, 2, dtype=torch.int32)),
        T.from_tensor(torch.zeros(4, 2, 3), from_dim=1),
        T.from_tensor(torch.zeros(4, 2), from_dim=2),
    ]


@case("specs.TensorSpec.from_array")
def _():
    return [
        T.from_array(np.zeros((2, 3), np.float32)),
        T.from_array(np.zeros((2, 3), np.int64), from_dim=1),
    ]


@case("specs.TensorSpec.from_spec")
def _():
    return [T.from_spec(B((2,), minimum=-1, maximum=3)), T.from_spec(T((2,), torch.int64))]


@case("specs.TensorSpec.replace")
def _():
    return [T((2,)).replace(shape=(3, 1)), T((2,)).replace(dtype=torch.int64)]


@case("specs.TensorSpec.constant_zeros_ones")
def _():
    s = T((2,), torch.int64)
    return [
        s.constant(3),
        s.constant(3, (2,)),
        s.zeros(),
        s.zeros((1, 2)),
        s.ones((2,)),
        s.numpy_constant(2, (1,)),
        s.numpy_zeros(),
    ]


@case("specs.TensorSpec.rand_within_0_1")
def _():
    x = T((3,)).rand((100,))
    return [tuple(x.shape), bool((x >= 0).all()), bool((x <= 1).all())]


@case("specs.TensorSpec.randn_shape")
def _():
    return [tuple(T((3,)).randn((2, 4)).shape), tuple(T((3,)).randn().shape)]


@case("specs.BoundedTensorSpec.defaults")
def _():
    return B((2,))


@case("specs.BoundedTensorSpec.defaults_int")
def _():
    return B((), torch.int64)


@case("specs.BoundedTensorSpec.bounds_keep_given_shape")
def _():
    s = B((2, 2), minimum=[-1, -2], maximum=5)
    return [np.shape(s.minimum), np.shape(s.maximum), str(s.minimum.dtype)]


@case("specs.BoundedTensorSpec.bounds_dtype_follows_spec")
def _():
    s = B((), torch.int64, minimum=0.0, maximum=4.0)
    return [str(s.minimum.dtype), str(s.maximum.dtype)]


@case("specs.BoundedTensorSpec.bounds_of_wrong_shape")
def _():
    return refuses(B, (2,), minimum=[0, 0, 0], maximum=1)


@case("specs.BoundedTensorSpec.equality")
def _():
    a = B((2,), minimum=-1, maximum=1)
    return [
        a == B((2,), minimum=-1, maximum=1),
        a == B((2,), minimum=-1, maximum=2),
        a == T((2,)),
        a == B((2,), minimum=[-1, -1], maximum=[1, 1]),
    ]


@case("specs.BoundedTensorSpec.is_bounded")
def _():
    return [B((1,)).is_bounded(), B.is_bounded(), T.is_bounded()]


@case("specs.BoundedTensorSpec.from_spec")
def _():
    return [B.from_spec(B((2,), torch.int64, 1, 3)), refuses(B.from_spec, T((2,)))]


@case("specs.BoundedTensorSpec.replace")
def _():
    s = B((2,), minimum=-1, maximum=3)
    return [
        s.replace(minimum=0),
        s.replace(maximum=[4, 5]),
        s.replace(shape=(4,)),
        s.replace(dtype=torch.int64),
    ]


@case("specs.BoundedTensorSpec.sample_includes_maximum_of_int")
def _():
    """The maximum of a discrete spec can be drawn."""
    x = B((2,), torch.int64, 1, 3).sample((500,))
    return [x.dtype, tuple(x.shape), sorted(set(x.flatten().tolist()))]


@case("specs.BoundedTensorSpec.sample_in_bounds_per_component")
def _():
    x = B((2,), minimum=[-1, 10], maximum=[0, 20]).sample((500,))
    return [
        bool((x[:, 0] <= 0).all()),
        bool((x[:, 0] >= -1).all()),
        bool((x[:, 1] >= 10).all()),
        bool((x[:, 1] <= 20).all()),
        x.dtype,
    ]


@case("specs.BoundedTensorSpec.numpy_sample")
def _():
    x = B((2,), torch.int64, 0, 2).numpy_sample((300,))
    return [str(x.dtype), x.shape, sorted(set(x.flatten().tolist()))]


@case("specs.BoundedTensorSpec.numpy_sample_float")
def _():
    x = B((2,), minimum=2, maximum=3).numpy_sample()
    return [str(x.dtype), x.shape, bool((x >= 2).all() and (x <= 3).all())]


@case("specs.torch_dtype_to_str")
def _():
    return [
        alf.torch_dtype_to_str(d) for d in (torch.float32, torch.int64, torch.uint8, torch.bool)
    ]


# ---- data structures -------------------------------------------------------


@case("structures.namedtuple.default_value")
def _():
    n = alf.data_structures.namedtuple("N", ["a", "b"], default_value=0)
    return [n(), n(b=3)]


@case("structures.namedtuple.default_values_are_the_last_fields")
def _():
    n = alf.data_structures.namedtuple("N", ["a", "b", "c"], default_values=(7, 8))
    return [n(1), n(1, c=2)]


@case("structures.namedtuple.no_default_is_none")
def _():
    return alf.data_structures.namedtuple("N", ["a", "b"])()


@case("structures.namedtuple.defaults_by_dict")
def _():
    return alf.data_structures.namedtuple("N", ["a", "b"], default_values={"b": 5})()


@case("structures.StepType.values")
def _():
    return [int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)]


@case("structures.StepType.from_value")
def _():
    return [int(StepType(0)), int(StepType(2)), refuses(StepType, 3)]


@case("structures.TimeStep.fields_and_defaults")
def _():
    return [list(TimeStep._fields), TimeStep()]


@case("structures.TimeStep.is_first_mid_last")
def _():
    t = TimeStep(step_type=torch.tensor([0, 1, 2], dtype=torch.int32))
    return [t.is_first(), t.is_mid(), t.is_last()]


@case("structures.Experience.fields_and_defaults")
def _():
    return [list(Experience._fields), Experience()]


@case("structures.Experience.time_step_attributes")
def _():
    ts = TimeStep(
        step_type=torch.tensor([2], dtype=torch.int32),
        reward=torch.ones(1),
        discount=torch.zeros(1),
        observation=torch.ones(1, 2),
        prev_action=torch.zeros(1, 1),
        env_id=torch.tensor([4]),
    )
    e = Experience(time_step=ts)
    return [
        e.step_type,
        e.reward,
        e.discount,
        e.observation,
        e.prev_action,
        e.env_id,
        e.is_last(),
        e.is_first(),
        e.is_mid(),
    ]


@case("structures.Experience.get_and_update_time_step_field")
def _():
    e = Experience(time_step=TimeStep(reward=torch.ones(1), env_info={"a": torch.zeros(1)}))
    n = e.update_time_step_field("reward", torch.full((1,), 3.0))
    return [e.get_time_step_field("env_info.a"), n.reward, e.reward]


@case("structures.AlgStep_LossInfo.fields")
def _():
    return [list(AlgStep._fields), AlgStep(), list(LossInfo._fields), LossInfo()]


@case("structures.elastic_namedtuple.unknown_is_empty")
def _():
    n = alf.data_structures.elastic_namedtuple("N", ["a"])(a=1)
    return [n.a, n.b]


@case("structures.BasicRolloutInfo.fields")
def _():
    from alf.data_structures import BasicRLInfo, BasicRolloutInfo

    return [
        BasicRolloutInfo(),
        BasicRolloutInfo(rl=BasicRLInfo(action=1)).rl.action,
        BasicRolloutInfo().nothing,
    ]


@case("structures.restart.unbatched_numpy")
def _():
    return alf.data_structures.restart(np.zeros(2, np.float32), B((1,), torch.int64, 0, 3))


@case("structures.restart.batched")
def _():
    return alf.data_structures.restart(torch.zeros(3, 2), {"a": B((2,))}, batched=True)


@case("structures.restart.vector_reward")
def _():
    return alf.data_structures.restart(
        torch.zeros(3, 2), B((2,)), reward_spec=T((2,)), batched=True
    ).reward


@case("structures.transition.batched")
def _():
    return alf.data_structures.transition(
        torch.zeros(2, 2), torch.ones(2, 1), torch.tensor([1.0, 2.0]), discount=0.5
    )


@case("structures.transition.unbatched_numpy")
def _():
    return alf.data_structures.transition(
        np.zeros(2, np.float32), np.int64(1), 3.0, env_id=np.int32(5), env_info={"x": np.float32(1)}
    )


@case("structures.transition.vector_reward_batched_or_not")
def _():
    s = T((2,))
    one = alf.data_structures.transition(
        torch.zeros(2), torch.ones(1), torch.tensor([1.0, 2.0]), reward_spec=s
    )
    two = alf.data_structures.transition(
        torch.zeros(3, 2), torch.ones(3, 1), torch.ones(3, 2), reward_spec=s
    )
    return [one.step_type, one.reward, two.step_type, two.env_id, two.reward]


@case("structures.transition.discount_tensor")
def _():
    return alf.data_structures.transition(
        torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2), discount=torch.tensor([0.0, 1.0])
    ).discount


@case("structures.transition.batch_sizes_differ")
def _():
    return refuses(
        alf.data_structures.transition, torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(3)
    )


@case("structures.termination.discount_zero")
def _():
    return alf.data_structures.termination(
        torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([1.0, 1.0])
    )


@case("structures.time_step_spec")
def _():
    return alf.data_structures.time_step_spec(T((3,)), B((1,)), T(()))


@case("structures.time_step_spec.not_a_spec")
def _():
    return refuses(alf.data_structures.time_step_spec, torch.zeros(3), B((1,)), T(()))


@case("structures.make_experience")
def _():
    return alf.data_structures.make_experience(
        TimeStep(reward=1), AlgStep(output=2, state=3, info=4), 5
    )


@case("structures.add_and_clear_batch_info")
def _():
    from alf.experience_replayers.replay_buffer import BatchInfo

    e = alf.data_structures.add_batch_info(
        Experience(action=1), BatchInfo(env_ids=torch.tensor([1])), buffer="buffer"
    )
    c = alf.data_structures.clear_batch_info(e)
    return [e.batch_info.env_ids, e.replay_buffer, e.rollout_info_field, c]


@case("structures.add_batch_info.none")
def _():
    return alf.data_structures.add_batch_info(Experience(action=1), None)


@case("structures.BatchInfo.fields")
def _():
    from alf.experience_replayers.replay_buffer import BatchInfo

    return [list(BatchInfo._fields), BatchInfo()]


# ---- spec_utils ---------------------------------------------------------


@case("spec_utils.consistent_with_spec")
def _():
    from alf.utils.spec_utils import consistent_with_spec as f

    s = {"a": T((2,)), "b": T((), torch.int64)}
    one = np.zeros(2, np.float32)
    return [
        f({"a": one, "b": np.int64(1)}, s),
        f({"a": np.zeros((3, 2), np.float32), "b": np.zeros(3, np.int64)}, s, from_dim=1),
        f({"a": np.zeros((3, 2), np.float32), "b": np.zeros(3, np.int64)}, s),
        f({"a": one, "b": np.float32(1)}, s),
        f({"a": one}, s),
    ]


@case("spec_utils.scale_to_spec")
def _():
    """-1 and 1 land on the bounds, 0 on the middle."""
    from alf.utils import spec_utils

    s = B((2,), minimum=[-2, 0], maximum=[2, 10])
    return spec_utils.scale_to_spec(torch.tensor([[-1.0, 1.0], [0.0, 0.0], [0.5, -0.5]]), s)


@case("spec_utils.scale_to_spec.scalar_bounds")
def _():
    from alf.utils import spec_utils

    return spec_utils.scale_to_spec(ramp(2, 3), B((3,), minimum=1, maximum=3))


@case("spec_utils.clip_to_spec")
def _():
    from alf.utils import spec_utils

    s = B((2,), minimum=[-1, 0], maximum=[1, 10])
    return spec_utils.clip_to_spec(torch.tensor([[-5.0, 5.0], [0.5, 11.0], [3.0, -1.0]]), s)


@case("spec_utils.spec_means_and_magnitudes")
def _():
    from alf.utils import spec_utils

    return list(spec_utils.spec_means_and_magnitudes(B((2,), minimum=[-2, 0], maximum=[2, 10])))


@case("spec_utils.zeros_from_spec")
def _():
    from alf.utils import spec_utils

    return spec_utils.zeros_from_spec({"a": T((2,)), "b": T((), torch.int64)}, 3)


@case("spec_utils.is_same_spec")
def _():
    from alf.utils import spec_utils

    f = spec_utils.is_same_spec
    return [f({"a": T((1,))}, {"a": T((1,))}), f({"a": T((1,))}, {"a": T((2,))})]
