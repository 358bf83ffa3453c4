"""Every configuration of `alf_configs` in smoke form: all of its mechanisms, small, in seconds.

Runs go on in this process. Where a configuration's environment is another package's, a batch of
points that are pushed about stands for it: of the same specs, and with a state that can be saved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import alf
import alf.algorithms.mcts_models  # what these define is configured below
import alf.algorithms.muzero_algorithm
import alf.networks.q_networks
import alf.networks.value_networks
import alf_layered.hierarchy.agent
import alf_layered.networks.prob_dynamics  # noqa: F401
from alf.algorithms.config import TrainerConfig
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.trainers._play import Episode, play_episodes
from alf.trainers._player import create_player
from alf.trainers.policy_trainer import RLTrainer
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.schedulers import get_all_progresses, update_all_progresses
from alf_layered import MPPI, OnPolicyOptions, TDMPC2Settings, model_of_size
from alf_layered.environments.batched_environment import BatchedEnvironment, Outcome

REPOSITORY = Path(__file__).parents[2]
CONFIGURATIONS = tuple(
    sorted(path.name[: -len("_conf.py")] for path in REPOSITORY.glob("alf_configs/*_conf.py"))
)

_SMALL: dict[str, Any] = {
    "create_simple_encoding_net.layers": (16,),
    "create_simple_encoding_net.latent_size": 8,
    "create_simple_dynamics_net.layers": (16,),
    "create_simple_prediction_net.layers": (16,),
    "create_environment.num_parallel_environments": 4,
    "TrainerConfig.evaluate": False,
    "TrainerConfig.num_env_steps": 0,
    "TrainerConfig.num_checkpoints": 1,
    "TrainerConfig.unroll_length": 4,
    "TrainerConfig.random_seed": 3,
}
_MUZERO: dict[str, Any] = {
    "TrainerConfig.mini_batch_size": 8,
    "TrainerConfig.num_updates_per_train_iter": 1,
    "TrainerConfig.initial_collect_steps": 16,
}
_OF_ONE: dict[str, dict[str, Any]] = {
    "muzero_cartpole": _MUZERO,
    "muzero_pendulum": _MUZERO,
}

# Arguments of networks and of MuZero's search
_PARTS: dict[str, Any] = {
    "fc_layer_params": (16,),
    "joint_fc_layer_params": (16,),
    "num_simulations": 4,
    "num_sampled_actions": 4,
}

# Observation size, and size of a continuous action or (negative) number of discrete ones.
_POINTS: dict[str, tuple[int, int]] = {
    "muzero_cartpole": (4, -2),
    "muzero_pendulum": (3, 1),
    "planner_inverted_pendulum": (4, 1),
    "sac_pendulum": (3, 1),
    "splates_ant": (29, 8),
    "tdmpc2_dm_control": (24, 6),
    "tdmpc2_inverted_pendulum": (4, 1),
    "tdmpc2_pendulum": (3, 1),
}


class PointEnvironment(BatchedEnvironment):
    """B points that actions push about; an episode ends after 7 steps, or far out."""

    def __init__(self, batch_size: int, size: int, actions: int) -> None:
        if actions > 0:
            spec = BoundedTensorSpec((actions,), minimum=-1.0, maximum=1.0)
        else:
            spec = BoundedTensorSpec((), torch.int64, minimum=0, maximum=-actions - 1)
        super().__init__(
            batch_size=batch_size,
            observation_spec=TensorSpec((size,)),
            action_spec=spec,
            env_info_keys=(),
        )
        self._generator = torch.Generator().manual_seed(1)
        self._place = torch.zeros(batch_size, size)
        self._steps = torch.zeros(batch_size, dtype=torch.int64)

    def seed(self, seed: Any) -> None:
        self._generator.manual_seed(int(torch.as_tensor(seed).flatten()[0]))

    def _begin(self) -> Tensor:
        self._place, self._steps = self._new(), torch.zeros_like(self._steps)
        return self._place

    def _new(self) -> Tensor:
        return torch.rand(self._place.shape, generator=self._generator) - 0.5

    def _advance(self, action: Any, restart: Tensor) -> Outcome:
        push = action.float().reshape(len(restart), -1).mean(1, keepdim=True)
        moved = 0.9 * self._place + 0.2 * push
        self._place = torch.where(restart[:, None], self._new(), moved)
        self._steps = torch.where(restart, 0, self._steps + 1)
        return Outcome(
            observation=self._place,
            reward=-self._place.square().mean(1),
            terminated=self._place.abs().mean(1) > 1.5,
            truncated=self._steps >= 7,
            env_info={},
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        own = {"place": self._place, "steps": self._steps, "rng": self._generator.get_state()}
        return {**self._running_state(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo of `state_dict`."""
        self._set_running_state(state)
        self._place, self._steps = state["place"].clone(), state["steps"].clone()
        self._generator.set_state(state["rng"])


