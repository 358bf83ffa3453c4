"""Verify checkpoints: `python -m alf.bin.verify_checkpoint --conf=<conf file>`.

Trains a little, saves, loads in a fresh process, and compares what both do with the same inputs. A
difference means that the algorithm keeps something which its checkpoints do not hold.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing as mp
import os
import sys
import tempfile
from typing import Any, NamedTuple

import torch
from absl import app, flags, logging

from alf import config_helpers
from alf.algorithms.config import TrainerConfig
from alf.bin import _program, train
from alf.config_util import config
from alf.environments.utils import create_environment
from alf.nest import nest
from alf.trainers._player import create_player
from alf.trainers._run_files import conf_params_for
from alf.trainers.evaluator import play_steps, untouched_training
from alf.utils import dist_utils
from alf.utils._child_process import Parent, end_with
from alf.utils.checkpoint_utils import Checkpointer, model_state
from alf.utils.seeds import set_random_seed

_SEED = 0


class Behaviour(NamedTuple):
    """What an algorithm is and does.

    Attributes:
        state: its state as a checkpoint's model file holds it.
        outputs: for each step the tensors of action, state and info.
    """

    state: dict[str, Any]
    outputs: list[list[torch.Tensor]]


def define_flags() -> None:
    """Flags of this program."""
    _program.define_common_flags()
    flags.DEFINE_integer("num_iterations", 5, "Iterations of the training.", lower_bound=1)
    flags.DEFINE_integer("num_steps", 20, "Number of steps to compare.", lower_bound=1)


def verify() -> int:
    """Do what the flags say; the exit status is 1 if there is a difference."""
    values = flags.FLAGS
    with tempfile.TemporaryDirectory() as directory:
        if not values.root_dir:
            values.root_dir = directory
        elif os.path.isdir(os.path.join(values.root_dir, "train")):
            raise ValueError(
                f"--root_dir={values.root_dir} holds a run; allowed: an empty directory, or none"
            )
        root_dir, conf_file = _program.root_dir_and_conf_file()
        _program.set_up_torch()
        params = conf_params_for(conf_file)
        trained = _trained(root_dir, conf_file, params)
        spawn = mp.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(
            1, mp_context=spawn, initializer=end_with, initargs=(Parent.here(),)
        ) as pool:
            job = pool.submit(_restored, root_dir, conf_file, params, values.num_steps)
            restored = job.result()
    return _report(trained, restored)


def _trained(root_dir: str, conf_file: str, params: list[str]) -> Behaviour:
    """Train from the conf file, leaving a checkpoint."""
    logging.set_verbosity(logging.ERROR)  # what is fixed here need not be said
    config(
        {
            "TrainerConfig.num_iterations": flags.FLAGS.num_iterations,
            "TrainerConfig.num_env_steps": 0,
            "TrainerConfig.num_checkpoints": 1,
            "TrainerConfig.evaluate": False,
        },
        mutable=False,
    )
    try:
        config_helpers.parse_config(conf_file, params)
        trainer = train.create_trainer(TrainerConfig(root_dir=root_dir, conf_file=conf_file))
        trainer.train()
        algorithm = trainer._algorithm
    finally:
        config_helpers.close_env()
    return _behaviour(algorithm, flags.FLAGS.num_steps)


def _restored(root_dir: str, conf_file: str, params: list[str], num_steps: int) -> Behaviour:
    """The same from the checkpoint, in a process that knows nothing of the training."""
    logging.set_verbosity(logging.ERROR)
    _program.set_up_torch()
    try:
        config_helpers.parse_config(conf_file, params)
        trainer_config = TrainerConfig(root_dir=root_dir, conf_file=conf_file)
        algorithm = create_player(trainer_config, config_helpers.get_env())
    finally:
        config_helpers.close_env()
    Checkpointer(os.path.join(root_dir, "train", "algorithm"), algorithm=algorithm).load(
        including_optimizer=False, including_replay_buffer=False
    )
    return _behaviour(algorithm, num_steps)


@torch.no_grad()
def _behaviour(algorithm: Any, num_steps: int) -> Behaviour:
    """Play with a fixed seed in a new environment."""
    env = create_environment(for_evaluation=True, num_parallel_environments=2, seed=_SEED)
    outputs = []
    try:
        with untouched_training(algorithm):
            set_random_seed(_SEED)
            for _, step in play_steps(env, algorithm):
                tensors = nest.flatten(dist_utils.distributions_to_params(step))
                outputs.append([x.cpu() for x in tensors if isinstance(x, torch.Tensor)])
                if len(outputs) == num_steps:
                    break
    finally:
        env.close()
    state = model_state(algorithm)
    state = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
    return Behaviour(state, outputs)


def _report(trained: Behaviour, restored: Behaviour) -> int:
    names = trained.state.keys() | restored.state.keys()
    different = sorted(n for n in names if not _same(trained.state.get(n), restored.state.get(n)))
    steps = [
        i
        for i, pair in enumerate(zip(trained.outputs, restored.outputs, strict=True))
        if not all(torch.allclose(*x, equal_nan=True) for x in zip(*pair, strict=True))
    ]
    if different:
        print(f"differ after loading: {', '.join(different)}", file=sys.stderr)
    if steps:
        print(
            f"the restored algorithm acts otherwise from step {steps[0]} on ({len(steps)} of "
            f"{len(trained.outputs)} steps): it depends on something that is in no checkpoint",
            file=sys.stderr,
        )
    if different or steps:
        return 1
    print(f"the same: {len(names)} entries of the state, {len(trained.outputs)} steps")
    return 0


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    return type(a) is type(b) and a == b


def main() -> None:
    """Entry point."""
    define_flags()
    app.run(lambda _: sys.exit(_program.run(verify)))


if __name__ == "__main__":
    main()
