"""Play: `python -m alf.bin.play --root_dir=<directory of a run>`."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

from absl import app, flags, logging

from alf import config_helpers
from alf.algorithms.config import TrainerConfig
from alf.bin import _program
from alf.config_util import config
from alf.environments.utils import create_environment  # noqa: F401 (configured below)
from alf.summary import render
from alf.trainers._checkpoint_keeping import best_step
from alf.trainers._play import load_player, show_episodes
from alf.trainers._player import create_player
from alf.utils import common
from alf.utils._child_process import command_environment
from alf.utils.checkpoint_utils import Checkpointer


def define_flags() -> None:
    """Flags of this program."""
    _program.define_common_flags()
    flags.DEFINE_integer("checkpoint_step", None, "Which checkpoint; the newest if not given.")
    flags.DEFINE_bool(
        "best_checkpoint", False, "Play the one kept by TrainerConfig.best_checkpoint_metric."
    )
    flags.DEFINE_integer("random_seed", None, "Seed of environment and policy.")
    flags.DEFINE_integer("num_episodes", 10, "Number of episodes.", lower_bound=1)
    flags.DEFINE_float("sleep_time_per_step", 0.01, "Seconds between steps in a window.")
    flags.DEFINE_string("record_file", None, "mp4 file to write.")
    flags.DEFINE_integer("last_step_repeats", 0, "Repeats of an episode's last frame.")
    flags.DEFINE_integer("append_blank_frames", 0, "Black frames after each episode.")
    flags.DEFINE_bool("render", True, "Show a window, where there is a display.")
    flags.DEFINE_list("ignored_parameter_prefixes", [], "Parameters that are not loaded.")
    flags.DEFINE_bool("use_alf_snapshot", False, "Play with the code that was trained with.")
    flags.DEFINE_integer(
        "parallel_play",
        1,
        "Number of environments that play at the same time; above 1 nothing is shown.",
        lower_bound=1,
    )
    flags.DEFINE_string("result_file", None, "json file to write what came out to.")
    flags.DEFINE_bool("alg_render", False, "Record what the algorithm draws, beside the frames.")
    flags.DEFINE_bool(
        "selective_mode",
        False,
        "Record only failures, or what wants_episode.criterion, configured, chooses.",
    )


def play() -> int:
    """Do what the flags say and return the exit status."""
    values = flags.FLAGS
    _check_flags()
    root_dir, conf_file = _program.root_dir_and_conf_file()
    if values.use_alf_snapshot:
        return _play_with_snapshot(root_dir)
    checkpoint_dir = os.path.join(root_dir, "train", "algorithm")
    if not Checkpointer(checkpoint_dir).has_checkpoint():
        raise FileNotFoundError(f"there is no checkpoint in {checkpoint_dir}: train first")
    _program.set_up_torch()
    # What is set here as not mutable wins over the conf file.
    config(
        {
            "create_environment.for_evaluation": True,
            "create_environment.num_parallel_environments": values.parallel_play,
            "create_environment.nonparallel": values.parallel_play == 1,
            "TrainerConfig.random_seed": values.random_seed,
        },
        mutable=False,
    )
    try:
        _parse_config_quietly(conf_file)
        _play(TrainerConfig(root_dir=root_dir, conf_file=conf_file), checkpoint_dir)
    finally:
        config_helpers.close_env()
    return 0


def _check_flags() -> None:
    values = flags.FLAGS
    if values.selective_mode and not values.record_file:
        raise ValueError("--selective_mode chooses what is recorded; give --record_file=<file>.mp4")
    if values.record_file and values.parallel_play > 1:
        raise ValueError(
            f"--record_file shows one environment, but --parallel_play={values.parallel_play}"
        )
    if values.alg_render and not values.record_file:
        raise ValueError("--alg_render draws into the recording; give --record_file=<file>.mp4")


def _play_with_snapshot(root_dir: str) -> int:
    """The same in another process, which finds the packages of the snapshot first."""
    common.unzip_alf_snapshot(root_dir)
    command = [sys.executable, "-m", "alf.bin.play", *sys.argv[1:], "--nouse_alf_snapshot"]
    environment = {**command_environment(), **common.get_alf_snapshot_env_vars(root_dir)}
    return subprocess.run(command, env=environment).returncode


def _parse_config_quietly(conf_file: str) -> None:
    """Without a warning for each setting of the training that is not the one to play with."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        common.parse_conf_file(conf_file)
    finally:
        logging.set_verbosity(verbosity)


def _play(trainer_config: TrainerConfig, checkpoint_dir: str) -> None:
    values = flags.FLAGS
    env = config_helpers.get_env()
    render.enable_rendering(values.alg_render)
    step = "latest" if values.checkpoint_step is None else values.checkpoint_step
    if values.best_checkpoint:
        step = best_step(checkpoint_dir)
    algorithm = create_player(trainer_config, env)
    step = load_player(checkpoint_dir, algorithm, step, values.ignored_parameter_prefixes)
    episodes = show_episodes(
        env,
        algorithm,
        values.num_episodes,
        sleep_time_per_step=values.sleep_time_per_step,
        record_file=values.record_file,
        last_step_repeats=values.last_step_repeats,
        append_blank_frames=values.append_blank_frames,
        render=values.render and values.parallel_play == 1,
        render_algorithm=values.alg_render,
        selective_mode=values.selective_mode,
    )
    if values.result_file:
        content = {"checkpoint": step, "episodes": [e._asdict() for e in episodes]}
        pathlib.Path(values.result_file).write_text(json.dumps(content, indent=1))


def main() -> None:
    """Entry point."""
    define_flags()
    app.run(lambda _: sys.exit(_program.run(play)))


if __name__ == "__main__":
    main()
