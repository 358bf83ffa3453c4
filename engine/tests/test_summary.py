"""What is written, under which tag and step, and when nothing is."""

from __future__ import annotations

import io
import math
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import alf
from alf.data_structures import LossInfo
from alf.summary import summary_ops
from alf.utils import summary_utils
from alf.utils.schedulers import get_progress


class Log:
    """A writer in a directory, and what has been written to it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.writer = alf.summary.create_summary_writer(self.path, flush_secs=10, max_queue=10)

    def read(self) -> EventAccumulator:
        self.writer.flush()
        events = EventAccumulator(self.path, size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        return events

    def scalars(self, tag: str) -> list[tuple[int, float]]:
        return [(e.step, pytest.approx(e.value)) for e in self.read().Scalars(tag)]

    def tags(self) -> set[str]:
        tags = self.read().Tags()
        return {t for kind in ("scalars", "histograms", "images", "tensors") for t in tags[kind]}


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    summary_ops._averages.clear()
    summary_utils._elapsed.clear()
    with alf.summary.push_summary_writer(log.writer):
        alf.summary.enable_summary()
        alf.summary.reset_global_counter()
        yield log
        alf.summary.disable_summary()
        alf.summary.reset_global_counter()
    log.writer.close()


def test_scalars_are_written_at_the_global_counter_or_at_a_given_step(log):
    alf.summary.set_global_counter(7)
    alf.summary.scalar("a", torch.tensor(1.5))
    alf.summary.increment_global_counter()
    alf.summary.scalar("a", np.float32(2.5))
    alf.summary.scalar("a", 3.5, step=100)
    assert log.scalars("a") == [(7, 1.5), (8, 2.5), (100, 3.5)]


def test_the_counter_is_a_progress_that_schedulers_can_follow(log):
    alf.summary.set_global_counter(41)
    alf.summary.increment_global_counter()
    assert alf.summary.get_global_counter() == 42
    assert get_progress("global_counter") == 42


def test_scopes_nest_and_a_leading_slash_leaves_them(log):
    with alf.summary.scope("outer") as outer, alf.summary.scope("inner"):
        alf.summary.scalar("x", 1)
        alf.summary.scalar("/y", 2)
        assert alf.summary.scope_name() == "outer/inner/"
        with alf.summary.scope("/top"):
            alf.summary.scalar("z", 3)
    assert outer == "outer/"
    assert alf.summary.scope_name() == ""
    assert log.tags() == {"outer/inner/x", "y", "top/z"}


def test_a_scope_ends_when_its_body_raises(log):
    with pytest.raises(KeyError), alf.summary.scope("a"):
        raise KeyError
    assert alf.summary.scope_name() == ""


def test_a_decorated_method_runs_in_the_scope_of_its_objects_name(log):
    class Named:
        name = "object"

        @alf.summary.enter_summary_scope
        def method(self, value):
            alf.summary.scalar("x", value)
            return alf.summary.scope_name()

    assert Named().method(2.0) == "object/"
    assert log.tags() == {"object/x"}


def test_nothing_is_recorded_when_disabled_or_without_writer_or_when_the_condition_is_false(log):
    assert alf.summary.should_record_summaries()
    with alf.summary.push_summary_writer(None):
        assert not alf.summary.should_record_summaries()
    with alf.summary.record_if(lambda: False):
        assert not alf.summary.should_record_summaries()
        alf.summary.scalar("no", 1)
        with alf.summary.record_if(lambda: True):
            alf.summary.scalar("yes", 1)
    alf.summary.disable_summary()
    assert not alf.summary.should_record_summaries()
    assert not alf.summary.is_summary_enabled()
    alf.summary.scalar("no", 1)
    assert log.tags() == {"yes"}


def test_ensure_summary_records_the_first_use_after_a_recorded_iteration(log):
    ensure = alf.summary.EnsureSummary()
    with alf.summary.record_if(lambda: alf.summary.get_global_counter() % 10 == 0):
        for i in range(25):
            alf.summary.set_global_counter(i)
            ensure.tick()
            if i % 7 == 3:  # 3, 10, 17, 24; the recorded iterations are 0, 10 and 20
                with ensure:
                    alf.summary.scalar("rare", i)
    assert [step for step, _ in log.scalars("rare")] == [3, 10, 24]


def test_averaged_scalars_give_the_mean_since_they_were_last_written(log):
    with alf.summary.record_if(lambda: alf.summary.get_global_counter() % 4 == 3):
        for i in range(8):
            alf.summary.set_global_counter(i)
            alf.summary.scalar("mean", torch.tensor(float(i)), average_over_summary_interval=True)
    assert log.scalars("mean") == [(3, 1.5), (7, 5.5)]


def test_time_is_gathered_apart_for_each_scope(log, monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 13.0, 20.0, 25.0])
    time = types.SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(summary_utils, "time", time)
    off = alf.summary.record_if(lambda: False)
    with off, alf.summary.scope("high"), summary_utils.record_time("time/train"):
        assert not alf.summary.should_record_summaries()
    for name in ("low", "high"):
        with alf.summary.scope(name), summary_utils.record_time("time/train"):
            assert alf.summary.scope_name() == name + "/"
    assert log.scalars("low/time/train") == [(0, 3.0)]
    assert log.scalars("high/time/train") == [(0, 3.0)]  # mean of 1 and 5


def test_histograms_texts_images_and_embeddings_are_written(log):
    alf.summary.histogram("h", torch.arange(10.0))
    alf.summary.histogram("flags", torch.tensor([True, False]))
    alf.summary.histogram("empty", torch.zeros(0))
    alf.summary.text("t", "some *text*")
    alf.summary.images("i", torch.zeros(2, 3, 4, 5, dtype=torch.uint8))
    alf.summary.embedding("e", torch.eye(3), class_labels=torch.arange(3))
    assert log.tags() == {"h", "flags", "t/text_summary", "i"}
    assert log.read().Histograms("h")[0].histogram_value.num == 10
    assert (Path(log.path) / "projector_config.pbtxt").exists()


def test_a_video_is_an_animation_with_the_clips_side_by_side(log):
    clips = torch.zeros(2, 3, 3, 4, 5)
    clips[0, 0], clips[1, 2] = 1.0, 1.0
    alf.summary.video("v", clips, fps=10)
    image = Image.open(io.BytesIO(log.read().Images("v")[0].encoded_image_string))
    assert (image.n_frames, image.size) == (3, (10, 4))
    first = np.asarray(image.convert("RGB"))
    assert first[:, :5].min() == 255
    assert first[:, 5:].max() == 0
    with pytest.raises(ValueError, match=r"\(3, 4, 5\)"):
        alf.summary.video("v", clips[0, 0])


def test_loss_summaries_follow_the_structure_of_extra(log):
    loss = torch.tensor([[1.0, 3.0]])
    extra = {"actor": torch.tensor(4.0), "critic": loss, "rl": {"q": loss}}
    info = LossInfo(loss=loss, extra=extra, gns=torch.tensor(0.5))
    summary_utils.summarize_loss(info)
    assert log.scalars("loss") == [(0, 2.0)]
    assert log.scalars("loss/actor") == [(0, 4.0)]
    assert log.scalars("loss/critic") == log.scalars("loss/rl.q") == [(0, 2.0)]
    assert log.scalars("gradient_noise_scale") == [(0, 0.5)]


def test_losses_are_summarized_per_label(log):
    info = LossInfo(loss=torch.tensor([1.0, 2.0, 4.0]), batch_label=torch.tensor([0, 1, 1]))
    summary_utils.summarize_per_category_loss(info, summarize_count=True, label_names=["a", "b"])
    assert log.scalars("loss/loss_for_category_a") == [(0, 1.0)]
    assert log.scalars("loss/loss_for_category_b") == [(0, 3.0)]
    assert log.scalars("loss/sample_count_for_category_b") == [(0, 2.0)]


def test_norms_of_parameters_and_gradients_are_summarized(log):
    with_grad, without = (
        torch.nn.Parameter(torch.tensor([3.0, 4.0])),
        torch.nn.Parameter(torch.ones(1)),
    )
    with_grad.grad = torch.tensor([6.0, 8.0])
    params = [("p", with_grad), ("q", without)]
    summary_utils.summarize_variables(params)
    summary_utils.summarize_gradients(params)
    assert log.scalars("summarize_vars/p_value_norm") == [(0, 5.0)]
    assert log.scalars("summarize_grads/p_gradient_norm") == [(0, 10.0)]
    assert not any("q_gradient" in tag for tag in log.tags())


def test_actions_are_summarized_per_component(log):
    specs = {
        "a": alf.BoundedTensorSpec((2,), minimum=-1, maximum=1),
        "b": alf.BoundedTensorSpec((), torch.int64, minimum=0, maximum=3),
    }
    actions = {"a": torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "b": torch.tensor([0, 3])}
    summary_utils.summarize_action(actions, specs)
    assert log.scalars("action/a/0/mean") == [(0, 0.5)]
    assert log.scalars("action/a/1/mean") == [(0, 1.0)]
    assert "action/b" in log.tags()


def test_empty_masks_write_nothing(log):
    summary_utils.safe_mean_hist_summary("x", torch.ones(3), torch.zeros(3, dtype=torch.bool))
    summary_utils.safe_mean_summary("y", torch.tensor([1.0, 5.0]), torch.tensor([False, True]))
    assert log.tags() == {"y"}
    assert log.scalars("y") == [(0, 5.0)]


def test_distribution_parameters_are_summarized(log):
    dist = torch.distributions
    loc = torch.tensor([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    normal = dist.Independent(dist.Normal(loc, torch.full((2, 3), math.e)), 1)
    summary_utils.summarize_distribution(
        "d", {"n": normal, "c": dist.Categorical(torch.ones(2, 4))}
    )
    assert log.scalars("d_probs/c/3/mean") == [(0, 0.25)]
    assert [log.scalars(f"d_loc/n/{k}/mean")[0][1] for k in range(3)] == [1.0, 2.0, 3.0]
    assert log.scalars("d_log_scale/n/2/mean") == [(0, 1.0)]


def test_gradients_that_pass_through_a_tensor_are_summarized_under_its_scope(log):
    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    with alf.summary.scope("net"):
        y = summary_utils.summarize_tensor_gradients("x", {"h": x}, clone=True)["h"]
    (0.5 * (y**2).sum() + 100 * x.sum()).backward()
    assert log.scalars("net/x/h/avg_norm") == log.scalars("net/x/h/max_norm") == [(0, 5.0)]


def test_nested_summaries_take_their_tags_from_the_paths(log):
    summary_utils.add_nested_summaries("p", {"a": torch.tensor(1.0), "b": (torch.tensor(2.0), ())})
    summary_utils.summarize_nest("observation", torch.ones(2, 3))
    assert {"p/a", "p/b.0", "observation/mean", "observation/value"} == log.tags()
