"""What the programs share: flags, the conf file, logging, and one clear message at an error."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import textwrap
import traceback
import types
from collections.abc import Callable

import torch
from absl import flags, logging

from alf.config_util import find_conf_file, origin_of
from alf.device_ctx import set_default_device
from alf.trainers._run_files import ALF_CONFIG_FILE, get_conf_file
from alf.utils._checkpoint_archive import FULL_DISK
from alf.utils._child_process import end_with_other_command

_EXPECTED_ERRORS = (ValueError, TypeError, OSError, KeyError)
_LONGEST_LINE = 290
_MOST_LINES = 24
_CONF_MODULE_PREFIX = "_alf_conf_"
# Of glibc's mallopt(3). 32 MiB is the largest threshold that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 2**25


def define_common_flags() -> None:
    """Flags of all programs; `--help` shows them for the program that is started."""
    flags.DEFINE_string(
        "root_dir",
        os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR"),
        "Directory of the run: checkpoints, logs and the configuration.",
    )
    flags.DEFINE_string(
        "conf",
        None,
        "Conf file: a path, or the name of one of an installed package, such as "
        "sac_over_sac_maze2d. Without it <root_dir>/alf_config.py is used.",
    )
    flags.DEFINE_multi_string(
        "conf_param",
        None,
        "NAME=VALUE, a literal or a name; overrides the conf file. May be repeated.",
    )
    flags.DEFINE_string("gin_file", None, "Gin file, in place of --conf.")
    flags.DEFINE_multi_string(
        "gin_param", None, "NAME = gin value; overrides the gin file. May be repeated."
    )
    flags.DEFINE_bool(
        "force_torch_deterministic",
        True,
        "With a random seed, use only deterministic algorithms of torch.",
    )
    show_in_help(__name__)


def show_in_help(module: str) -> None:
    """Declares the flags of another module as key flags of `__main__`, which `--help` lists."""
    values = flags.FLAGS
    for flag in values.get_flags_for_module(module):
        values.register_key_flag_for_module(sys.argv[0], flag)


def root_dir_and_conf_file() -> tuple[str, str]:
    """The two as absolute paths, from the flags.

    Raises ValueError for a flag that is missing or contradicts another one, FileNotFoundError
    without conf file.
    """
    values = flags.FLAGS
    if values.conf and values.gin_file:
        raise ValueError(
            f"--conf={values.conf} and --gin_file={values.gin_file}: only one can be given"
        )
    if not values.root_dir:
        raise ValueError("--root_dir is missing: the directory where the run is kept")
    root_dir = os.path.abspath(os.path.expanduser(values.root_dir))
    conf_file = get_conf_file(root_dir)
    if conf_file is None:
        raise FileNotFoundError(
            f"there is no {os.path.join(root_dir, ALF_CONFIG_FILE)}: --root_dir alone works "
            "for a run that was started before; name the conf file with --conf or --gin_file"
        )
    return root_dir, find_conf_file(conf_file)


def set_up_torch() -> None:
    """Use the GPU if there is one, and as many threads as ALF_NUM_THREADS says; keep memory."""
    _keep_freed_memory()
    if torch.cuda.is_available():
        set_default_device("cuda")
    threads = os.environ.get("ALF_NUM_THREADS")
    if threads is not None:
        if not threads.isdigit() or int(threads) < 1:
            raise ValueError(f"environment variable ALF_NUM_THREADS is {threads!r}, not 1, 2, ...")
        torch.set_num_threads(int(threads))


def _keep_freed_memory() -> None:
    """Tell the C library, if it is glibc, to use freed memory again instead of returning it.

    An update frees tensors of a few megabytes and asks for the same ones the next time; to get
    their pages from the system, zeroed, takes a tenth of it. Environment variables MALLOC_... hold.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def make_writable(root_dir: str) -> None:
    """Create the directory if need be.

    Raises OSError naming it where nothing can be written there.
    """
    probe = os.path.join(root_dir, f".write_test_{os.getpid()}")
    try:
        os.makedirs(root_dir, exist_ok=True)
        with open(probe, "w"):
            os.unlink(probe)
    except OSError as error:
        raise type(error)(
            f"--root_dir={root_dir} cannot be written to ({error.strerror}); allowed is a "
            "directory that you may create or write to"
        ) from error


def log_to_files(root_dir: str, program: str) -> None:
    """Everything from INFO on goes to `<root_dir>/<program>.INFO`, warnings to stderr too."""
    logging.set_verbosity(logging.INFO)
    if not flags.FLAGS["stderrthreshold"].present:
        logging.set_stderrthreshold("warning")
    logging.get_absl_handler().use_absl_log_file(program, root_dir)


def run(program: Callable[[], int]) -> int:
    """Run a program and return its exit status; an error ends with one line that explains it.

    The traceback goes to the log file; to stderr too if ALF_TRACEBACK=1 or the error is none that
    a user is expected to make.
    """
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # until there is a log file
    end_with_other_command()
    try:
        return program()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        trace = traceback.format_exc()
        logging.info("the program ends with an error\n%s", trace)
        if os.environ.get("ALF_TRACEBACK") == "1" or not isinstance(error, _EXPECTED_ERRORS):
            print(trace, file=sys.stderr)
        print(on_one_screen(f"error: {_message(error)}"), file=sys.stderr, flush=True)
        return 1


def on_one_screen(text: str) -> str:
    """A message in lines of less than 300 characters, at most 24 of them.

    Of a longer one the middle is left out; the whole of it is in the log file.
    """
    # A path stays whole, so that it can be copied.
    wrap = functools.partial(
        textwrap.wrap, width=_LONGEST_LINE, subsequent_indent="  ", break_on_hyphens=False
    )
    lines = [part for line in text.splitlines() for part in wrap(line) or [""]]
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        left_out = len(lines) - 2 * half + 1
        middle = f"... ({left_out} more lines: see the log file, or set ALF_TRACEBACK=1)"
        lines = [*lines[:half], middle, *lines[1 - half :]]
    return "\n".join(lines)


def _message(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno is not None:
        text = f"{error.strerror}: {error.filename!r}" if error.filename else f"{error.strerror}"
        if error.errno in FULL_DISK and "full" not in text:
            text += f"; the disk is full (--root_dir={flags.FLAGS.root_dir})"
    if not isinstance(error, (ValueError, OSError)) or not text:
        text = f"{type(error).__name__}: {text}"
    origin = origin_of(error)
    if origin:
        text = f"{text} [{origin}]"
    place = _place_in_conf(error.__traceback__)
    return f"{place}: {text}" if place else text


def _place_in_conf(trace: types.TracebackType | None) -> str | None:
    """file:line of the innermost conf file frame the error passed through, if any."""
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(trace)
        if frame.f_globals.get("__name__", "").startswith(_CONF_MODULE_PREFIX)
    ]
    return places[-1] if places else None