def fresh() -> None:
    """As a new process: nothing configured, no environment, iteration 0."""
    alf.close_env()
    alf.reset_configs()
    summary.reset_global_counter()
    update_all_progresses(dict.fromkeys(get_all_progresses(), 0.0))
    torch.use_deterministic_algorithms(False)


def trainer_of(
    name: str,
    root_dir: Path,
    num_iterations: int,
    more: Mapping[str, Any] | None = None,
    *,
    warm_up: int = 6,
) -> RLTrainer:
    """A trainer of `alf_configs/<name>_conf.py` in smoke form, of a process of its own as it were.

    Args:
        name: of the configuration.
        root_dir: of the run.
        num_iterations: of 4 environments, 4 steps each.
        more: further settings, as with `--conf_param`.
        warm_up: own transitions of each level before its first update.
    """
    _configure(name, num_iterations, more or {}, warm_up)
    return RLTrainer(TrainerConfig(root_dir=str(root_dir)))


def play(name: str, root_dir: Path, more: Mapping[str, Any] | None = None) -> list[Episode]:
    """Four episodes of what a run of `trainer_of` with the same settings has saved last."""
    _configure(name, 1, more or {}, warm_up=6)
    env = alf.get_env()
    player = create_player(TrainerConfig(root_dir=str(root_dir)), env)
    Checkpointer(str(root_dir / "train" / "algorithm"), algorithm=player).load(
        "latest", including_optimizer=False, including_replay_buffer=False
    )
    return play_episodes(env, player, 4)


def _configure(name: str, num_iterations: int, more: Mapping[str, Any], warm_up: int) -> None:
    """Parses the configuration in smoke form and makes its environment."""
    fresh()
    settings = {**_SMALL, **_OF_ONE.get(name, {}), "TrainerConfig.num_iterations": num_iterations}
    settings |= more
    if name in _POINTS:

        def load(environment_name: str, env_id: Any = None, batch_size: int = 1) -> Any:
            return PointEnvironment(batch_size, *_POINTS[name])

        load.batched = True  # type: ignore[attr-defined]
        alf.pre_config({"create_environment.env_load_fn": load})
    alf.pre_config(settings)
    conf_file = str(REPOSITORY / "alf_configs" / f"{name}_conf.py")
    alf.parse_config(conf_file, [], create_env=False)
    _shrink_levels(warm_up)
    for level in alf.get_config_value("HierarchyAgent.levels") or ():
        _shrink_parts(level)
    _shrink_parts(alf.get_config_value("TrainerConfig.algorithm_ctor"))
    alf.get_env()


def _shrink_levels(warm_up: int) -> None:
    """Small batches, warm-ups and world models for each level of a hierarchy."""
    for level in alf.get_config_value("HierarchyAgent.levels") or ():
        options = level.keywords.get("training")
        if isinstance(options, OnPolicyOptions):
            options = OnPolicyOptions(transitions=2 * warm_up, epochs=2, mini_batch_size=4)
        elif options is not None:
            options = dataclasses.replace(
                options,
                warm_up=warm_up,
                mini_batch_size=8,
                updates_per_transition=min(options.updates_per_transition, 0.25),
                replay_buffer_length=min(options.replay_buffer_length, 100),
            )
        if options is not None:
            level.keywords["training"] = options
        for keywords in (
            level.keywords,
            getattr(level.keywords.get("algorithm_ctor"), "keywords", {}),
        ):
            if isinstance(keywords.get("settings"), TDMPC2Settings):
                keywords["settings"] = _small_model(keywords["settings"])


def _shrink_parts(constructor: Any) -> None:
    """Small networks and a short search, wherever they are in a constructor's arguments."""
    if isinstance(constructor, partial):
        constructor.keywords.update({k: v for k, v in _PARTS.items() if k in constructor.keywords})
        for value in constructor.keywords.values():
            _shrink_parts(value)


def _small_model(settings: TDMPC2Settings) -> TDMPC2Settings:
    small = model_of_size("small")
    model = dataclasses.replace(small, terminates=settings.model.terminates, mlp_dim=16)
    mppi = MPPI(n_samples=16, n_iterations=2, elite_ratio=0.25)
    planning = dataclasses.replace(settings.planning, mppi=mppi, n_policy_plans=4)
    return dataclasses.replace(settings, model=model, planning=planning)
