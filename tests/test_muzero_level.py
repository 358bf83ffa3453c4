"""MuZero as a level: discounts of the semi-MDP, data from its replay buffer, training, resuming."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByMoves
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.data_structures import AlgStep, StepType, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.common import reset_state_if_necessary
from alf_layered import Goal, HierarchyAgent, LevelObservation, MuzeroLevel, TrainingOptions, option
from alf_layered.networks.flat_observation import flatten_observation
from tests.runs import assert_same_tensors, checkpoint, train

CONF = "alf_configs/muzero_over_sac_maze2d_conf.py"
SMALL: dict[str, Any] = {
    "create_simple_encoding_net__layers": (16,),
    "create_simple_dynamics_net__layers": (16,),
    "create_simple_prediction_net__layers": (16,),
    "create_simple_encoding_net__latent_size": 8,
    "create_environment__num_parallel_environments": 4,
    "_CONFIG___USER__subgoals_warm_up": 10,
    "_CONFIG___USER__reach_warm_up": 100,
    "TrainerConfig__num_checkpoints": 2,
    "TrainerConfig__num_evals": 1,
    "TrainerConfig__num_eval_episodes": 2,
    "TrainerConfig__num_eval_environments": 2,
}
OBSERVATION = TensorSpec((3,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def muzero(sampled: int | None, **options: Any) -> Any:
    return partial(
        MuzeroAlgorithm,
        mcts_algorithm_ctor=partial(
            MCTSAlgorithm,
            num_simulations=4,
            root_dirichlet_alpha=0.3,
            root_exploration_fraction=0.25,
            pb_c_init=1.25,
            pb_c_base=19652,
            is_two_player_game=False,
            visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves([(10, 1.0)]),
        ),
        representation_learner_ctor=partial(
            MuzeroRepresentationImpl,
            model_ctor=partial(SimpleMCTSModel, num_unroll_steps=2, num_sampled_actions=sampled),
            num_unroll_steps=2,
            td_steps=2,
            optimizer=Adam(lr=1e-3),
            **options,
        ),
    )


def test_the_discount_of_search_and_targets_is_that_of_the_semi_mdp() -> None:
    """A decision of 3 steps where 4 are usual: 0.9^4 in the search, 0.9^3 in all with the data."""
    level = MuzeroLevel(
        OBSERVATION, option(3), algorithm_ctor=muzero(None), gamma=0.9, decision_steps=4
    )
    mcts = level.algorithm._mcts
    assert mcts.discount == pytest.approx(0.9**4)
    step = TimeStep(discount=torch.tensor([0.9**2, 0.0]))  # ALF multiplies by gamma once more
    product = level.arrive(step).discount * mcts.discount
    assert product.tolist() == pytest.approx([0.9**3, 0.0])


def test_hindsight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hindsight=0.8"):
        MuzeroLevel(OBSERVATION, ACTION, TensorSpec((3,)), goal=Goal(radius=0.1))


def searching_levels(joint: BoundedTensorSpec) -> HierarchyAgent:
    """Two levels for two environments: both search, the upper one with reanalyze."""
    upper = muzero(None if joint.is_discrete else 3)
    upper.keywords["representation_learner_ctor"].keywords.update(
        reanalyze_ratio=0.5,
        reanalyze_td_steps=2,
        # ALF does not tell it the discount.
        reanalyze_algorithm_ctor=partial(upper.keywords["mcts_algorithm_ctor"], discount=0.99),
    )
    training = TrainingOptions(mini_batch_size=8, mini_batch_length=1, warm_up=8)
    agent = HierarchyAgent(
        {"position": TensorSpec((2,)), "speed": TensorSpec(())},
        ACTION,
        levels=[
            partial(MuzeroLevel, algorithm_ctor=upper, training=training, name="upper"),
            partial(
                MuzeroLevel,
                algorithm_ctor=muzero(3),
                training=training,
                control_interval=2,
                name="lower",
            ),
        ],
        joints=[joint],
        config=TrainerConfig(root_dir="", whole_replay_buffer_training=False, mini_batch_length=1),
    )
    for level in agent.levels:
        level.set_replay_buffer(2, 100)
    agent.set_path("")
    return agent


def random_step(kind: int) -> TimeStep:
    return TimeStep(
        step_type=torch.full((2,), kind, dtype=torch.int32),
        reward=torch.full((2,), float(kind > 0)),
        discount=torch.ones(2),
        observation={"position": torch.randn(2, 2), "speed": torch.randn(2)},
        prev_action=torch.zeros(2, 2),
        env_id=torch.arange(2, dtype=torch.int32),
    )


def act(agent: HierarchyAgent, num_steps: int) -> None:
    """Steps in episodes of three, all of them remembered."""
    agent.eval()
    state = initial = agent.get_initial_rollout_state(2)
    for t in range(num_steps):
        step = random_step([0, 1, 1, 2][t % 4])
        state = reset_state_if_necessary(state, initial, step.is_first())
        result = agent.rollout_step(step, state)
        state = result.state
        agent.observe_for_replay(
            alf.data_structures.Experience(
                time_step=step, action=result.output, rollout_info=result.info
            )
        )
    agent.train()


@pytest.mark.parametrize("joint", [option(3), ACTION], ids=["options", "skills"])
def test_muzero_learns_above_and_below_a_joint(joint: BoundedTensorSpec) -> None:
    """What the levels read from their replay buffers is what their models see."""
    torch.manual_seed(0)
    agent = searching_levels(joint)
    before = [p.detach().clone() for p in agent.levels[0].parameters()]
    act(agent, 16)
    assert agent.train_from_replay_buffer() > 0
    after = list(agent.levels[0].parameters())
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert agent.levels[0].observation_spec._fields == LevelObservation._fields


def test_a_record_holds_the_state_that_the_search_started_from() -> None:
    """Searches of records 0, 1 and 2 of an episode had counted as many; so has reanalyze."""
    torch.manual_seed(0)
    agent = searching_levels(ACTION)
    act(agent, 16)
    upper = agent.levels[0]
    buffer: Any = upper._replay_buffer
    ids = torch.arange(2).unsqueeze(1)
    size = int(buffer.total_size) // 2
    record = buffer.get_field(None, ids.expand(2, size), torch.arange(size).expand(2, size))
    counted, step = [], 0
    for kind in record.time_step.step_type[0].tolist():
        step = 0 if kind == StepType.FIRST else step + 1
        counted.append(step)
    assert max(counted) == 2
    assert record.state.steps.tolist() == [counted, counted]

    shown = flatten_observation(
        alf.nest.map_structure(lambda x: x.flatten(0, 1), record.time_step.observation),
        upper.observation_spec,
    )
    reanalyze = upper.algorithm._repr_learner._reanalyze_algorithm
    search, seen = reanalyze.predict_step, []

    def predict_step(time_step: TimeStep, state: Any) -> AlgStep:
        for observation, steps in zip(time_step.observation, state.steps.tolist(), strict=True):
            row = int((shown - observation).abs().sum(dim=1).argmin())
            seen.append((steps, counted[row % size]))
        return search(time_step, state)

    reanalyze.predict_step = predict_step
    assert agent.train_from_replay_buffer() > 0
    assert {steps for steps, _ in seen} == {0, 1, 2}
    assert all(steps == expected for steps, expected in seen)


def entries(agent: HierarchyAgent, name: str) -> list[Any]:
    return [value for key, value in agent.state_dict().items() if name in key]


def test_a_hierarchy_resumes_with_all_that_its_searching_levels_had(tmp_path: Path) -> None:
    """Models, targets of reanalyze, optimizers, and every count; decisions are the same too."""
    torch.manual_seed(0)
    saved, resumed = searching_levels(ACTION), searching_levels(ACTION)
    for agent, rounds in ((saved, 3), (resumed, 1)):
        for _ in range(rounds):
            act(agent, 16)
            assert agent.train_from_replay_buffer() > 0
    Checkpointer(str(tmp_path), algorithm=saved).save(1)
    kept = copy.deepcopy(saved.state_dict())
    with pytest.raises(AssertionError):
        assert_same_tensors(resumed.state_dict(), kept)
    assert Checkpointer(str(tmp_path), algorithm=resumed).load() == 1
    assert_same_tensors(resumed.state_dict(), kept)

    transitions = [int(x) for x in entries(resumed, "_update_clock.transitions")]
    optimizers = entries(resumed, "_optimizers")
    updates = [int(next(iter(x["state"].values()))["step"]) for x in optimizers]
    assert transitions == [int(x) for x in entries(saved, "_update_clock.transitions")]
    assert len(transitions) == len(updates) == 2
    assert min(*transitions, *updates) > 1
    # The upper level has counted its updates until the target model follows.
    assert [int(x) for x in entries(resumed, "_update_target._counter")] == updates[:1]
    step, decisions = random_step(1), []
    for agent in (saved, resumed):
        agent.eval()
        torch.manual_seed(1)
        decisions.append(agent.predict_step(step, agent.get_initial_predict_state(2)).output)
    assert torch.equal(*decisions)


@pytest.mark.slow
def test_the_configuration_trains_and_resumes(tmp_path: Path) -> None:
    train(tmp_path, CONF, **SMALL, TrainerConfig__num_env_steps=300)
    first = checkpoint(tmp_path)
    printed = train(tmp_path, CONF, **SMALL, TrainerConfig__num_env_steps=400)
    assert "evaluation" in printed
    second = checkpoint(tmp_path)
    assert first.keys() == second.keys()
    with pytest.raises(AssertionError):
        assert_same_tensors(first, second)
