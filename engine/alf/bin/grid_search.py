"""Search over parameters: `python -m alf.bin.grid_search --root_dir=<directory> --conf=<conf file>
--search_config=<json file>`.

Each combination of values is a training of its own in `<root_dir>/<name of the run>`, several at a
time. The same command continues a search that was stopped: what is finished is skipped.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import queue
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

from absl import app, flags, logging

from alf import _gin_files, config_helpers
from alf._conf_files import write_text
from alf.bin import _program, train
from alf.bin._search import Run, Search, as_flag, keep_search, read_search, runs_of
from alf.config_util import save_config_without
from alf.trainers._run_files import (
    ALF_CONFIG_FILE,
    ALF_GIN_FILE,
    conf_params_for,
    get_alf_snapshot_env_vars,
    unzip_alf_snapshot,
)
from alf.utils._child_process import command_environment
from alf.utils._run_lock import run_lock

_STATE_FILE = "search_run.json"
_OUTPUT_FILE = "output.txt"


def define_flags() -> None:
    """Flags of this program."""
    train.define_flags()
    _program.show_in_help(train.__name__)
    flags.DEFINE_string("search_config", None, "json file: parameters, repeats, max_worker_num ...")


def search() -> int:
    """Do what the flags say; the exit status is 1 if a run has failed."""
    values = flags.FLAGS
    if not values.search_config:
        raise ValueError("--search_config is missing: the json file that says what to search")
    wanted = read_search(values.search_config)
    root_dir, conf_file = _program.root_dir_and_conf_file()
    _program.make_writable(root_dir)
    runs = runs_of(wanted)
    with run_lock(root_dir):
        _program.log_to_files(root_dir, "grid_search")
        conf_file = _prepare(root_dir, conf_file, runs[0])
        keep_search(wanted, root_dir)
        with _Workers(wanted, root_dir, conf_file) as workers:
            outcomes = workers.train(runs)
    return _report(runs, outcomes, root_dir, workers.stop_signal)


def _prepare(root_dir: str, conf_file: str, example: Run) -> str:
    """Save the configuration, and a snapshot of the code, that all runs use; returns its conf file.

    Raises what the first run would raise for a wrong name.
    """
    is_gin = conf_file.endswith(".gin")
    saved = os.path.join(root_dir, ALF_GIN_FILE if is_gin else ALF_CONFIG_FILE)
    params = conf_params_for(conf_file)
    flag = [as_flag(n, v, is_gin=is_gin)[1] for n, v in example.parameters.items()]
    try:
        config_helpers.parse_config(conf_file, [*params, *flag], create_env=False)
    finally:
        config_helpers.close_env()
    if is_gin:
        _gin_files.read(pathlib.Path(conf_file), params).save(pathlib.Path(saved))
    else:
        save_config_without(saved, example.parameters)
    if flags.FLAGS.store_snapshot and not os.path.isfile(os.path.join(root_dir, "alf.tar.gz")):
        train.store_snapshot(root_dir, conf_file)
    if os.path.isfile(os.path.join(root_dir, "alf.tar.gz")):
        unzip_alf_snapshot(root_dir)
    return saved


class _Workers:
    """Context in which trainings run in processes of their own, several at a time.

    A signal to stop is passed on to them; they write checkpoints and end.
    """

    def __init__(self, wanted: Search, root_dir: str, conf_file: str) -> None:
        self._root_dir = root_dir
        self._conf_file = conf_file
        self._max_workers = wanted.max_worker_num
        self.stop_signal: int | None = None
        self._processes: set[subprocess.Popen] = set()
        has_snapshot = os.path.isfile(os.path.join(root_dir, "alf.tar.gz"))
        self._environment = get_alf_snapshot_env_vars(root_dir) if has_snapshot else {}
        self._devices: queue.SimpleQueue[str] = queue.SimpleQueue()
        for i in range(wanted.max_worker_num):
            self._devices.put(str(wanted.gpus[i % len(wanted.gpus)]) if wanted.use_gpu else "")

    def __enter__(self) -> _Workers:
        stoppers = (signal.SIGTERM, signal.SIGINT)
        self._previous = {s: signal.signal(s, self._stop) for s in stoppers}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _stop(self, signum: int, _: object) -> None:
        self.stop_signal = signum
        for process in list(self._processes):
            process.send_signal(signal.SIGTERM)

    def train(self, runs: list[Run]) -> list[str]:
        """For each run "" if it is finished, else what was wrong."""
        with concurrent.futures.ThreadPoolExecutor(self._max_workers) as pool:
            futures = {pool.submit(self._train, run): run for run in runs}
            for future in concurrent.futures.as_completed(futures):
                print(f"{futures[future].name}: {future.result() or 'finished'}", flush=True)
        return [future.result() for future in futures]

    def _train(self, run: Run) -> str:
        run_dir = pathlib.Path(self._root_dir, run.name)
        state_file = run_dir / _STATE_FILE
        if _is_finished(state_file):
            return ""
        if self.stop_signal:
            return "not started"
        run_dir.mkdir(exist_ok=True)
        device = self._devices.get()
        start = time.monotonic()
        try:
            status = self._call(run, run_dir, device)
        finally:
            self._devices.put(device)
        state: dict[str, Any] = {
            "parameters": run.parameters,
            "repeat": run.repeat,
            "status": status,
            "seconds": round(time.monotonic() - start, 1),
        }
        write_text(state_file, json.dumps(state, indent=1))
        if not status:
            return ""
        return "stopped" if self.stop_signal else _message(run_dir / _OUTPUT_FILE, status)

    def _call(self, run: Run, run_dir: pathlib.Path, device: str) -> int:
        is_gin = self._conf_file.endswith(".gin")
        command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(run_dir)]
        command += ["--gin_file" if is_gin else "--conf", self._conf_file, "--nostore_snapshot"]
        for name in ("force_torch_deterministic", "distributed"):
            command.append(f"--{name}={flags.FLAGS[name].value}")
        for name, value in run.parameters.items():
            command += as_flag(name, value, is_gin=is_gin)
        logging.info("%s: %s", run.name, shlex.join(command))
        with open(run_dir / _OUTPUT_FILE, "a", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**command_environment(), **self._environment, "CUDA_VISIBLE_DEVICES": device},
                # An interrupt of the terminal reaches it only through this program.
                start_new_session=True,
            )
            self._processes.add(process)
            if self.stop_signal:  # it may have come before the process was known
                process.send_signal(signal.SIGTERM)
            status = process.wait()
            self._processes.discard(process)
        return status


def _is_finished(state_file: pathlib.Path) -> bool:
    if not state_file.is_file():
        return False
    return json.loads(state_file.read_text(encoding="utf-8"))["status"] == 0


def _message(output: pathlib.Path, status: int) -> str:
    """What a failed run has said last."""
    lines = output.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    said = (errors or lines or ["nothing"])[-1]
    return f"failed with exit status {status}: {said}"


def _report(runs: list[Run], outcomes: list[str], root_dir: str, stop_signal: int | None) -> int:
    failed = [
        f"  {run.name}: {outcome}"
        for run, outcome in zip(runs, outcomes, strict=True)
        if outcome.startswith("failed")
    ]
    finished = outcomes.count("")
    curves = shlex.join(["tensorboard", "--logdir", root_dir])
    print(f"{finished} of {len(runs)} runs are finished; curves: {curves}")
    if failed:
        print("\n".join([f"{len(failed)} failed:", *failed]), file=sys.stderr)
    if stop_signal:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 128 + stop_signal
    return 1 if failed else 0


def main() -> None:
    """Entry point."""
    define_flags()
    app.run(lambda _: sys.exit(_program.run(search)))


if __name__ == "__main__":
    main()
