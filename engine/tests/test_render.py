"""Pictures of what an algorithm thinks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributions as td

from alf.summary import render
from alf.summary.render import Image
from alf.tensor_specs import BoundedTensorSpec

SMALL = {"dpi": 60, "figsize": (2, 1)}


@pytest.fixture(autouse=True)
def _rendering() -> Iterator[None]:
    render.enable_rendering()
    yield
    render.enable_rendering(False)


def _plain(height: int, width: int, value: int = 0) -> Image:
    return Image(np.full((height, width, 3), value, dtype=np.uint8))


def test_nothing_is_drawn_while_rendering_is_off() -> None:
    assert render.is_rendering_enabled()
    render.enable_rendering(False)
    assert render.render_bar("bar", [1.0, 2.0]) is None
    assert render.render_action("action", torch.zeros(1, 2), None) is None


@pytest.mark.parametrize(
    "draw",
    [
        lambda: render.render_bar("n", torch.rand(1, 3), x_ticks=["a", "b", "c"], **SMALL),
        lambda: render.render_bar("n", torch.rand(2, 3), legends=["x", "y"], **SMALL),
        lambda: render.render_curve("n", np.arange(5.0), x_range=(-1, 1), y_range=(0, 5), **SMALL),
        lambda: render.render_curve("n", torch.rand(2, 5), legends=["x", "y"], **SMALL),
        lambda: render.render_3d_curve("n", torch.rand(5, 3), z_range=(0, 1), **SMALL),
        lambda: render.render_heatmap("n", torch.rand(1, 2, 3), row_ticks=["a", "b"], **SMALL),
        lambda: render.render_contour("n", torch.rand(4, 5), y_ticks=[1, 2, 3, 4], **SMALL),
    ],
)
def test_each_picture_has_the_size_of_its_figure(draw) -> None:  # type: ignore[no-untyped-def]
    image = draw()
    assert image.shape == (60, 120, 3)
    assert len(np.unique(image.data)) > 1


def test_text_grows_with_its_length_and_pictures_can_be_resized() -> None:
    short = render.render_text("a", "b", dpi=60)
    long = render.render_text("a", "b" * 50, dpi=60)
    assert long.shape[1] > short.shape[1]
    assert render.render_text("a", "b", img_height=10, img_width=33).shape == (10, 33, 3)
    assert _plain(10, 20).resize(height=5).shape == (5, 10, 3)
    assert _plain(10, 20).resize(width=5, interploation=1).shape == (2, 5, 3)
    with pytest.raises(ValueError, match="interploation must be in"):
        _plain(2, 2).resize(3, 3, interploation=9)


def test_pictures_are_stacked_and_packed() -> None:
    row = Image.stack_images([_plain(2, 3), _plain(4, 1, 9)])
    assert row.shape == (4, 4, 3)
    assert row.data[:, :, 0].tolist() == [[0, 0, 0, 9], [0, 0, 0, 9], [255] * 3 + [9]] + [
        [255] * 3 + [9]
    ]
    column = Image.stack_images([_plain(2, 3), _plain(4, 1)], horizontal=False)
    assert column.shape == (6, 3, 3)
    nested = {"a": [_plain(1, 1)] * 3, "b": torch.zeros(1), "c": ()}
    packed = Image.pack_image_nest(nested)
    assert packed is not None
    assert packed.shape == (2, 2, 3)
    assert Image.pack_image_nest({"b": torch.zeros(1)}) is None


def test_actions_and_their_distributions_are_drawn_part_by_part() -> None:
    specs = {
        "move": BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0),
        "kind": BoundedTensorSpec((), torch.int64, 0, 2),
    }
    action = {"move": torch.rand(1, 2), "kind": torch.tensor([1])}
    images = render.render_action("action", action, specs, **SMALL)
    assert set(images) == {"move", "kind"}
    dists = {
        "move": td.Independent(td.Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1),
        "kind": td.Categorical(torch.full((1, 3), 1 / 3)),
    }
    images = render.render_action_distribution("dist", dists, specs, **SMALL)
    assert all(isinstance(image, Image) for image in images.values())
    single = render.render_action_distribution("dist", dists["kind"], specs["kind"], **SMALL)
    assert single.shape == (60, 120, 3)


def test_a_fast_heatmap_has_known_colours() -> None:
    imgs = torch.tensor([[[0.0, 0.5], [1.0, 2.0]]])
    picture = render.render_heatmap_fast(imgs, 0.0, 1.0, pixel_size=2, bar_size=1)
    assert picture.shape == (1, 4, 5, 3)
    assert picture[0, 0, 0].tolist() == [0, 0, 255]
    assert picture[0, 1, 3].tolist() == [0, 255, 0]
    assert picture[0, 2, 0].tolist() == [255, 0, 0]
    assert picture[0, 3, 3].tolist() == [255, 0, 0]
    assert picture[0, :, 4].tolist()[0] == [255, 0, 0]
    assert render.render_heatmap_fast(imgs[0], 0, 1, 1, 0).shape == (2, 2, 3)


def test_what_is_no_picture_is_refused() -> None:
    assert Image(np.zeros((2, 3), dtype=np.uint8)).shape == (2, 3, 3)
    with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\], got float64"):
        Image(np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="at most 2 axes"):
        render.render_curve("n", torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="1 legends were given for 2 curves"):
        render.render_curve("n", torch.zeros(2, 2), legends=["x"], **SMALL)
