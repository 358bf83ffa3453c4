"""Train: `python -m alf.bin.train --root_dir=<directory> --conf=<conf file>`.

The same command continues a run that was stopped; `--root_dir` alone is then enough.
"""

from __future__ import annotations

import contextlib
import os
import sys

from absl import app, flags, logging

from alf import config_helpers
from alf.algorithms.config import TrainerConfig
from alf.bin import _processes, _program
from alf.trainers._signals import signal_requests
from alf.trainers.policy_trainer import RLTrainer, SLTrainer, Trainer
from alf.utils import common
from alf.utils._child_process import is_command_of_other
from alf.utils._run_lock import run_lock
from alf.utils._waiting import watching
from alf.utils.per_process_context import PerProcessContext

_SECONDS_TO_SAVE = 60.0


def define_flags() -> None:
    """Flags of this program."""
    _program.define_common_flags()
    flags.DEFINE_bool("store_snapshot", True, "Keep a copy of the source of alf in root_dir.")
    flags.DEFINE_enum(
        "distributed",
        "none",
        ["none", "multi-gpu"],
        "multi-gpu: several processes share the work; those torchrun has started, on one or "
        "several machines, otherwise one for each GPU.",
    )


def train() -> int:
    """Do what the flags say and return the exit status: 128 + signal after a requested stop."""
    if flags.FLAGS.distributed == "none":
        _processes.refuse_torchrun()
        return train_in_this_process()
    return _processes.run(train_in_this_process, define_flags)


def train_in_this_process() -> int:
    """As `train()`, for one process of those that train together."""
    rank = PerProcessContext().ddp_rank
    root_dir, conf_file = _program.root_dir_and_conf_file()
    _program.make_writable(root_dir)
    # A search that was killed leaves runs which are about to write their last checkpoint.
    patience = _SECONDS_TO_SAVE if is_command_of_other() else 0.0
    lock = run_lock(root_dir, patience) if rank <= 0 else contextlib.nullcontext()
    with signal_requests() as requests, lock, watching() as watch:
        watch.stop_request = requests.stop_request
        _program.log_to_files(root_dir, "py_train" if rank <= 0 else f"py_train_rank{rank}")
        _program.set_up_torch()
        if flags.FLAGS.store_snapshot and rank <= 0:
            store_snapshot(root_dir, conf_file)
        try:
            common.parse_conf_file(conf_file)
            trainer = create_trainer(TrainerConfig(root_dir=root_dir, conf_file=conf_file))
            trainer.train()
        finally:
            config_helpers.close_env()
    return 0 if trainer.stop_signal is None else 128 + trainer.stop_signal


def create_trainer(config: TrainerConfig) -> Trainer:
    """The trainer for `config.ml_type`."""
    trainers = {"rl": RLTrainer, "sl": SLTrainer}
    if config.ml_type not in trainers:
        raise ValueError(f"TrainerConfig.ml_type is {config.ml_type!r}; allowed: 'rl', 'sl'")
    rank = PerProcessContext().ddp_rank
    if rank < 0:
        return trainers[config.ml_type](config)
    if config.ml_type != "rl":
        raise ValueError(
            f"TrainerConfig.ml_type={config.ml_type!r} trains in one process; --distributed must "
            "be none"
        )
    return RLTrainer(config, rank)


def store_snapshot(root_dir: str, conf_file: str) -> None:
    """Keep a copy of the source of alf in the root directory, if that does not lie inside it."""
    source = common.alf_root()
    if os.path.commonpath([os.path.abspath(source), root_dir]) == os.path.abspath(source):
        logging.info("no snapshot of %s is stored: root_dir lies inside it", source)
        return
    common.generate_alf_snapshot(source, conf_file, root_dir)


def main() -> None:
    """Entry point."""
    define_flags()
    app.run(lambda _: sys.exit(_program.run(train)))


if __name__ == "__main__":
    main()
