"""``alf.test``: unittest with assertions for tensors."""
# ruff: noqa: PT009  (this is unittest)

from __future__ import annotations

import unittest
from typing import Any

import torch

from alf import config_helpers
from alf.config_util import reset_configs
from alf.summary import summary_ops
from alf.utils.seeds import set_random_seed

main = unittest.main


class TestCase(unittest.TestCase):
    """A test case that can compare tensors, and begins anew with each test."""

    def setUp(self) -> None:
        """Forgets configured values, closes the environment, seeds, and counts from 0."""
        super().setUp()
        config_helpers.close_env()
        reset_configs()
        set_random_seed(0)
        summary_ops.reset_global_counter()

    def assertEqual(self, first: Any, second: Any, msg: str | None = None) -> None:
        """As unittest's, and for tensors ``assertTensorEqual``."""
        if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
            self.assertTensorEqual(first, second, msg)
        else:
            super().assertEqual(first, second, msg)

    def assertTensorEqual(self, t1: torch.Tensor, t2: torch.Tensor, msg: str | None = None) -> None:
        """Fails unless both tensors have the same shape and elements."""
        is_same = t1.shape == t2.shape and bool(torch.all(t1.cpu() == t2.cpu()))
        self.assertTrue(is_same, msg or f"{t1} is not {t2}")

    def assertTensorNotEqual(
        self, t1: torch.Tensor, t2: torch.Tensor, msg: str | None = None
    ) -> None:
        """Fails if both tensors have the same shape and elements."""
        is_same = t1.shape == t2.shape and bool(torch.all(t1.cpu() == t2.cpu()))
        self.assertFalse(is_same, msg or f"both are {t1}")

    def assertTensorClose(
        self, t1: torch.Tensor, t2: torch.Tensor, epsilon: float = 1e-6, msg: str | None = None
    ) -> None:
        """Fails unless both have one shape and no elements differ by more than ``epsilon``."""
        self.assertEqual(t1.shape, t2.shape, msg)
        distance = _distance(t1, t2)
        self.assertLessEqual(distance, epsilon, msg or f"{t1} is not close to {t2}")

    def assertTensorNotClose(
        self, t1: torch.Tensor, t2: torch.Tensor, epsilon: float = 1e-6, msg: str | None = None
    ) -> None:
        """Fails unless some elements differ by more than ``epsilon``."""
        self.assertEqual(t1.shape, t2.shape, msg)
        self.assertGreater(_distance(t1, t2), epsilon, msg or f"{t1} is close to {t2}")

    def assertArrayEqual(self, x: Any, y: Any, epsilon: float = 0.0) -> None:
        """Fails unless both have one shape and no elements differ by more than ``epsilon``."""
        self.assertTensorClose(torch.as_tensor(x), torch.as_tensor(y), epsilon)

    def assertArrayClose(self, x: Any, y: Any, epsilon: float = 1e-6) -> None:
        """Fails unless both have one shape and no elements differ by more than ``epsilon``."""
        self.assertTensorClose(torch.as_tensor(x), torch.as_tensor(y), epsilon)

    def assertArrayNotClose(self, x: Any, y: Any, epsilon: float = 1e-6) -> None:
        """Fails unless some elements differ by more than ``epsilon``."""
        self.assertTensorNotClose(torch.as_tensor(x), torch.as_tensor(y), epsilon)


def _distance(t1: torch.Tensor, t2: torch.Tensor) -> float:
    if t1.numel() == 0:
        return 0.0
    return float((t1.detach().cpu().double() - t2.detach().cpu().double()).abs().max())
