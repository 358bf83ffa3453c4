"""Which test holds which documented fact about ALF, and the facts that have no other place.

`FACTS` names the facts by their number: 1 to 15 are values, 16 to 30 contracts, "names" are
imports. An entry is a test of this folder (file::function), or a case of conformance (suite:case),
whose figure is ALF's own. What the plugin relies on is in `tests/test_alf_rules.py`.
"""

from __future__ import annotations

import ast
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rl import CountingEnv, TinyOffPolicy, make_config

import alf
import alf.test
from alf import config_helpers
from alf.data_structures import LossInfo
from alf.networks import EncodingNetwork
from alf.networks.param_networks import ParamNetwork
from alf.optimizers import SGD
from alf.summary import summary_ops
from alf.tensor_specs import TensorSpec
from alf.trainers._recorded_run import run_under_record_context

HERE = Path(__file__).parent

FACTS: dict[str, list[str]] = {
    "1 normalize() learns as forward() does": [
        "test_normalizers.py::test_normalize_learns_as_forward_does",
        "parts:normalizers.forward_updates_in_training_only",
    ],
    "2 suffixes of env_info": [
        "test_metrics.py::test_suffixes_say_how_the_values_of_an_episode_are_combined",
        "test_metrics.py::test_suffixes_of_long_episodes_and_many_environments",
        "test_metrics.py::test_a_suffix_of_its_own_counts_for_success_too",
        "parts:metrics.AverageEnvInfo.step_average_skips_what_is_not_finite",
    ],
    "3 nests are combined after the batch axis": [
        "test_nest.py::test_concatenation_counts_axes_after_the_batch",
        "test_nest.py::test_numbers_are_added_and_leaves_of_batch_rank_are_multiplied",
    ],
    "4 the expectation of a regression over bins is the target": [
        "test_losses.py::test_fitted_logits_expect_the_target",
    ],
    "5 SimpleActionEncoder": ["test_networks.py::test_action_encoder_hand_numbers"],
    "6 task_id says which task runs": [
        "test_environments.py::test_several_names_make_a_multitask_environment",
        "test_environments.py::test_tasks_change_in_the_middle_of_an_episode_and_wait_where_they_are",
    ],
    "7 CompositionalFC without weights": [
        "test_composed_layers.py::test_a_composition_of_one_hot_weights_is_one_layer",
        "parts:layers.CompositionalFC.no_weights_is_a_sum",
    ],
    "8 prune_nest_like": [
        "test_nest.py::test_pruning_keeps_what_the_slim_nest_has",
        "parts:nest.prune_nest_like.none_in_slim_is_the_default_match",
    ],
    "9 the Haar basis": [
        "test_composed_layers.py::test_fixed_bases_have_their_known_values",
        "parts:layers.FixedDecodingLayer.haar",
    ],
    "10 dtypes of spaces": [
        "test_suite_gym.py::test_spaces_keep_their_dtype_if_asked_to_and_options_have_one_minimum",
    ],
    "11 priorities of new records": [
        "test_replay_buffer.py::test_a_new_record_has_the_largest_priority_there_is_or_the_initial_one",
        "parts:replay.priority.of_a_new_record_is_the_largest_so_far",
        "test_documented_facts.py::test_priorities_enter_with_epsilon_and_exponent",
    ],
    "12 half cycles are exact": ["test_schedulers.py::test_half_cycles_are_exact"],
    "13 a feature of zeros is a feature": [
        "test_intrinsic_rewards.py::test_a_discrete_action_is_guessed_by_its_logits",
        "test_dynamics_learning.py::test_a_first_step_counts_for_nothing_and_a_feature_of_zeros_as_any_other",
        "algorithms:repr.icm.continuous.train_step_and_loss",
    ],
    "14 TrustedUpdater": [
        "test_optimizers.py::test_changes_are_absolute_and_hopeless_ones_are_refused",
        "parts:optimizers.TrustedUpdater.hopeless_is_refused",
    ],
    "15 thresholds beyond the sum": ["parts:segment_tree.Sum.find_sum_bound_above_the_total"],
    "names that are imported and configured": [
        "test_third_party_names.py::test_names_are_where_they_are_imported_from",
        "test_third_party_names.py::test_names_are_configurable",
        "test_third_party_names.py::test_zeros_of_one_row",
        "test_third_party_names.py::test_branches_have_networks",
        "test_third_party_names.py::test_modules_of_environments_are_attributes",
        "test_third_party_names.py::test_the_positions_of_episodes_can_be_read_from_a_replay_buffer",
        "test_layers.py::test_algorithms_find_these_names_where_alf_has_them",
        "test_layers.py::test_the_gain_is_found_by_numbers",
        "test_data_structures.py::test_fields_of_the_time_step_are_read_and_replaced_from_the_experience",
        "test_documented_facts.py::test_gin_reaches_the_names",
    ],
    "names: states of recurrent networks": [
        "test_networks.py::test_the_state_of_a_recurrent_network_is_one_flat_list",
    ],
    "16 transform_nests": [
        "test_nest.py::test_fields_are_found_read_and_replaced",
        "parts:nest.transform_nests.both",
    ],
    "17 plans from an observation": ["test_traj_optimizers.py::test_observations_are_any_nest"],
    "18 wrap_env": [
        "parts:suite_gym.wrap_env.order_of_wrappers",
        "parts:suite_gym.wrap_env.max_episode_steps",
        "parts:suite_gym.wrap_env.auto_reset_false",
        "parts:suite_gym.wrap_env.clip_action_false",
        "parts:suite_gym.wrap_env.normalize_action_false",
        "test_api_coverage.py::test_a_module_has_what_is_documented",
    ],
    "19 normalizing flows": [
        "test_normalizing_flows.py::test_random_masks_are_saved",
        "test_normalizing_flows.py::test_a_flow_of_one_number_depends_on_its_condition",
        "test_normalizing_flows.py::test_the_first_layer_keeps_these_elements",
        "test_normalizing_flows.py::test_a_cached_transform_inverts_its_output_exactly",
        "test_normalizing_flows.py::test_rows_may_have_several_axes",
    ],
    "20 critics of vector rewards": [
        "test_ddpg.py::test_a_vector_reward_has_critics_of_its_own",
        "test_dqn_and_qrsac.py::test_each_dimension_of_a_vector_reward_has_quantiles",
    ],
    "21 ensembles give their members": [
        "test_batch_ensemble.py::test_a_network_without_members_in_its_input_draws_them",
        "test_batch_ensemble.py::test_all_layers_of_a_network_take_the_same_member",
    ],
    "22 MuZero's constructors": [
        "algorithms:muzero.representation_learner.steps",
        "test_muzero_targets.py::test_constructors_get_what_alf_gives_them",
    ],
    "23 replay buffers that ALF wrote": [
        "test_offline_training.py::test_a_buffer_that_alf_wrote_is_read",
    ],
    "24 scopes of gin": ["test_gin.py::test_a_scope_that_nobody_enters_is_no_error"],
    "25 pre_config in other processes": [
        "test_config_helpers.py::test_another_process_sees_what_python_fixed_before",
    ],
    "26 alf.test.TestCase": [
        "test_alf_test.py::test_each_test_begins_anew",
        "test_alf_test.py::test_assertions_hold_for_tensors_and_arrays",
        "test_documented_facts.py::test_tensors_are_compared_and_the_environment_is_closed",
    ],
    "27 tic-tac-toe and curricula": [
        "test_tic_tac_toe.py::test_the_board_is_what_is_observed_and_wins_are_counted",
        "test_tic_tac_toe.py::test_unknown_names_are_refused",
        "test_environments.py::test_a_curriculum_chooses_tasks_and_hides_them",
    ],
    "28 unit test environments": [
        "parts:suite_unittest.Value.sequence",
        "parts:suite_unittest.Policy.reward_of_the_right_action",
        "parts:suite_unittest.RNN.reward_after_the_gap",
    ],
    "29 taken: TransformerBlock(64, num_heads=3)": [
        "test_transformer_block.py::test_sizes_of_heads_and_hidden_layer_are_free",
    ],
    "29 taken: fewer slots than memory_size": ["parts:layers.TransformerBlock.shorter_memory_rel"],
    "29 taken: Delay(0)": ["parts:networks.Delay.zero"],
    "29 taken: FrameStacker on scalars": ["algorithms:transformer.frame_stacker.scalar"],
    "29 taken: jacobian products of one vector, and partly": [
        "test_relu_mlp.py::test_one_vector_is_taken_for_all_rows_and_one_input_alone",
        "test_relu_mlp.py::test_some_outputs_may_be_asked_for",
    ],
    "29 taken: KL of truncated normals": [
        "test_dist_utils.py::test_kl_of_truncated_normals_is_the_integral",
    ],
    "29 taken: writing to a memory before the first read": [
        "test_memory.py::test_a_memory_that_was_not_built_begins_empty",
    ],
    "29 taken: set_batch_norm_max_steps on what was prepared": [
        "test_norm_layers.py::test_torch_s_batch_norm_is_refused_in_a_recurrent_network",
    ],
    "29 taken: ParamNetwork(n_groups=10) with 128 sets": [
        "test_documented_facts.py::test_the_number_of_sets_is_that_of_the_parameters",
    ],
    "29 taken: summary_interval=0": [
        "test_documented_facts.py::test_an_interval_of_zero_writes_no_summaries",
    ],
    "29 taken: FrameStack on MultiDiscrete": [
        "test_suite_gym.py::test_vectors_of_options_are_stacked"
    ],
    "29 taken: FrameResize on float images": [
        "test_suite_gym.py::test_images_of_any_kind_are_resized"
    ],
    "29 taken: TimeLimit on tensor environments": [
        "test_environments.py::test_a_time_limit_takes_tensors_of_one_row",
    ],
    "29 taken: ThreadEnvironment without a batch axis": [
        "test_environments.py::test_a_thread_environment_takes_actions_with_and_without_a_batch_axis",
    ],
    "29 taken: shared algorithms, cycles, shared optimizers": [
        "test_algorithm.py::test_an_algorithm_reached_twice_counts_once",
        "test_algorithm.py::test_one_optimizer_of_two_algorithms_trains_both_and_is_saved_once",
    ],
    "29 taken: MultiDiscrete's minimum as a scalar": [
        "test_suite_gym.py::test_spaces_keep_their_dtype_if_asked_to_and_options_have_one_minimum",
    ],
    "29 taken: get_all_parameters of a plain object": [
        "test_common.py::test_parameters_are_found_in_a_plain_object_that_holds_modules",
    ],
    "29 taken: checkpoint=alg@": [
        "test_checkpoint_utils.py::test_sub_state_of_a_checkpoint",
        "algorithms:core.checkpoint.preload_alg",
    ],
    "29 taken: get_info() before reset": [
        "test_environments.py::test_there_is_no_info_before_the_first_reset",
    ],
    "30 ValueError in the place of AssertionError": [
        "test_refused_options.py::test_an_option_that_is_not_built_is_refused_by_name",
    ],
}


