"""The objects that soft actor-critic is made of: closed, and made of what the algorithm has now."""

from __future__ import annotations

import ast
import copy
import pathlib
import pickle

import pytest
import torch
from test_sac_algorithm import ACTIONS, make_sac, random_time_step, train_info

from alf.algorithms import sac as package

FOLDER = pathlib.Path(package.__path__[0])
OF_TUPLES = {"_replace", "_asdict", "_fields", "_make"}


def foreign_private(source: str) -> list[str]:
    """Private attributes that `source` looks at, but for those of an own object or class."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {"self", "cls", "super()", "type(self)"}
    own |= {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    return [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in OF_TUPLES
        and ast.unparse(node.value) not in own
    ]


def test_no_part_looks_into_another():
    files = [FOLDER.parent / "sac_algorithm.py", *FOLDER.glob("*.py")]
    found = {file.name: foreign_private(file.read_text(encoding="utf-8")) for file in files}
    assert len(found) > 5
    assert {name: accesses for name, accesses in found.items() if accesses} == {}
    assert foreign_private("sac._log_alpha; self._own; info._replace(a=1)") == ["sac._log_alpha"]


@pytest.mark.parametrize("action", ACTIONS)
def test_networks_that_are_put_in_place_later_act_and_learn(action):
    sac = make_sac(ACTIONS[action])
    torch.manual_seed(0)
    before = train_info(sac)[1].critic
    sac._critic_networks = copy.deepcopy(sac._critic_networks)
    sac._target_critic_networks = copy.deepcopy(sac._target_critic_networks)
    with torch.no_grad():
        for network in (sac._critic_networks, sac._target_critic_networks):
            for parameter in network.parameters():
                parameter.zero_()
    torch.manual_seed(0)
    after = train_info(sac)[1].critic
    assert before.critics.abs().sum() > 0
    assert before.target_critic.abs().sum() > 0
    assert after.critics.eq(0).all()
    assert after.target_critic.eq(0).all()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"]
)
def test_a_copy_acts_alike_and_by_networks_of_its_own(action, copied):
    sac = make_sac(ACTIONS[action])
    other = copied(sac)
    step = random_time_step(sac, 5)
    critics = []
    for each in (sac, other):
        torch.manual_seed(1)
        critics.append(train_info(each)[1].critic.critics)
    assert torch.equal(*critics)
    assert not {id(p) for p in sac.parameters()} & {id(p) for p in other.parameters()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(0.3)
    torch.manual_seed(1)
    assert torch.equal(train_info(sac)[1].critic.critics, critics[0])
    other.predict_step(step, other.get_initial_predict_state(5))


def test_what_reads_the_critics_can_be_replaced_on_the_object():
    sac = make_sac(ACTIONS["discrete"])
    values = torch.tensor([[[1.0, 5.0], [3.0, 4.0]]])
    assert sac._critics.policy_values(values).tolist() == [[1.0, 4.0]]
    sac._least_replica = lambda values, weights: values.amax(1)
    assert sac._critics.policy_values(values).tolist() == [[3.0, 5.0]]
