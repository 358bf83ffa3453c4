"""A mistake in a hierarchy's configuration ends the program with one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import MAIN_CONF, SMALL, checkpoint, run, train, train_command

CONF = """
from functools import partial
import alf
from alf_layered import ConstantLevel, HierarchyAgent, RandomLevel, skill
from alf_layered.environments import maze2d_alf

alf.config("create_environment", env_name="Maze2D-UMaze-v0", env_load_fn=maze2d_alf.load,
           num_parallel_environments=2)
alf.config("HierarchyAgent", {hierarchy})
alf.config("TrainerConfig", algorithm_ctor=HierarchyAgent, num_iterations=3, unroll_length=2,
           mini_batch_length=2, confirm_checkpoint_upon_crash=False)
"""


@pytest.mark.parametrize(
    ("hierarchy", "parts"),
    [
        (
            "levels=[partial(RandomLevel, name='boss'), "
            "partial(RandomLevel, name='worker', input_spec=skill(3))], joints=[skill(2)]",
            ["'boss'", "'worker'", "shape=(2,)", "shape=(3,)"],
        ),
        (
            "levels=[partial(ConstantLevel, action=[0.0, 7.0])]",
            ["ConstantLevel", "7.0", "-1.0", "1.0"],
        ),
        ("levels=[RandomLevel], joints=[skill(2)]", ["1 joints for 1 levels"]),
    ],
)
def test_the_last_lines_name_the_value_and_what_is_allowed(
    tmp_path: Path, hierarchy: str, parts: list[str]
) -> None:
    conf = tmp_path / "wrong_conf.py"
    conf.write_text(CONF.format(hierarchy=hierarchy))
    done = run(train_command(tmp_path / "root", conf))
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    (first,) = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    message = lines[first:]
    assert len(message) <= 3
    assert max(map(len, message)) < 300
    for part in parts:
        assert part in " ".join(message)


def test_a_mistake_leaves_what_was_saved_as_it_was(tmp_path: Path) -> None:
    train(tmp_path, MAIN_CONF, **SMALL | {"TrainerConfig__num_env_steps": 60})
    before = checkpoint(tmp_path)["global_step"]
    done = run(train_command(tmp_path, None, HierarchyAgent__reward_mode="best"))
    assert done.returncode == 1
    assert "HierarchyAgent.reward_mode is 'best'; allowed: 'discounted', 'mean'" in done.stderr
    assert checkpoint(tmp_path)["global_step"] == before
