"""TD-MPC2's configurations under ALF's trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import checkpoint, train


def test_the_pendulum_configuration_learns_after_its_warm_up(tmp_path: Path) -> None:
    train(
        tmp_path,
        "alf_configs/tdmpc2_pendulum_conf.py",
        TrainerConfig__num_env_steps=1020,
        TrainerConfig__evaluate=False,
    )
    model = checkpoint(tmp_path)["algorithm"]
    assert int(model["level_0_tdmpc2._algorithm._updates"]) >= 10


@pytest.mark.parametrize(
    ("conf", "extra"),
    [
        ("tdmpc2_inverted_pendulum_conf.py", "mujoco"),
        ("tdmpc2_dm_control_conf.py", "dm_control"),
    ],
)
def test_the_configurations_with_extras_start(conf: str, extra: str, tmp_path: Path) -> None:
    pytest.importorskip(extra, reason=f"an extra: pip install alf-layered[{extra}]")
    train(
        tmp_path,
        f"alf_configs/{conf}",
        TrainerConfig__num_iterations=3,
        TrainerConfig__num_env_steps=0,
        TrainerConfig__evaluate=False,
    )
