"""Layers without parameters and grouped convolutions, by hand numbers and identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import alf
from alf import layers, networks


def test_attention_to_equal_keys_is_the_mean_of_the_values() -> None:
    value = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    result, weights = layers.SimpleAttention()(torch.randn(1, 1, 4), torch.ones(1, 2, 4), value)
    torch.testing.assert_close(result, torch.tensor([[[2.0, 4.0]]]))
    torch.testing.assert_close(weights, torch.tensor([[[0.5, 0.5]]]))


def test_attention_is_that_of_torch() -> None:
    query, key, value = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)
    result, weights = layers.SimpleAttention()(query, key, value)
    torch.testing.assert_close(result, F.scaled_dot_product_attention(query, key, value))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))


def test_replication_repeats_the_borders() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert layers.ReplicationPad2d(1)(image)[0, 0].tolist() == [
        [1, 1, 2, 2],
        [1, 1, 2, 2],
        [3, 3, 4, 4],
        [3, 3, 4, 4],
    ]


def test_replication_of_four_sides_takes_any_dtype() -> None:
    image = torch.tensor([[[[1, 2]]]], dtype=torch.uint8)
    padded = layers.ReplicationPad2d((1, 2, 0, 1))(image)
    assert padded.dtype == torch.uint8
    assert padded[0, 0].tolist() == [[1, 1, 2, 2, 2]] * 2
    with pytest.raises(ValueError, match="left, right, top, bottom"):
        layers.ReplicationPad2d((1, 2))


def test_random_crop_repeats_borders() -> None:
    image = torch.full((30, 1, 4, 4), 7.0)
    assert torch.equal(layers.RandomCrop(3, padding=2)(image), image[..., :3, :3])


def test_replicas_of_a_function_call_it_once_each() -> None:
    x = torch.randn(3, 2, 4)
    torch.testing.assert_close(layers.NaiveParallelLayer(lambda v: v.sum(-1), 2)(x), x.sum(-1))
    layers.reset_parameters(torch.tanh)  # has none


def test_fields_are_picked_into_a_nest_or_by_name() -> None:
    nested = {"observation": {"image": 1, "speed": 2}, "reward": 3}
    assert layers.GetFields(["reward", "observation.image"])(nested) == [3, 1]
    assert layers.GetFields(a="observation.speed")(nested) == {"a": 2}
    for wrong in ({}, {"field_nest": "reward", "a": "reward"}):
        with pytest.raises(ValueError, match="either field_nest or named fields"):
            layers.GetFields(**wrong)


def test_a_gradient_is_summarized_on_its_way_back(tmp_path: Path) -> None:
    writer = alf.summary.create_summary_writer(str(tmp_path))
    layer = layers.SummarizeGradient("grad")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    alf.summary.enable_summary()
    try:
        with alf.summary.push_summary_writer(writer), alf.summary.record_if(lambda: True):
            y = layer(x)
            (y * torch.tensor([3.0, 5.0])).sum().backward()
            assert layer(x.detach()) is not None  # without gradient there is nothing to write
    finally:
        alf.summary.disable_summary()
    writer.close()
    assert x.grad is not None
    assert (y.tolist(), x.grad.tolist()) == ([1.0, 2.0], [3.0, 5.0])
    (histogram,) = EventAccumulator(str(tmp_path)).Reload().Histograms("grad")
    assert (histogram.histogram_value.min, histogram.histogram_value.max) == (3.0, 5.0)


def call(net: Any, x: torch.Tensor) -> torch.Tensor:
    """The output, whether `net` is a network or a layer."""
    return net(x)[0] if isinstance(net, networks.Network) else net(x)


@pytest.mark.parametrize("wrap", [layers.AMPWrapper, networks.AMPWrapper])
def test_mixed_precision_can_be_turned_on_and_off_for_one_part(wrap: Any) -> None:
    net: Any = layers.FC(3, 2)
    if wrap is networks.AMPWrapper:
        net = networks.Sequential(net, input_tensor_spec=alf.TensorSpec((3,)))
    x = torch.randn(4, 3)
    assert call(wrap(True, net), x).dtype == torch.bfloat16
    with torch.autocast("cpu"):
        y = call(wrap(False, net), x.to(torch.bfloat16))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, call(net, x), atol=0.05, rtol=0.05)


PARALLEL = [(layers.ParallelConv2D, layers.Conv2D)]
PARALLEL.append((layers.ParallelConvTranspose2D, layers.ConvTranspose2D))


@pytest.mark.parametrize(("parallel_cls", "single_cls"), PARALLEL)
def test_a_grouped_convolution_is_n_single_ones(parallel_cls: Any, single_cls: Any) -> None:
    parallel = parallel_cls(2, 4, 3, n=3, strides=2, padding=1, use_bias=True, bias_init_value=0.5)
    x = torch.randn(5, 3, 2, 6, 4)
    y, shared = parallel(x), parallel(x[:, 0])
    for i in range(3):
        single = single_cls(2, 4, 3, strides=2, padding=1, use_bias=True)
        single.weight.data = parallel.weight.data[i]
        single.bias.data = parallel.bias.data[i]
        torch.testing.assert_close(y[:, i], single(x[:, i]))
        torch.testing.assert_close(shared[:, i], single(x[:, 0]))
    with pytest.raises(ValueError, match=r"\[B, 3, C, H, W\]"):
        parallel(x[:, :2])