@functools.cache
def _functions(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@functools.cache
def _cases(suite: str) -> set[str]:
    return set(json.loads((HERE / "conformance" / suite / "golden.json").read_text()))


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_held_by_tests_that_exist(fact: str) -> None:
    for entry in FACTS[fact]:
        place, _, name = entry.partition("::" if "::" in entry else ":")
        assert name in (_functions(place) if place.endswith(".py") else _cases(place)), entry


def test_all_facts_are_there() -> None:
    assert {fact.split()[0] for fact in FACTS} - {"names", "names:"} == set(map(str, range(1, 31)))


# ---- facts without another place ----


def test_priorities_enter_with_epsilon_and_exponent() -> None:
    class Learner(TinyOffPolicy):
        def calc_loss(self, info: Any) -> LossInfo:
            return info._replace(priority=torch.full((info.loss.shape[1],), 4.0))

    config = make_config(
        priority_replay=True, priority_replay_alpha=0.5, priority_replay_eps=5.0, unroll_length=4
    )
    alg = Learner(env=CountingEnv(), config=config, optimizer=SGD(lr=0.1))
    alg.train_iter()
    priorities = alg._replay_buffer._priorities.tree[torch.arange(8)]
    assert set(priorities.tolist()) <= {0.0, 1.0, 3.0}  # (4 + 5) ** 0.5
    assert (priorities == 3.0).any()


def test_gin_reaches_the_names(tmp_path: Path) -> None:
    pytest.importorskip("gin")
    file = tmp_path / "names.gin"
    values = {
        "NestConcat.dim": 0,
        "ScalarAdaptiveNormalizer.speed": 2.0,
        "wrap_env.clip_action": False,
        "RLAlgorithm.is_eval": True,
    }
    file.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    alf.reset_configs()
    try:
        alf.parse_config(str(file), [], create_env=False)
        assert {name: alf.get_config_value(name) for name in values} == values
    finally:
        alf.reset_configs()


class _Case(alf.test.TestCase):
    def runTest(self) -> None:
        pass


def test_tensors_are_compared_and_the_environment_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = []
    monkeypatch.setattr(config_helpers, "close_env", lambda: closed.append(True))
    case = _Case()
    case.setUp()
    assert closed == [True]
    x, y = torch.ones(2), torch.tensor([1.0, 1.5])
    case.assertTensorEqual(x, x.clone())
    case.assertTensorClose(x, y, epsilon=0.6)
    case.assertTensorNotClose(x, y, epsilon=0.4)
    wrong: list[tuple[Any, tuple[Any, ...]]] = [
        (case.assertTensorEqual, (x, y)),
        (case.assertTensorClose, (x, y, 0.4)),
        (case.assertTensorNotClose, (x, y, 0.6)),
    ]
    for check, args in wrong:
        with pytest.raises(AssertionError):
            check(*args)


def test_the_number_of_sets_is_that_of_the_parameters() -> None:
    network = ParamNetwork(TensorSpec((3,)), n_groups=10, fc_layer_params=(4,), last_layer_size=2,
                           last_activation=torch.tanh)  # fmt: skip
    owner = EncodingNetwork(
        TensorSpec((3,)), fc_layer_params=(4,), last_layer_size=2, last_activation=torch.tanh
    )
    theta = torch.randn(128, network.param_length)
    network.set_parameters(theta)
    x = torch.randn(5, 3)
    y = network(x)[0]
    assert y.shape == (5, 128, 2)
    torch.nn.utils.vector_to_parameters(theta[100], owner.parameters())
    torch.testing.assert_close(y[:, 100], owner(x)[0])


@pytest.mark.parametrize(("interval", "written"), [(0, 0), (1, 1)])
def test_an_interval_of_zero_writes_no_summaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: int, written: int
) -> None:
    asked = []
    monkeypatch.setattr(summary_ops, "_enabled", True)

    def step() -> None:
        summary_ops.set_global_counter(3)
        asked.append(summary_ops.should_record_summaries())

    run_under_record_context(step, str(tmp_path), interval, 1)
    assert sum(asked) == written
