"""TD-MPC2 as a flat ALF algorithm: updates, what survives a restart, options, and a trainer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import AlgStep, Experience, StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import MPPI, PlanningSettings, TDMPC2Algorithm, TDMPC2Settings, model_of_size
from alf_layered.tdmpc2.records import TDMPC2Info
from tests.runs import checkpoint, train

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
PLANNING = PlanningSettings(mppi=MPPI(n_samples=32, n_iterations=2))


def _algorithm(observation_spec: Any = TensorSpec((3,)), **options: Any) -> TDMPC2Algorithm:
    own = {k: options.pop(k) for k in ("goal_field", "config", "reward_spec") if k in options}
    options.setdefault("model", model_of_size("small"))
    torch.manual_seed(0)
    return TDMPC2Algorithm(
        observation_spec,
        ACTION,
        settings=TDMPC2Settings(planning=PLANNING, **options),
        **own,
    )


def _config(**fields: Any) -> TrainerConfig:
    fields = {
        "mini_batch_length": 4,
        "mini_batch_size": 16,
        "unroll_length": 1,
        "whole_replay_buffer_training": False,
        "clear_replay_buffer": False,
    } | fields
    return TrainerConfig(root_dir="", **fields)


def _info(batch: int = 8, T: int = 4, spec: Any = TensorSpec((3,))) -> TDMPC2Info:
    return TDMPC2Info(
        observation=alf.nest.map_structure(lambda s: torch.rand(T, batch, *s.shape), spec),
        prev_action=2 * torch.rand(T, batch, 2) - 1,
        reward=torch.randn(T, batch),
        discount=(torch.rand(T, batch) > 0.1).float(),
        step_type=torch.full((T, batch), MID, dtype=torch.int32),
    )


def _update(algorithm: TDMPC2Algorithm, info: TDMPC2Info) -> dict[str, torch.Tensor]:
    loss = algorithm.calc_loss(info)
    algorithm.update_with_gradient(loss)
    algorithm.after_update(None, info)
    return loss.extra


def test_one_batch_is_learned_by_heart() -> None:
    algorithm = _algorithm(lr=3e-3)
    torch.manual_seed(1)
    info = _info()
    first = _update(algorithm, info)
    for _ in range(60):
        last = _update(algorithm, info)
    for part in ("reward", "value", "termination"):
        assert float(last[part]) < 0.8 * float(first[part])
    assert int(algorithm._updates) == 61


def test_encoders_learn_at_their_own_rate() -> None:
    algorithm = _algorithm(lr=1e-3, encoder_lr_scale=0.3)
    model = algorithm.world_model
    before = {name: p.clone() for name, p in model.named_parameters()}
    target = [p.clone() for p in algorithm._target_q.parameters()]
    for optimizer in algorithm.optimizers():
        optimizer.zero_grad()
    algorithm.update_with_gradient(algorithm.calc_loss(_info()))
    # Adam's first step moves a parameter by the learning rate, whatever the gradient's size.
    steps = {n: float((p - before[n]).detach().abs().max()) for n, p in model.named_parameters()}
    # Heads that begin at zero pass no gradients on, and the policy's are small beside epsilon.
    steps = {n: step for n, step in steps.items() if step > 0 and not n.startswith("_pi.")}
    assert {"encoder", "_trunk", "_next", "_reward"} <= {n.partition(".")[0] for n in steps}
    for name, step in steps.items():
        rate = 3e-4 if name.startswith("encoder.") else 1e-3
        assert step == pytest.approx(rate, rel=0.01), name
    for old, new in zip(target, algorithm._target_q.parameters(), strict=True):
        assert torch.equal(old, new)


def test_targets_follow_by_tau() -> None:
    algorithm = _algorithm(tau=0.25)
    old = [p.clone() for p in algorithm._target_q.parameters()]
    with torch.no_grad():
        for p in algorithm.world_model.q.parameters():
            p += 1.0
    algorithm.after_update(None, None)
    for before, after in zip(old, algorithm._target_q.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.25)


def test_saved_and_loaded_it_continues_as_if_nothing_had_happened(tmp_path: Path) -> None:
    torch.manual_seed(1)
    infos = [_info() for _ in range(4)]
    straight = _algorithm()
    for info in infos[:2]:
        _update(straight, info)
    torch.save(straight.state_dict(), tmp_path / "saved")
    draws = torch.get_rng_state()
    for info in infos[2:]:
        expected = _update(straight, info)

    resumed = _algorithm()
    _update(resumed, _info())  # something else
    resumed.load_state_dict(torch.load(tmp_path / "saved", weights_only=True))
    torch.set_rng_state(draws)
    for info in infos[2:]:
        found = _update(resumed, info)
    assert found.keys() == expected.keys()
    for key in found:
        assert torch.equal(found[key], expected[key]), key
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    step = _step([FIRST, FIRST])
    actions = []
    for algorithm in (straight, resumed):
        torch.manual_seed(5)
        state = algorithm.get_initial_rollout_state(2)
        actions.append(algorithm.rollout_step(step, state).output)
    assert torch.equal(*actions)


def _step(kinds: list[int], spec: Any = TensorSpec((3,))) -> TimeStep:
    torch.manual_seed(4)
    return TimeStep(
        step_type=torch.tensor(kinds, dtype=torch.int32),
        reward=torch.zeros(len(kinds)),
        discount=torch.ones(len(kinds)),
        observation=alf.nest.map_structure(lambda s: torch.rand(len(kinds), *s.shape), spec),
        prev_action=torch.zeros(len(kinds), 2),
        env_id=torch.arange(len(kinds), dtype=torch.int32),
        env_info={},
    )


def test_acting_and_evaluating_change_no_parameter() -> None:
    algorithm = _algorithm()
    before = copy.deepcopy(algorithm.state_dict())
    state = algorithm.get_initial_rollout_state(2)
    for method in (algorithm.rollout_step, algorithm.predict_step):
        assert isinstance(method(_step([FIRST, MID]), state), AlgStep)
    for key, value in algorithm.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, before[key]), key


def test_actions_are_random_until_enough_is_stored() -> None:
    algorithm = _algorithm(config=_config(initial_collect_steps=5))
    algorithm.set_replay_buffer(2, 16, False)
    state, step = algorithm.get_initial_rollout_state(2), _step([MID, MID])
    for _ in range(3):
        assert algorithm._collects_at_random()
        result = algorithm.rollout_step(step, state)
        assert torch.equal(result.state.mean, state.mean)
        algorithm.observe_for_replay(
            Experience(time_step=step._replace(env_info=()), action=result.output, state=state)
        )
    assert not algorithm._collects_at_random()
    assert not torch.equal(algorithm.rollout_step(step, state).state.mean, state.mean)


def test_plans_are_discounted_by_the_mean_duration_of_decisions() -> None:
    algorithm = _algorithm()
    info = _info()
    discount = torch.full_like(info.discount, 0.9)
    discount[:, 0] = 0.0
    algorithm.calc_loss(info._replace(discount=discount))
    assert float(algorithm._passage) == pytest.approx(0.9, abs=1e-5)
    algorithm.after_update(None, None)
    algorithm.calc_loss(info._replace(discount=torch.ones_like(discount)))
    assert float(algorithm._passage) == pytest.approx(0.9 + 0.01 * 0.1, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": _config(mini_batch_length=2)}, "spans of 4 records"),
        ({"reward_spec": TensorSpec((2,))}, "one reward"),
        ({"goal_field": "goal", "observation_spec": {"x": TensorSpec((1,))}}, r"'goal'.*\['x'\]"),
    ],
)
def test_what_it_is_not_made_for_is_an_error(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _algorithm(**arguments)


def test_discrete_actions_are_an_error() -> None:
    discrete = BoundedTensorSpec((), torch.int64, minimum=0, maximum=3)
    with pytest.raises(ValueError, match="one tensor of real numbers with finite bounds"):
        TDMPC2Algorithm(TensorSpec((3,)), discrete)


PIXELS = {
    "camera": TensorSpec((3, 64, 64)),
    "goal": TensorSpec((2,)),
    "speed": TensorSpec((2,)),
}


@pytest.mark.parametrize(
    "options",
    [
        {"observation_spec": PIXELS, "goal_field": "goal"},
        {"bf16": True},
        {"compile": {"backend": "eager"}},
        {"model": model_of_size("small", terminates=False)},
        {"log_prob": "upstream"},
    ],
    ids=["pixels and goal", "bf16", "compile", "no terminations", "upstream"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_options_act_and_learn(options: dict[str, Any]) -> None:
    spec = options.get("observation_spec", TensorSpec((3,)))
    algorithm = _algorithm(**options)
    step = algorithm.rollout_step(_step([FIRST] * 3, spec), algorithm.get_initial_rollout_state(3))
    assert step.output.shape == (3, 2)
    assert step.output.dtype == torch.float32
    before = [p.detach().clone() for p in algorithm.world_model.parameters()]
    extra = _update(algorithm, _info(4, spec=spec))
    assert all(bool(x.isfinite().all()) for x in extra.values())
    changed = [
        not torch.equal(a, b)
        for a, b in zip(before, algorithm.world_model.parameters(), strict=True)
    ]
    assert sum(changed) > len(changed) // 2


def test_a_compiled_update_is_the_same_update() -> None:
    info = _info()
    results = []
    for options in ({}, {"compile": {"backend": "eager"}}):
        algorithm = _algorithm(**options)
        torch.manual_seed(3)
        results.append(_update(algorithm, info))
    for key in results[0]:
        torch.testing.assert_close(results[0][key], results[1][key])


FLAT = """
import alf
from alf_layered import MPPI, PlanningSettings, TDMPC2Algorithm, TDMPC2Settings, model_of_size

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=2)
alf.config(
    "TDMPC2Algorithm",
    settings=TDMPC2Settings(
        model=model_of_size("small"),
        planning=PlanningSettings(mppi=MPPI(n_samples=32, n_iterations=1)),
    ),
)
alf.config(
    "TrainerConfig",
    algorithm_ctor=TDMPC2Algorithm,
    num_iterations=60,
    unroll_length=1,
    initial_collect_steps=40,
    mini_batch_size=16,
    mini_batch_length=4,
    num_updates_per_train_iter=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=1000,
    num_checkpoints=1,
    evaluate=False,
)
"""


def test_it_trains_flat_under_alfs_trainer(tmp_path: Path) -> None:
    conf = tmp_path / "flat_conf.py"
    conf.write_text(FLAT, encoding="utf-8")
    train(tmp_path / "run", conf)
    model = checkpoint(tmp_path / "run")["algorithm"]
    updates = int(model["_updates"])
    assert 70 <= updates <= 84  # two in each iteration after 40 records
    assert float(model["_passage"]) == pytest.approx(1)
    assert len(checkpoint(tmp_path / "run", "-optimizer")["algorithm"]) == 2
