"""Numbers that are not finite: where they are noticed, what the error names, what is skipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rl import CountingEnv, TinyOffPolicy, make_config
from torch import nn

import alf
from alf.data_structures import LossInfo, StepType, TimeStep
from alf.nest import nest
from alf.optimizers import Adam
from alf.optimizers.traj_optimizers import CEMOptimizer
from alf.summary import summary_ops as summary
from alf.trainers._sync_evaluator import evaluate
from alf.utils import finite_checks
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.finite_checks import FiniteChecks, NotFiniteError
from alf.utils.finite_steps import FiniteSteps, ending_once

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)
NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.reset_configs()
    finite_checks.skipped.update(updates=0, episodes=0)
    summary.reset_global_counter()


class BadEnv(CountingEnv):
    """A `CountingEnv` that gives a number that is not finite in one field, at chosen steps.

    Args:
        bad: (environment, global step) of each bad step.
        field: "observation", "reward" or "discount".
        value: what it gives there.
    """

    def __init__(self, bad: set[tuple[int, int]], field: str, value: float = NAN) -> None:
        self._bad, self._field, self._value = bad, field, value
        super().__init__()

    def _make(self, action: torch.Tensor) -> TimeStep:
        step = super()._make(action)
        for row in range(self.batch_size):
            if (row, self.num_steps) in self._bad:
                getattr(step, self._field)[row] = self._value
        return step


def algorithm(env: Any = None, alg: type[TinyOffPolicy] = TinyOffPolicy, **config: Any) -> Any:
    torch.manual_seed(0)
    return alg(env=env or CountingEnv(), config=make_config(**config), optimizer=Adam(lr=0.01))


class BadLoss(TinyOffPolicy):
    """Its loss, or the gradient of it, is not finite in chosen updates."""

    bad_updates: tuple[int, ...] = (2,)
    what = "loss"

    def calc_loss(self, info: LossInfo) -> LossInfo:
        self.updates = getattr(self, "updates", 0) + 1
        if self.updates not in self.bad_updates:
            return info
        if self.what == "loss":
            return info._replace(loss=info.loss * NAN, extra=info.extra * NAN)
        zero = self.layer.weight.sum() * 0
        return info._replace(loss=info.loss + zero.sqrt())  # derivative of sqrt at 0


class BadGradient(BadLoss):
    what = "gradient"


def train(made: Any, iterations: int = 9) -> None:
    for _ in range(iterations):
        made.train_iter()


# ---- What enters ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("field", ["observation", "reward", "discount"])
def test_what_an_environment_gives_is_refused_where_it_comes_in(field: str, value: float) -> None:
    alg = algorithm(BadEnv({(1, 2)}, field, value))
    alg.train_iter()
    stored = alg._replay_buffer.total_size
    with pytest.raises(NotFiniteError, match=rf"environment 1 gave the {field} .*iteration 2\)"):
        alg.train_iter()
    assert alg._replay_buffer.total_size == stored
    assert all(p.isfinite().all() for p in alg.parameters())


def test_the_first_observation_is_looked_at_too() -> None:
    with pytest.raises(NotFiniteError, match="environment 0 gave the observation"):
        algorithm(BadEnv({(0, 0)}, "observation")).train_iter()


def test_an_evaluation_looks_at_its_environment() -> None:
    alg = algorithm()
    with pytest.raises(NotFiniteError, match=r"gave the observation .*\(evaluation, "):
        evaluate(BadEnv({(1, 2)}, "observation"), alg, 4)


def test_large_numbers_whose_sum_overflows_are_fine() -> None:
    most = torch.finfo(torch.float32).max
    alg = algorithm(BadEnv({(0, 1), (1, 1)}, "reward", most), initial_collect_steps=1000)
    alg.train_iter()
    assert alg._replay_buffer.total_size == 2


def test_a_parameter_is_blamed_for_the_action_not_the_environment() -> None:
    alg = algorithm()
    alg.train_iter()
    with torch.no_grad():
        alg.layer.bias[0] = NAN
    with pytest.raises(NotFiniteError, match=r"action of instance 0 is not finite.*layer\.bias"):
        alg.train_iter()


def test_an_error_that_nan_has_led_to_names_the_nan() -> None:
    class Indexes(TinyOffPolicy):
        def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> Any:
            step = super().rollout_step(inputs, state)
            torch.zeros(3)[step.output.long()]  # of NaN: -9223372036854775808
            return step

    alg = algorithm(alg=Indexes)
    alg.train_iter()
    with torch.no_grad():
        alg.layer.weight[0, 0] = NAN
    with pytest.raises(NotFiniteError, match=r"rollout.*parameter layer\.weight") as caught:
        alg.train_iter()
    assert isinstance(caught.value.__cause__, IndexError)


def test_an_error_that_has_nothing_to_do_with_nan_stays() -> None:
    class Fails(TinyOffPolicy):
        def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> Any:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        algorithm(alg=Fails).train_iter()


# ---- Updates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alg", "words"),
    [
        (BadLoss, "'tiny', update at iteration .: the loss is nan; not finite: loss, extra"),
        (BadGradient, "the norm of the gradient is nan, the loss "),
    ],
)
def test_an_update_that_is_not_finite_is_not_made(alg: type[BadLoss], words: str) -> None:
    made = algorithm(alg=alg)
    seen: list[Any] = []
    before = Adam.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", lambda self, *args: (seen.append(1), before(self, *args))[1])
        with pytest.raises(NotFiniteError, match=words):
            train(made)
    assert len(seen) == 1
    assert all(p.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("alg", [BadLoss, BadGradient])
def test_such_an_update_can_be_skipped_and_counts(alg: type[BadLoss]) -> None:
    alf.config("FiniteChecks", bad_update="skip")
    made = algorithm(alg=alg)
    for _ in range(5):
        made.train_iter()
    assert finite_checks.skipped["updates"] == 1
    steps = {int(s["step"]) for o in made.optimizers() for s in o.state.values()}
    assert steps == {made.updates - 1}
    assert all(p.isfinite().all() for p in made.parameters())


def test_a_run_that_skips_all_updates_ends() -> None:
    alf.config("FiniteChecks", bad_update="skip", max_skipped=3)

    class Always(BadLoss):
        bad_updates = tuple(range(100))

    made = algorithm(alg=Always)
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        train(made)
    assert finite_checks.skipped["updates"] == 3


def test_priorities_of_a_skipped_update_stay() -> None:
    alf.config("FiniteChecks", bad_update="skip")

    class Prioritised(BadLoss):
        bad_updates = tuple(range(100))

        def calc_loss(self, info: LossInfo) -> LossInfo:
            info = super().calc_loss(info)
            return info._replace(priority=info.loss.mean(0))

    made = algorithm(alg=Prioritised, priority_replay=True)
    for _ in range(4):
        made.train_iter()
    assert finite_checks.skipped["updates"] > 0
    assert made._replay_buffer.initial_priority == 1


def test_what_a_batch_holds_is_named_with_its_environment() -> None:
    class Spoilt(TinyOffPolicy):
        def observe_for_replay(self, exp: Any) -> None:
            exp.time_step.observation[1] = NAN
            super().observe_for_replay(exp)

    made = algorithm(alg=Spoilt)
    with pytest.raises(NotFiniteError, match=r"experience\.time_step\.observation \(environment 1"):
        train(made)


def test_the_batch_is_kept_for_a_post_mortem(tmp_path: Path) -> None:
    alf.config("FiniteChecks", dump=True)
    made = algorithm(alg=BadLoss, root_dir=str(tmp_path))
    with pytest.raises(NotFiniteError, match=r"the batch is in .*update-tiny-\d+\.pt"):
        train(made)
    (path,) = (tmp_path / "not_finite").iterdir()
    kept = torch.load(path, weights_only=True)
    assert kept["experience.time_step.observation"].shape == (2, 4, 2)
    assert kept["loss_info.loss"].isnan().all()
    assert "the loss is nan" in kept["what"]


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_on_an_accelerator_one_read_in_an_iteration_finds_it(where: str) -> None:
    made = algorithm()
    fine = torch.tensor(True)
    for what, flag in (("the loss", where != "loss"), ("the norm of the gradient", False)):
        finite_checks._pending.append((made, "update", what, fine & flag))
    with pytest.raises(NotFiniteError, match=f"the {'loss' if where == 'loss' else 'norm'}"):
        made.train_iter()
    finite_checks.raise_pending()  # nothing waits any more


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bad_update": "ignore"}, "bad_update is 'ignore'; allowed: .*'raise'.*'skip'"),
        ({"bad_episode": None}, "bad_episode is None"),
        ({"max_skipped": -1}, "max_skipped is -1"),
        ({"max_skipped": 2.5}, r"max_skipped is 2\.5"),
        ({"dump": "no"}, "dump is 'no'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FiniteChecks(**settings)


# ---- Episodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["observation", "reward", "discount"])
def test_an_episode_can_be_skipped(field: str) -> None:
    alf.config("FiniteChecks", bad_episode="skip")
    env = BadEnv({(1, 2), (1, 3)}, field)
    alg = algorithm(env, initial_collect_steps=32, replay_buffer_length=16)
    for _ in range(9):
        alg.train_iter()
    step = alg._replay_buffer.gather_all()[0].time_step
    assert all(x.isfinite().all() for x in (step.observation, step.reward, step.discount))
    # Episodes have 3 steps. That of environment 1 ends with its 2nd, which holds what the 1st did;
    # it is shown until the next one begins.
    assert step.step_type[0].tolist() == [FIRST, MID, MID, LAST, FIRST, MID, MID, LAST, FIRST]
    assert step.step_type[1].tolist() == [FIRST, MID, LAST, LAST, FIRST, MID, MID, LAST, FIRST]
    assert step.observation[1, :4, 1].tolist() == [0, 1, 1, 1]
    assert step.reward[1, :4].tolist() == [0, 1, 0, 0]
    assert step.discount[1, :4].tolist() == [1, 1, 1, 1]
    assert finite_checks.skipped["episodes"] == 1
    assert int(alg.get_metrics()[0].result()) == 4  # episodes


def test_a_reset_to_nan_is_waited_out() -> None:
    alf.config("FiniteChecks", bad_episode="skip")
    steps = FiniteSteps("training")
    env = BadEnv({(0, 4)}, "observation")
    shown = [steps.taken(env.reset())] + [
        steps.taken(env.step(torch.zeros(2, 1))) for _ in "12345678"
    ]
    assert [int(s.step_type[0]) for s in shown] == [
        FIRST,
        MID,
        MID,
        LAST,
        LAST,
        LAST,
        LAST,
        LAST,
        FIRST,
    ]
    assert finite_checks.skipped["episodes"] == 1


def test_repeated_ends_count_for_no_metric() -> None:
    alf.config("FiniteChecks", bad_episode="skip")
    metrics = evaluate(BadEnv({(1, 1), (1, 2)}, "reward"), algorithm(), 2)
    lengths = next(m for m in metrics if m.name == "AverageEpisodeLength")
    assert float(lengths.result()) == 2.0  # of 3 steps, and of 1


def test_an_environment_that_only_gives_nan_ends_the_run() -> None:
    alf.config("FiniteChecks", bad_episode="skip", max_skipped=5)
    env = BadEnv({(row, t) for row in (0, 1) for t in range(1, 200) if t % 4}, "observation")
    alg = algorithm(env, initial_collect_steps=600, replay_buffer_length=300)
    with pytest.raises(NotFiniteError, match=r"6 such episodes in a row.*max_skipped=5"):
        train(alg, 100)


def test_episodes_of_another_process_cannot_be_skipped() -> None:
    alf.config("FiniteChecks", bad_episode="skip")
    with pytest.raises(ValueError, match=r"bad_episode='skip'.*async_unroll=True"):
        FiniteSteps("training", TinyOffPolicy(config=make_config(async_unroll=True)))


def test_time_steps_that_repeat_nothing_stay_as_they_are() -> None:
    step = CountingEnv().reset()
    assert ending_once(step, ()) is step


# ---- Saving ---------------------------------------------------------------------------------


def _checkpointer(path: Path, module: nn.Module, **more: Any) -> Checkpointer:
    return Checkpointer(str(path), algorithm=module, **more)


class Saved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("limit", torch.full((2,), INF))


@pytest.mark.parametrize(
    ("name", "value"), [("weight", NAN), ("weight", INF), ("weight", -INF), ("mean", NAN)]
)
def test_nothing_that_is_not_finite_is_saved(tmp_path: Path, name: str, value: float) -> None:
    module = Saved()
    checkpointer = _checkpointer(tmp_path, module)
    checkpointer.save(1)  # infinite limits are fine
    files = sorted(p.name for p in tmp_path.iterdir())
    getattr(module, name).data[1] = value
    with pytest.raises(NotFiniteError, match=rf"not finite in algorithm\.{name}; .*before stay"):
        checkpointer.save(2)
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    assert checkpointer.load() == 1
    assert bool(module.weight.isfinite().all())


@pytest.mark.parametrize("part", ["optimizer", "replay buffer"])
def test_moments_and_records_are_looked_at(tmp_path: Path, part: str) -> None:
    alf.config("ReplayBuffer", enable_checkpoint=True)
    alg = algorithm()
    for _ in range(4):
        alg.train_iter()
    checkpointer = _checkpointer(tmp_path, alg)
    checkpointer.save(1)
    if part == "optimizer":
        next(iter(alg.optimizers()[0].state.values()))["exp_avg_sq"].view(-1)[0] = INF
    else:
        nest.flatten(alg._replay_buffer._buffer.time_step.observation)[0][0, 0] = NAN
    with pytest.raises(NotFiniteError, match=r"_optimizers|observation"):
        checkpointer.save(2)
    assert checkpointer.newest_step() == 1


# ---- Searches -------------------------------------------------------------------------------


@pytest.mark.parametrize(("broken", "raises"), [(0.5, False), (1.0, True)])
def test_a_search_without_a_finite_cost_says_so(broken: float, raises: bool) -> None:
    def cost(step: TimeStep, plans: torch.Tensor) -> torch.Tensor:
        costs = plans.square().sum(-1)
        costs[:, : int(broken * costs.shape[1])] = NAN
        return costs

    optimizer = CEMOptimizer(2, 20, cost, 1.0, -1.0, elite_size=5)
    step = CountingEnv().reset()
    if not raises:
        assert bool(optimizer.obtain_solution(step).isfinite().all())
        return
    with pytest.raises(NotFiniteError, match="the cost of all solutions of instance 0, 1"):
        optimizer.obtain_solution(step)
