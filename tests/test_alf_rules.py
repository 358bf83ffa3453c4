"""The rules of `--alf-rules` bite, and each point that the plugin relies on has a test.

`POINTS` names them as "what ALF is like": tests of this folder, or of `engine/tests`.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import alf
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.schedulers import LinearScheduler
from alf_layered import AlgorithmLevel
from alf_layered.hierarchy.level import LevelObservation
from tests.small_learners import sac

HERE = Path(__file__).parent
ENGINE = HERE.parent / "engine" / "tests"

POINTS = {
    "P1 the base constructor asks what is not trained": ["test_alf_rules.py::test_a_rule_bites"],
    "P2 buffers are saved and not bound anew": ["test_alf_rules.py::test_a_rule_bites"],
    "P3 losses in a plain list": [
        "test_alf_rules.py::test_losses_in_a_plain_list_discount_the_level"
    ],
    "P4 named tuples are flattened in alphabetical order": [
        "test_alf_rules.py::test_named_tuples_are_flattened_by_their_names",
        "test_algorithm_level.py::test_observation_comes_before_input_and_options_are_one_hot",
    ],
    "P5 options of parameters": ["test_alf_rules.py::test_a_rule_bites"],
    "P6 optimizers get direct children": ["test_alf_rules.py::test_a_rule_bites"],
    "P7 the first progress is 0": [
        "test_alf_rules.py::test_a_linear_schedule_begins_at_progress_zero"
    ],
    "P8 records hold states where they are needed": [
        "test_stored_states.py::test_a_record_holds_the_state_before_its_decision",
        "test_stored_states.py::test_a_recurrent_learner_trains_from_stored_states",
        "test_muzero_level.py::test_a_record_holds_the_state_that_the_search_started_from",
        "engine/tests/test_muzero_targets.py::test_constructors_get_what_alf_gives_them",
    ],
    "P9 prefixes of checkpoints": [
        "engine/tests/test_checkpoint_utils.py::test_sub_state_of_a_checkpoint",
    ],
    "P10 episodic buffers read step_type": ["test_alf_rules.py::test_a_rule_bites"],
    "P11 tags of an evaluation": [
        "engine/tests/test_async_eval.py::test_training_is_bit_identical_with_and_without_it",
    ],
    "P12 advantages, and targets of skills": [
        "test_learner_levels.py::test_advantages_do_not_reach_into_another_environment",
        "test_skill_targets.py::test_sac_s_target_at_the_end_of_a_skill_is_what_the_option_says",
    ],
    "P13 overrides of third parties take effect": [
        "test_derived_algorithms.py::test_an_optimistic_actor_explores_and_its_actions_are_what_is_learned_from",
        "test_derived_algorithms.py::test_a_variant_of_the_critics_learns_by_its_own_loss",
        "test_derived_algorithms.py::test_an_on_policy_variant_learns_by_its_own_loss",
        "test_derived_algorithms.py::test_a_deterministic_actor_explores_learns_and_acts_as_it_was_derived_to",
        "test_derived_algorithms.py::test_an_algorithm_of_ones_own_learns_by_what_it_defines",
        "test_derived_algorithms.py::test_what_soft_actor_critic_offers_to_algorithms_derived_from_it",
    ],
}


@pytest.mark.parametrize("point", POINTS)
def test_a_point_is_held_by_tests_that_exist(point: str) -> None:
    for entry in POINTS[point]:
        file, name = entry.split("::")
        path = HERE.parent / file if file.startswith("engine") else HERE / file
        tree = ast.parse(path.read_text())
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, entry


PROBES = {
    "ignored attributes": """
class Late(Algorithm):
    def __init__(self):
        super().__init__()
        self._names = ["net"]
    def _trainable_attributes_to_ignore(self):
        return self._names
Late()""",
    "persistent": "nn.Module().register_buffer('x', torch.zeros(1), persistent=False)",
    "bound anew": """
m = nn.Module()
m.register_buffer("x", torch.zeros(1))
m.x += 1""",
    "opt_args": """
