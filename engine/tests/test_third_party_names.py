"""Names that configurations and algorithms written for ALF import, configure or read."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

import alf
from alf.data_structures import StepType, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.layers import FC
from alf.layers import Branch as LayerBranch
from alf.networks import Branch
from alf.utils import common

NAMES = {
    "alf.algorithms.actor_critic_loss": ["_normalize_advantages"],
    "alf.algorithms.algorithm": ["_get_optimizer_params", "_flatten_module"],
    "alf.algorithms.mcts_algorithm": ["MCTSModel", "ModelOutput"],
    "alf.algorithms.muzero_algorithm": ["MuzeroInfo"],
    "alf.algorithms.ppo_algorithm": ["PPOLoss"],
    "alf.algorithms.sac_algorithm": ["_set_target_entropy"],
    "alf.environments.suite_unittest": ["MixedPolicyUnittestEnv"],
    "alf.layers": ["NestConcat", "NestSum", "NestMultiply", "NestOuterProduct", "identity"],
    "alf.nest": ["Nest", "NestedTensor"],
    "alf.nest.nest": ["Nest", "NestedTensor"],
    "alf.trainers.policy_trainer": ["play"],
    "alf.utils.common": ["zero_tensor_from_nested_spec", "get_observation_spec"],
    "alf.utils.dist_utils": ["TruncatedNormal"],
    "alf.utils.sl_utils": ["classification_loss", "regression_loss"],
}

CONFIGURABLE = {
    "alf.algorithms.rl_algorithm": ["RLAlgorithm.is_eval", "RLAlgorithm.reward_weights"],
    "alf.environments.suite_gym": ["suite_gym.wrap_env.clip_action"],
    "alf.networks.actor_networks": ["ActorNetworkBase.name"],
    "alf.networks.value_networks": ["ValueNetworkBase.name"],
    "alf.networks.q_networks": ["QNetworkBase.name"],
    "alf.nest.utils": ["NestConcat.dim", "NestSum.average", "NestOuterProduct.padding"],
    "alf.tensor_specs": ["TensorSpec.dtype", "BoundedTensorSpec.minimum"],
    "alf.utils.averager": ["WindowAverager.window_size", "ScalarAdaptiveAverager.speed"],
    "alf.utils.common": ["common.get_observation_spec.field"],
    "alf.utils.dist_utils": ["dist_utils.Softclip.low", "estimated_entropy.num_samples"],
    "alf.utils.distributed": ["make_ddp_performer.find_unused_parameters"],
    "alf.utils.normalizers": ["normalizers.Normalizer.unit_std"],
    "alf.utils.summary_utils": [
        "summarize_variables.with_histogram",
        "summarize_gradients.with_histogram",
    ],
    "alf.utils.video_recorder": ["VideoRecorder.last_step_repeats"],
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_they_are_imported_from(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", CONFIGURABLE)
def test_names_are_configurable(module: str) -> None:
    importlib.import_module(module)
    names = alf.get_all_config_names()
    assert [n for n in CONFIGURABLE[module] if not any(x.endswith("." + n) for x in names)] == []


def test_modules_of_environments_are_attributes() -> None:
    code = "import alf.environments; alf.environments.utils.create_environment"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_branches_have_networks() -> None:
    net = FC(2, 1)
    assert LayerBranch(a=net).networks == {"a": net}
    spec = alf.TensorSpec((2,))
    assert set(Branch(a=net, b=net, input_tensor_spec=spec).networks) == {"a", "b"}


def test_zeros_of_one_row() -> None:
    zeros = common.zero_tensor_from_nested_spec({"a": alf.TensorSpec((2,))})
    assert zeros["a"].tolist() == [[0.0, 0.0]]


def test_the_positions_of_episodes_can_be_read_from_a_replay_buffer() -> None:
    spec = TimeStep(step_type=alf.TensorSpec((), torch.int32))
    buffer = ReplayBuffer(spec, 1, max_length=6, keep_episodic_info=True)
    F, M, L = StepType.FIRST, StepType.MID, StepType.LAST
    for kind in (F, M, L, F, M, L, F, M):  # positions 0 to 7, of which 2 to 7 are left
        buffer.add_batch(TimeStep(step_type=torch.tensor([kind], dtype=torch.int32)))
    by_slot = {2: 0, 3: 5, 4: 3, 5: 3, 6: 7, 7: 6}
    assert buffer._indexed_pos[0].tolist() == [by_slot[p] for p in (6, 7, 2, 3, 4, 5)]
    assert buffer._headless_indexed_pos.tolist() == [2]
    assert (int(buffer._current_pos), int(buffer._current_size)) == (8, 6)
