"""The one training environment of a process, and the specs a conf file asks for."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import alf
from alf import config_helpers
from alf.config_helpers import adjust_config_by_multi_process_divider
from alf.config_util import get_config_value

CONF = """
import alf
alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=2)
alf.config("TrainerConfig", random_seed=5)
observation_spec = alf.get_raw_observation_spec()
action_spec = alf.get_action_spec()
"""


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    alf.reset_configs()
    state = torch.random.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    alf.close_env()
    alf.reset_configs()
    torch.use_deterministic_algorithms(deterministic)
    torch.random.set_rng_state(state)


def conf_file(tmp_path: Path, text: str = CONF) -> str:
    path = tmp_path / "pendulum_conf.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_conf_file_can_ask_for_specs(tmp_path: Path) -> None:
    module = alf.parse_config(conf_file(tmp_path), [])
    assert module.observation_spec.shape == (3,)
    assert module.action_spec.shape == (1,)
    assert alf.get_env() is alf.get_env()
    assert alf.get_env().batch_size == 2
    assert alf.get_reward_spec() == alf.TensorSpec(())


def test_configuring_an_environment_that_exists_is_refused(tmp_path: Path) -> None:
    alf.parse_config(conf_file(tmp_path), [])
    with pytest.raises(ValueError, match="was used already"):
        alf.config("create_environment", num_parallel_environments=3)


def test_the_same_seed_gives_the_same_first_observation(tmp_path: Path) -> None:
    observations = []
    for seed in (5, 5, 6):
        alf.parse_config(conf_file(tmp_path), [f"TrainerConfig.random_seed={seed}"])
        observations.append(torch.as_tensor(alf.get_env().reset().observation).clone())
        alf.close_env()
        alf.reset_configs()
    assert torch.equal(observations[0], observations[1])
    assert not torch.equal(observations[0], observations[2])


def test_the_observation_spec_is_that_after_the_transformers(tmp_path: Path) -> None:
    alf.parse_config(
        conf_file(tmp_path),
        ["TrainerConfig.data_transformer_ctor=[FrameStacker]", "FrameStacker.stack_size=3"],
    )
    assert alf.get_raw_observation_spec().shape == (3,)
    assert alf.get_observation_spec().shape == (9,)


@pytest.mark.parametrize("defined", ["before", "later"])
def test_another_process_sees_what_python_fixed_before(tmp_path: Path, defined: str) -> None:
    """Asynchronous unroll and evaluation configure themselves by the source, which is pickled."""
    name = "TrainerConfig.mini_batch_size" if defined == "before" else "fixed_later.size"
    text = "import alf\n@alf.configurable('fixed_later')\ndef f(size=1):\n    return size\n"
    alf.pre_config({name: 77})
    alf.parse_config(conf_file(tmp_path, text), ["TrainerConfig.evaluate=True"], create_env=False)
    source = pickle.loads(pickle.dumps(config_helpers.get_conf_source()))
    assert source.pre_configs == ((name, 77),)
    alf.reset_configs()
    assert get_config_value("TrainerConfig.mini_batch_size") != 77
    alf.reset_configs()
    config_helpers.parse_source(source, create_env=False)
    assert get_config_value(name) == 77
    assert get_config_value("TrainerConfig.evaluate") is True


def test_sizes_are_divided_among_processes(tmp_path: Path) -> None:
    text = "import alf\nalf.config('TrainerConfig', mini_batch_size=10, evaluate=True)\n"
    alf.parse_config(conf_file(tmp_path, text), [], create_env=False)
    adjust_config_by_multi_process_divider(1, 4)
    assert get_config_value("TrainerConfig.mini_batch_size") == 3
    assert get_config_value("create_environment.num_parallel_environments") == 8
    assert get_config_value("TrainerConfig.evaluate") is False
