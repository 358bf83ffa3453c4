"""What a level returns is checked by name, shape and type; what a hierarchy is made of, too."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    ActionSequenceLevel,
    AlgorithmLevel,
    ConstantLevel,
    DADSLevel,
    DIAYNLevel,
    Goal,
    HierarchyAgent,
    Level,
    MuzeroLevel,
    ObservationMap,
    PlannerLevel,
    RandomLevel,
    SacLevel,
    SPlaTESLevel,
    TDMPC2Level,
    TrainingOptions,
    option,
    select,
    skill,
    subgoal,
)
from alf_layered.hierarchy.observation_maps import bind_map
from tests.planning_points import known_predictor
from tests.scripted import time_step
from tests.skill_points import Points, sac, skill_agent
from tests.small_learners import small_config
from tests.test_tdmpc2_level import SETTINGS

ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
ROWS = 4


class _Custom(Level):
    """Returns what a test tells it to; right where it is told nothing."""

    def __init__(self, *args: Any, returns: Any = None, flags: Any = None, **kwargs: Any) -> None:
        arrival = kwargs.pop("arrival", None)
        super().__init__(*args, **kwargs)
        self._returns, self._flags, self._arrival = returns, flags, arrival

    def returns_control(self, step: TimeStep, decisions: torch.Tensor) -> torch.Tensor:
        if self._flags is None:
            return super().returns_control(step, decisions)
        return self._flags(decisions)

    def arrive(self, step: TimeStep) -> TimeStep:
        return step if self._arrival is None else self._arrival(step)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        right = AlgStep(output=torch.zeros(len(inputs.step_type), 2), state=state, info=())
        return right if self._returns is None else self._returns(right)


def _step(method: str = "rollout_step", **options: Any) -> None:
    """One step of a random level over a custom one."""
    agent = HierarchyAgent(
        TensorSpec((3,)),
        ACTION,
        levels=[RandomLevel, partial(_Custom, name="mine", **options)],
        joints=[skill(2)],
    )
    rows = [[0.0, 0.0, 0.0]] * ROWS
    step = time_step([0] * ROWS, [0.0] * ROWS, [1.0] * ROWS, rows)
    state = getattr(agent, f"get_initial_{method.removesuffix('_step')}_state")(ROWS)
    getattr(agent, method)(step, state)


FLAGS = {
    "ones(1)": (lambda n: torch.ones(1, dtype=torch.bool), ValueError, r"bool \[1\]"),
    "False": (lambda n: False, TypeError, "returned False"),
    "float": (lambda n: (n > 0).float(), TypeError, r"float32 \[4\]"),
    "numpy": (lambda n: n.numpy() > 0, TypeError, "array"),
    "column": (lambda n: (n > 0)[:, None], ValueError, r"bool \[4, 1\]"),
    "None": (lambda n: None, TypeError, "returned None"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_bool_one_for_each_environment(name: str) -> None:
    flags, kind, shown = FLAGS[name]
    with pytest.raises(kind, match=rf"(?s)returns_control of level 'mine'.*{shown}.*\[4\]") as e:
        _step(flags=flags)
    assert len(str(e.value)) < 300
    _step(flags=lambda n: n > 0)


STEPS: dict[str, tuple[Any, Any, str]] = {
    "a tensor": (lambda s: s.output, TypeError, "returned a Tensor.*AlgStep"),
    "a tuple": (lambda s: tuple(s), TypeError, "returned a tuple.*AlgStep"),
    "nothing": (lambda s: None, TypeError, "returned a NoneType.*AlgStep"),
    "an undeclared state": (
        lambda s: s._replace(state=torch.zeros(ROWS, 5)),
        ValueError,
        r"the state of \w+ of level 'mine' is float32 \[4, 5\], but its \w+_state_spec says \(\)",
    ),
    "a narrow decision": (
        lambda s: s._replace(output=torch.zeros(ROWS, 1)),
        ValueError,
        r"the output.*float32 \[4, 1\].*its action_spec says .*\[2\]",
    ),
    "one row": (
        lambda s: s._replace(output=torch.zeros(1, 2)),
        ValueError,
        r"the output.*float32 \[1, 2\]",
    ),
    "another type": (
        lambda s: s._replace(output=torch.zeros(ROWS, 2, dtype=torch.int64)),
        TypeError,
        r"the output.*int64 \[4, 2\].*float32",
    ),
    "an array": (
        lambda s: s._replace(output=np.zeros((ROWS, 2), np.float32)),
        TypeError,
        "the output.*numpy float32",
    ),
    "a list": (lambda s: s._replace(output=[s.output]), ValueError, "the output"),
    "a number to store": (lambda s: s._replace(info={"x": 3.0}), TypeError, "the info.*float"),
    "a scalar to store": (
        lambda s: s._replace(info={"x": torch.tensor(3.0)}),
        ValueError,
        r"the info.*shape \[\] for 4",
    ),
}


@pytest.mark.parametrize("method", ["rollout_step", "predict_step"])
@pytest.mark.parametrize("name", STEPS)
def test_the_first_step_is_as_declared(name: str, method: str) -> None:
    if "store" in name and method == "predict_step":
        return  # evaluation stores nothing
    returns, kind, message = STEPS[name]
    with pytest.raises(kind, match=f"(?s){message}") as e:
        _step(method, returns=returns)
    assert "'mine'" in str(e.value)
    assert len(str(e.value)) < 300


def test_a_declared_state_is_what_comes_back() -> None:
    spec = TensorSpec((5,))
    with pytest.raises(ValueError, match=r"the state.*float32 \[4, 3\].*rollout_state_spec.*\[5\]"):
        _step(rollout_state_spec=spec, returns=lambda s: s._replace(state=torch.zeros(ROWS, 3)))
    _step(rollout_state_spec=spec)


ARRIVALS: dict[str, tuple[Any, Any, str]] = {
    "nothing": (lambda s: None, TypeError, "returned a NoneType"),
    "whole rewards": (
        lambda s: s._replace(reward=torch.zeros(ROWS, dtype=torch.int64)),
        TypeError,
        r"the reward.*int64 \[4\]",
    ),
    "one reward": (lambda s: s._replace(reward=torch.zeros(1)), ValueError, r"float32 \[1\]"),
    "a plain discount": (lambda s: s._replace(discount=1.0), TypeError, "discount"),
    "a wide discount": (
        lambda s: s._replace(discount=torch.zeros(ROWS, 1)),
        ValueError,
        r"discount.*\[4, 1\]",
    ),
    "less to know": (
        lambda s: s._replace(env_info={}),
        ValueError,
        r"\['steps', 'time_discount'\]",
    ),
}


@pytest.mark.parametrize("name", ARRIVALS)
def test_what_arrives_is_a_time_step_of_the_same_shape(name: str) -> None:
    arrival, kind, message = ARRIVALS[name]
    with pytest.raises(kind, match=message) as e:
        _step(arrival=arrival)
    assert "arrive of level 'mine'" in str(e.value)


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
def test_all_kinds_of_levels_return_what_they_declare(joint_end: Any) -> None:
    for ctor in (DADSLevel, SPlaTESLevel, DIAYNLevel):
        agent = skill_agent(ctor, joint_end=joint_end)
        Points(agent, [3, 2]).live(6)


# ---- what a hierarchy is made of ----------------------------------------------------------------


def _hierarchy(levels: Any, joints: Any = None, **options: Any) -> HierarchyAgent:
    return HierarchyAgent(
        TensorSpec((2,)), ACTION, levels=levels, joints=joints, config=small_config(), **options
    )


TOPS = {
    "RandomLevel": partial(RandomLevel),
    "ConstantLevel": partial(ConstantLevel, action=[0.0, 0.0]),
    "ActionSequenceLevel": partial(ActionSequenceLevel, action_sequence=[[0.0, 0.0]]),
    "SacLevel": partial(SacLevel, algorithm_ctor=sac),
    "AlgorithmLevel": partial(AlgorithmLevel, algorithm_ctor=sac),
    "TDMPC2Level": partial(TDMPC2Level, settings=SETTINGS),
    "PlannerLevel": partial(
        PlannerLevel, predictor_factory=known_predictor(), training=None, exploration=None
    ),
}


@pytest.mark.parametrize("name", TOPS)
def test_the_top_level_has_nothing_to_return_control_to(name: str) -> None:
    ctor = partial(TOPS[name], name="boss")
    with pytest.raises(ValueError, match="'boss' has control_interval=3, but it is the top level"):
        _hierarchy([partial(ctor, control_interval=3)])
    assert _hierarchy([ctor]).levels[0].control_interval is None


@pytest.mark.parametrize("interval", [2.5, 2.0, "3", True])
@pytest.mark.parametrize("name", [*TOPS, "DADSLevel", "SPlaTESLevel"])
def test_a_control_interval_is_a_whole_number(name: str, interval: Any) -> None:
    skills = {"DADSLevel": DADSLevel, "SPlaTESLevel": SPlaTESLevel}

    def make() -> None:
        if name in skills:
            skill_agent(skills[name], interval=interval)
        else:
            low = partial(TOPS[name], control_interval=interval)
            _hierarchy([RandomLevel, low], [skill(2)])

    with pytest.raises(
        ValueError, match=rf"Level\.control_interval.* is {interval!r}; allowed: a whole"
    ):
        make()


def test_a_control_interval_counts_from_one_and_may_be_numpy_s() -> None:
    with pytest.raises(ValueError, match="control_interval of 'low' is 0"):
        _hierarchy([RandomLevel, partial(RandomLevel, control_interval=0, name="low")], [skill(2)])
    low = partial(RandomLevel, control_interval=np.int64(3))
    assert _hierarchy([RandomLevel, low], [skill(2)]).levels[1].control_interval == 3


@pytest.mark.parametrize("name", TOPS)
def test_a_level_that_is_made_already_is_one_clear_line(name: str) -> None:
    made = _hierarchy([TOPS[name]]).levels[0]
    kind = type(made).__name__
    for levels in ([made], [RandomLevel, made]):
        with pytest.raises(TypeError, match=rf"levels\[\d\] is a {kind} that is made already") as e:
            _hierarchy(levels, [skill(2)] * (len(levels) - 1))
        assert "\n" not in str(e.value)
        assert len(str(e.value)) < 300


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (
            [SacAlgorithm],
            r"levels\[0\] is SacAlgorithm, which is no Level; .*AlgorithmLevel, algorithm_ctor=",
        ),
        (["RandomLevel"], r"levels\[0\] is 'RandomLevel', it must be a class"),
        ([lambda **_: 3], r"levels\[0\] made a int, it must be a Level"),
    ],
)
def test_levels_are_a_list_of_constructors(levels: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        _hierarchy(levels)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": RandomLevel}, "levels is <class .*>; allowed: a list"),
        ({"levels": 5}, "levels is 5; allowed: a list"),
        ({"joints": 5}, "joints is 5; allowed: a list or None"),
        ({"observation_maps": 5}, "observation_maps is 5; allowed: a list or None"),
        ({"joint_end": 5}, "joint_end is 5; allowed: 'bootstrap', 'continue'"),
        ({"reward_mode": "sum"}, "reward_mode is 'sum'; allowed: 'discounted', 'mean'"),
        ({"debug_summaries": "no"}, "debug_summaries is 'no'; allowed: True or False"),
        ({"config": 5}, "config is 5; allowed: a TrainerConfig or None"),
        ({"checkpoint": 5}, "checkpoint is 5; allowed: a string or None"),
    ],
)
def test_each_setting_of_the_agent_is_checked(settings: dict[str, Any], words: str) -> None:
    given = {"observation_spec": TensorSpec((2,)), "action_spec": ACTION, "levels": [RandomLevel]}
    with pytest.raises(ValueError, match=rf"HierarchyAgent\.{words}"):
        HierarchyAgent(**given | settings)


@pytest.mark.parametrize("joint", [5, "skill", None, lambda spec: 5, [skill(2), 3]])
def test_a_joint_that_is_no_spec_is_named(joint: Any) -> None:
    with pytest.raises(TypeError, match=r"joints\[0\] is .*; allowed: a spec, such as skill\(2\)"):
        _hierarchy([RandomLevel, RandomLevel], [joint])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ObservationMap(5), "ObservationMap.function is 5; allowed: a function"),
        (lambda: ObservationMap(len, spec="x"), "ObservationMap.spec is 'x'; allowed: "),
        (lambda: select("a", 5), r"select\(\) has 5; allowed: names of fields"),
        (lambda: subgoal(5), "subgoal.field is 5; allowed: a string"),
        (lambda: subgoal("a", minimum=float("nan")), "subgoal.minimum is nan; allowed: "),
        (lambda: subgoal("a", maximum=[1.0, float("inf")]), r"subgoal.maximum is \[1.0, inf\]"),
    ],
)
def test_what_joints_and_maps_are_made_of_is_checked(make: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_an_algorithm_that_is_made_already_is_one_clear_line() -> None:
    made = sac(observation_spec=TensorSpec((2,)), action_spec=ACTION)
    message = "algorithm_ctor of level '.*' is a SacAlgorithm that is made already"
    for level in (AlgorithmLevel, SacLevel, MuzeroLevel):
        with pytest.raises(TypeError, match=message):
            _hierarchy([partial(level, algorithm_ctor=made)])
    for level in (DADSLevel, SPlaTESLevel, DIAYNLevel):
        with pytest.raises(TypeError, match=message):
            skill_agent(level, algorithm_ctor=made)
    with pytest.raises(TypeError, match=r"predictor_factory of level .* is a StaticPredictor"):
        _hierarchy([partial(PlannerLevel, predictor_factory=known_predictor()(None, None))])
    assert isinstance(made, SacAlgorithm)


# ---- observation maps and fields ----------------------------------------------------------------

MAPS = {
    "numpy": (lambda o: o.numpy(), TypeError, "returned a ndarray"),
    "the first row": (lambda o: o[:1], ValueError, r"shape \[1, 5\] for 3 environments"),
    "a mean": (lambda o: o.mean(0), ValueError, r"shape \[5\] for 3 environments"),
    "a number": (lambda o: 3.0, TypeError, "returned a float"),
    "a part of it": (lambda o: {"x": o, "y": o.numpy()}, TypeError, "returned a ndarray"),
    "a scalar": (lambda o: o.sum(), ValueError, r"shape \[\] for 3 environments"),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("spec", [None, TensorSpec((5,))])
def test_an_observation_map_returns_tensors_of_the_same_environments(name: str, spec: Any) -> None:
    function, kind, message = MAPS[name]
    with pytest.raises(kind, match=f"observation map .*{message}"):
        bind_map(ObservationMap(function, spec), TensorSpec((5,)))


DOTTED = {
    "robot.pos": BoundedTensorSpec((2,), minimum=0.0, maximum=9.0),
    "arm": {"joint.angle": TensorSpec((3,)), "speed": TensorSpec((1,))},
}


@pytest.mark.parametrize(
    ("field", "shape"), [("robot.pos", (2,)), ("arm.joint.angle", (3,)), ("arm.speed", (1,))]
)
def test_names_with_dots_are_selected(field: str, shape: tuple[int, ...]) -> None:
    observation = {
        "robot.pos": torch.full((4, 2), 1.0),
        "arm": {"joint.angle": torch.full((4, 3), 2.0), "speed": torch.full((4, 1), 3.0)},
    }
    bound = bind_map(select(field), DOTTED)
    assert tuple(bound.spec.shape) == shape
    assert bound(observation).shape == (4, *shape)
    both = bind_map(select(field, "robot.pos"), DOTTED)
    assert torch.equal(both(observation)[field], bound(observation))
    # A name that a map made may have dots too.
    again = bind_map(select(field), both.spec)
    assert torch.equal(again(both(observation)), bound(observation))


def test_a_name_with_dots_that_is_not_there_lists_what_is() -> None:
    with pytest.raises(ValueError, match=r"'robot.x'.*\['arm.joint.angle', 'arm.speed', 'robot.p"):
        bind_map(select("robot.x"), DOTTED)


@pytest.mark.parametrize("level", ["AlgorithmLevel", "TDMPC2Level"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_field_with_dots_is_a_goal(level: str, nested: bool) -> None:
    """With hindsight, which asks the replay buffer for the field."""
    name = "state.robot.pos" if nested else "robot.pos"
    spec = {"state": DOTTED} if nested else DOTTED
    ctor: Any = {
        "AlgorithmLevel": partial(AlgorithmLevel, algorithm_ctor=sac),
        "TDMPC2Level": partial(TDMPC2Level, settings=SETTINGS),
    }[level]
    agent = HierarchyAgent(
        spec,
        ACTION,
        levels=[
            RandomLevel,
            partial(
                ctor,
                goal=Goal(radius=0.5, achieved=name, hindsight=1.0),
                training=TrainingOptions(mini_batch_size=4, warm_up=0),
            ),
        ],
        joints=[subgoal(name)],
        config=TrainerConfig(root_dir="", mini_batch_length=2),
    )
    low: Any = agent.levels[1]
    assert low.input_spec.shape == (2,)
    for one in agent.levels:
        if one.training_options is not None:
            one.set_replay_buffer(2, 64)
    state = agent.get_initial_rollout_state(2)
    for t in range(8):
        observation: Any = {
            "robot.pos": torch.full((2, 2), float(t)),
            "arm": {"joint.angle": torch.zeros(2, 3), "speed": torch.zeros(2, 1)},
        }
        observation = {"state": observation} if nested else observation
        step = time_step([min(t, 1)] * 2, [0.0] * 2, [1.0] * 2, [[0.0]] * 2)
        step = step._replace(observation=observation)
        decided = agent.rollout_step(step, state)
        state = decided.state
        agent.observe_for_replay(
            Experience(time_step=step, action=decided.output, rollout_info=decided.info)
        )
    found, where = low._replay_buffer.get_batch(50, 2 if level == "AlgorithmLevel" else 4)
    relabelled = low._goal.relabel(
        found.time_step, where._replace(replay_buffer=low._replay_buffer)
    ).observation.input
    assert set(relabelled.flatten().tolist()) <= {float(t) for t in range(1, 8)} | set(
        found.time_step.observation.input.flatten().tolist()
    )
    assert not torch.equal(relabelled, found.time_step.observation.input)


def test_options_are_checked_too() -> None:
    agent = HierarchyAgent(
        TensorSpec((3,)), option(2), levels=[partial(_Custom, returns=_float_option)]
    )
    step = time_step([0], [0.0], [1.0], [[0.0, 0.0, 0.0]])
    with pytest.raises(TypeError, match=r"the output.*float32.*int64"):
        agent.rollout_step(step, agent.get_initial_rollout_state(1))


def _float_option(step: AlgStep) -> AlgStep:
    return step._replace(output=torch.zeros(len(step.output)))
