"""How much of ALF's documented API the engine has: compares it with ``tests/alf_api.json``.

The list gives, for every public module of upstream ALF, its classes (constructor parameters,
methods, properties, or the fields of a tuple), functions and constants. An *item* is one of these
facts; a *gap* is an item that does not hold here. Run as a program this file prints counts by part
and all gaps:

    PYTHONPATH=engine python engine/tests/api_coverage.py
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
API: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests" / "alf_api.json").read_text(encoding="utf-8")
)

# The parts of ALF that the engine is to have; a package stands for its modules.
SCOPE = (
    "alf.config_helpers",
    "alf.config_util",
    "alf.data_structures",
    "alf.device_ctx",
    "alf.environments",
    "alf.experience_replayers",
    "alf.initializers",
    "alf.layers",
    "alf.metrics",
    "alf.nest",
    "alf.networks",
    "alf.norm_layers",
    "alf.optimizers",
    "alf.summary",
    "alf.tensor_specs",
    "alf.trainers",
    "alf.utils",
    "alf.algorithms.actor_critic_algorithm",
    "alf.algorithms.actor_critic_loss",
    "alf.algorithms.agent",
    "alf.algorithms.agent_helpers",
    "alf.algorithms.algorithm",
    "alf.algorithms.algorithm_interface",
    "alf.algorithms.async_unroller",
    "alf.algorithms.bc_algorithm",
    "alf.algorithms.causal_bc_algorithm",
    "alf.algorithms.config",
    "alf.algorithms.containers",
    "alf.algorithms.data_transformer",
    "alf.algorithms.ddpg_algorithm",
    "alf.algorithms.decoding_algorithm",
    "alf.algorithms.diayn_algorithm",
    "alf.algorithms.doac_algorithm",
    "alf.algorithms.dqn_algorithm",
    "alf.algorithms.dsac_algorithm",
    "alf.algorithms.dynamic_action_repeat_agent",
    "alf.algorithms.dynamics_learning_algorithm",
    "alf.algorithms.encoding_algorithm",
    "alf.algorithms.entropy_target_algorithm",
    "alf.algorithms.functional_particle_vi_algorithm",
    "alf.algorithms.generator",
    "alf.algorithms.goal_generator",
    "alf.algorithms.hypernetwork_algorithm",
    "alf.algorithms.handcrafted_algorithm",
    "alf.algorithms.icm_algorithm",
    "alf.algorithms.iql_algorithm",
    "alf.algorithms.mbrl_algorithm",
    "alf.algorithms.lagrangian_reward_weight_algorithm",
    "alf.algorithms.mcts_algorithm",
    "alf.algorithms.mcts_models",
    "alf.algorithms.mdq_algorithm",
    "alf.algorithms.merlin_algorithm",
    "alf.algorithms.mi_estimator",
    "alf.algorithms.monet_algorithm",
    "alf.algorithms.muzero_algorithm",
    "alf.algorithms.muzero_representation_learner",
    "alf.algorithms.oac_algorithm",
    "alf.algorithms.off_policy_algorithm",
    "alf.algorithms.on_policy_algorithm",
    "alf.algorithms.one_step_loss",
    "alf.algorithms.particle_vi_algorithm",
    "alf.algorithms.planning_algorithm",
    "alf.algorithms.ppg",
    "alf.algorithms.ppg_algorithm",
    "alf.algorithms.ppo_algorithm",
    "alf.algorithms.ppo_loss",
    "alf.algorithms.predictive_representation_learner",
    "alf.algorithms.prior_actor",
    "alf.algorithms.qrsac_algorithm",
    "alf.algorithms.reward_learning_algorithm",
    "alf.algorithms.rl_algorithm",
    "alf.algorithms.rnd_algorithm",
    "alf.algorithms.sac_algorithm",
    "alf.algorithms.sarsa_algorithm",
    "alf.algorithms.seditor_algorithm",
    "alf.algorithms.taac_algorithm",
    "alf.algorithms.td_loss",
    "alf.algorithms.trac_algorithm",
    "alf.algorithms.vae",
    "alf.algorithms.vq_vae",
)


class Item(NamedTuple):
    """One documented fact, such as ``alf.layers.FC(use_bias=True)``, and what is wrong with it."""

    name: str
    problem: str = ""


def modules() -> list[str]:
    """The listed modules within the scope."""
    return [m for m in API if any(m == s or m.startswith(s + ".") for s in SCOPE)]


@cache
def items_of(module: str) -> tuple[Item, ...]:
    """Every documented fact about one module, checked."""
    entry = API[module]
    try:
        found: ModuleType | None = importlib.import_module(module)
    except ModuleNotFoundError:
        found = None
    items = [Item(module, "" if found else "no such module")]
    for name, content in entry.get("classes", {}).items():
        if not _is_guest(module, name, content):
            items += _class_items(f"{module}.{name}", getattr(found, name, None), content)
    for name, parameters in entry.get("functions", {}).items():
        items += _callable_items(f"{module}.{name}", getattr(found, name, None), parameters)
    for name in entry.get("constants", []):
        items.append(Item(f"{module}.{name}", "" if hasattr(found, name) else "missing"))
    return tuple(items)


def _is_guest(module: str, name: str, content: dict[str, Any]) -> bool:
    """Whether a listed tuple was only imported there from the module that defines it."""
    if "fields" not in content:
        return False
    homes = ("alf.data_structures", "alf.experience_replayers.replay_buffer")
    return any(
        name in API[home]["classes"] and home != module and (home, name) != (homes[1], "TimeStep")
        for home in homes
    )


def _class_items(name: str, cls: Any, content: dict[str, Any]) -> Iterator[Item]:
    yield Item(name, "" if inspect.isclass(cls) else "missing")
    if "fields" in content:
        fields = list(getattr(cls, "_fields", ()))
        for i, field in enumerate(content["fields"]):
            there = fields[i : i + 1] == [field]
            yield Item(f"{name}.{field}", "" if there else f"fields are {fields}")
        return
    if "members" in content:
        for member in content["members"]:
            yield Item(f"{name}.{member}", "" if hasattr(cls, member) else "missing")
        return
    yield from _parameter_items(name, cls, content["init"])
    for method, parameters in content["methods"].items():
        yield from _callable_items(f"{name}.{method}", getattr(cls, method, None), parameters)
    for prop in content["properties"]:
        yield Item(f"{name}.{prop}", "" if hasattr(cls, prop) else "missing")


def _callable_items(name: str, value: Any, parameters: list[str]) -> Iterator[Item]:
    yield Item(name, "" if callable(value) else "missing")
    yield from _parameter_items(name, value, parameters)


def _parameter_items(name: str, value: Any, documented: list[str]) -> Iterator[Item]:
    """Names, places and literal defaults of parameters; ``*args`` documents nothing."""
    ours = _parameters(value)
    if any(text.startswith("*") for text in documented[:1]):
        return
    for i, text in enumerate(documented):
        parameter, has_default, default = text.partition("=")
        yield Item(f"{name}({text})", _parameter_problem(ours, i, parameter, has_default, default))
    more = [
        p.name
        for p in ours[len(documented) :]
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if documented and more:
        yield Item(name, f"needs also {more}")


def _parameter_problem(
    ours: list[inspect.Parameter], i: int, name: str, has_default: str, default: str
) -> str:
    if name.startswith("*"):
        kinds = {"*": inspect.Parameter.VAR_POSITIONAL, "**": inspect.Parameter.VAR_KEYWORD}
        kind = kinds["**" if name.startswith("**") else "*"]
        return "" if any(p.kind is kind for p in ours) else "missing"
    if i >= len(ours) or ours[i].name != name:
        return f"parameters are {[p.name for p in ours]}"
    if not has_default:
        # A default where upstream has none does no harm.
        return ""
    if ours[i].default is inspect.Parameter.empty:
        return "has no default"
    known, expected = _literal(default)
    # The list holds what repr() gives, also of objects such as a ConstantScheduler.
    if known and repr(ours[i].default) != default and not _same(ours[i].default, expected):
        return f"default is {ours[i].default!r}"
    return ""


def _parameters(value: Any) -> list[inspect.Parameter]:
    if value is None:
        return []
    function = value.__init__ if inspect.isclass(value) else value
    parameters = list(inspect.signature(function).parameters.values())
    return [p for p in parameters if p.name not in ("self", "cls")]


def _literal(text: str) -> tuple[bool, Any]:
    if text in ("inf", "-inf"):
        return True, float(text)
    try:
        return True, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False, None


def _same(ours: Any, documented: Any) -> bool:
    if isinstance(ours, float) and isinstance(documented, int | float):
        return math.isclose(ours, documented, rel_tol=1e-6)
    if isinstance(ours, list | tuple) and isinstance(documented, list | tuple):
        return list(ours) == list(documented)
    return ours == documented and isinstance(ours, bool) == isinstance(documented, bool)


def gaps() -> list[Item]:
    """All documented facts that do not hold here."""
    return [item for module in modules() for item in items_of(module) if item.problem]


if __name__ == "__main__":
    for part in SCOPE:
        inside = [m for m in modules() if m == part or m.startswith(part + ".")]
        items = [item for m in inside for item in items_of(m)]
        print(f"{part}: {sum(not item.problem for item in items)} of {len(items)}")
    for gap in gaps():
        print(f"{gap.name}: {gap.problem}")