p = nn.Parameter(torch.zeros(1))
p.opt_args = {"lr": 0.1}
Adam(lr=0.1).add_param_group({"params": [p]})""",
    "no direct child": """
class Deep(Algorithm):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 1))
        self.add_optimizer(Adam(lr=0.1), [self.net[0]])
Deep().optimizers()""",
    "unused optimizer": """
class Idle(Algorithm):
    def __init__(self):
        super().__init__(optimizer=Adam(lr=0.1))
        self.net = nn.Linear(1, 1)
        self.add_optimizer(Adam(lr=0.1), [self.net])
Idle().optimizers()""",
    "no step_type": """
spec = {"step_type": TensorSpec((), torch.int32)}
record = {"step_type": torch.zeros(1, dtype=torch.int32)}
ReplayBuffer(spec, 1, 4, keep_episodic_info=True).add_batch(record)""",
    "MuZero without ends of episodes": """
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.experience_replayers.replay_buffer import BatchInfo
batch = BatchInfo(replay_buffer=ReplayBuffer(TensorSpec(()), 1, 4))
learner = MuzeroRepresentationImpl.__new__(MuzeroRepresentationImpl)
learner.__dict__["_name"] = "learner"
learner.preprocess_experience((), (), batch)""",
}
ALLOWED = """
m = nn.Module()
m.register_buffer("x", torch.zeros(1))
m.x.add_(1)
p = nn.Parameter(torch.zeros(1))
p.opt_args = {"fixed_norm": True}
Adam(lr=0.1).add_param_group({"params": [p]})"""

_PROGRAM = """
import json, sys
import torch
from torch import nn
from tests import alf_rules
from alf.algorithms.algorithm import Algorithm
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
alf_rules.narrow()
names, found = dict(globals()), {}
for name, text in json.loads(sys.argv[1]).items():
    try:
        exec(text, {**names, "__name__": "alf_layered.probe"})
        found[name] = "nothing"
    except ValueError as error:
        found[name] = str(error)
    except Exception as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What happened to each probe, in a process of its own that follows the rules."""
    probes = json.dumps({**PROBES, "allowed": ALLOWED})
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, probes],
        capture_output=True, text=True, env=env, cwd=HERE.parent, check=True,
    )  # fmt: skip
    return json.loads(result.stdout)


@pytest.mark.parametrize("probe", PROBES)
def test_a_rule_bites(outcomes: dict[str, str], probe: str) -> None:
    wanted = "AttributeError" if probe == "ignored attributes" else "RuleBroken"
    assert outcomes[probe] == wanted


def test_what_alf_allows_is_allowed(outcomes: dict[str, str]) -> None:
    assert outcomes["allowed"] == "nothing"


class _PlainLosses(SacAlgorithm):
    """As ALF's, it keeps its losses where `modules()` does not find them."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        losses = list(self._critic_losses)
        del self._critic_losses
        self.__dict__["_critic_losses"] = losses


def test_losses_in_a_plain_list_discount_the_level() -> None:
    loss = partial(OneStepTDLoss, gamma=0.9)
    ctor = partial(_PlainLosses, **{**sac().keywords, "critic_loss_ctor": loss})
    action = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
    make = partial(AlgorithmLevel, TensorSpec((2,)), action, algorithm_ctor=ctor)
    level = make()
    assert not any(isinstance(m, OneStepTDLoss) for m in level.algorithm.modules())
    assert level.gamma == 0.9
    with pytest.raises(ValueError, match=r"more than one discount factor: gamma=0.5.*\[0.9\]"):
        make(gamma=0.5)


def test_named_tuples_are_flattened_by_their_names() -> None:
    assert alf.nest.flatten(LevelObservation(observation=1, input=2)) == [2, 1]
    assert alf.nest.flatten({"b": 1, "a": 2}) == [2, 1]


def test_a_linear_schedule_begins_at_progress_zero() -> None:
    """The engine holds it with and without these rules."""
    with pytest.raises(ValueError, match=r"schedule=.*the first at progress 0"):
        LinearScheduler("percent", [(0.1, 1.0), (1.0, 0.0)])
