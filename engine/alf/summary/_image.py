"""A picture: an RGB array that can be resized and put beside others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alf.nest import nest

PUBLIC_MODULE = "alf.summary.render"  # under which these names are configured

# Names as of OpenCV's interpolation numbers, to Pillow's filters.
_FILTERS = {0: "NEAREST", 1: "BILINEAR", 2: "BICUBIC", 3: "BOX", 4: "LANCZOS"}


class Image:
    """An RGB picture [H, W, 3] of uint8.

    Args:
        img: the array, or [H, W] for grey.
    """

    def __init__(self, img: Any) -> None:
        array = np.asarray(img)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=-1)
        if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8:
            raise ValueError(
                f"a picture must be uint8 [H, W, 3], got {array.dtype} {list(array.shape)}"
            )
        self._img = array

    @property
    def data(self) -> np.ndarray:
        """The array [H, W, 3]."""
        return self._img

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""
        return self._img.shape

    def resize(
        self, height: int | None = None, width: int | None = None, interploation: int = 0
    ) -> Image:
        """Resize this picture in place.

        Args:
            height: new height; None to keep the ratio of height and width.
            width: new width; the same.
            interploation: 0 nearest, 1 bilinear, 2 bicubic, 3 area, 4 Lanczos.

        Returns:
            This picture.
        """
        from PIL import Image as PilImage

        if interploation not in _FILTERS:
            raise ValueError(f"interploation must be in {sorted(_FILTERS)}, got {interploation}")
        old_height, old_width = self.shape[:2]
        if height is None:
            height = old_height if width is None else max(1, round(old_height * width / old_width))
        if width is None:
            width = max(1, round(old_width * height / old_height))
        picture = PilImage.fromarray(self._img)
        kind = PilImage.Resampling[_FILTERS[interploation]]
        self._img = np.array(picture.resize((width, height), kind))
        return self

    @classmethod
    def from_pyplot_fig(cls, fig: Any, dpi: int = 200) -> Image:
        """The picture of a matplotlib figure."""
        fig.set_dpi(dpi)
        fig.canvas.draw()
        return cls(np.asarray(fig.canvas.buffer_rgba())[..., :3].copy())

    @classmethod
    def stack_images(cls, imgs: Sequence[Image], horizontal: bool = True) -> Image:
        """Pictures side by side, or below each other; smaller ones are filled up with white."""
        if not imgs:
            raise ValueError("there are no pictures to stack")
        axis, other = (1, 0) if horizontal else (0, 1)
        size = max(img.shape[other] for img in imgs)
        filled = []
        for img in imgs:
            widths = [(0, 0), (0, 0), (0, 0)]
            widths[other] = (0, size - img.shape[other])
            filled.append(np.pad(img.data, widths, constant_values=255))
        return cls(np.concatenate(filled, axis=axis))

    @classmethod
    def pack_image_nest(cls, imgs: Any) -> Image | None:
        """All pictures in a nest as one: in about as many rows as columns; None if there are none.

        Leaves that are no pictures are skipped.
        """
        found = [leaf for leaf in nest.flatten(imgs) if isinstance(leaf, Image)]
        if not found:
            return None
        columns = int(np.ceil(np.sqrt(len(found))))
        rows = [cls.stack_images(found[i : i + columns]) for i in range(0, len(found), columns)]
        return cls.stack_images(rows, horizontal=False)
