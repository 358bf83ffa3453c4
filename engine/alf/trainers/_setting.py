"""What a run is made of, written down when it starts: settings, optimizers, code, modules."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import torch
from absl import logging
from torch import nn

from alf.algorithms.config import TrainerConfig
from alf.nest import nest
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.trainers._recorded_run import summarize_config
from alf.trainers._run_files import alf_root
from alf.utils import summary_utils


class Setting:
    """The setting of one training.

    Args:
        config: its configuration.
        algorithm: what is trained.
        root_dir: where drawings go.
    """

    def __init__(self, config: TrainerConfig, algorithm: Any, root_dir: str) -> None:
        self._config = config
        self._algorithm = algorithm
        self._root_dir = root_dir

    def write_start(self) -> None:
        """Write how the run was started, and what it will do with its modules."""
        config = self._config
        if config.enable_amp and not torch.cuda.is_available():
            logging.warning(
                "TrainerConfig.enable_amp=True changes nothing: there is no CUDA device"
            )
        if config.visualize_alf_tree:
            _graphviz()  # now, not after hours
        with summary.record_if(lambda: True):
            summary.text("commandline", shlex.join(sys.argv))
            summary.text("seed", str(config.random_seed))
            for path in config.code_snapshots or ():
                with open(_source(path), encoding="utf-8") as file:
                    summary.text(f"code/{path}", f"```\n{file.read()}\n```")

    def write_complete(self) -> None:
        """Once something was trained: what is made lazily is there, its settings count as used."""
        summarize_config()
        algorithm = self._algorithm
        with summary.record_if(lambda: True):
            summary.text("optimizers", f"```\n{algorithm.get_optimizer_info()}\n```")
            unoptimized = algorithm.get_unoptimized_parameter_info()
            summary.text("unoptimized_parameters", f"```\n{unoptimized}\n```")
        if self._config.visualize_alf_tree:
            draw_modules(algorithm, os.path.join(self._root_dir, "alf_tree"))

    @contextlib.contextmanager
    def output_summaries(self) -> Iterator[None]:
        """Context in which networks write their outputs, if that is asked for."""
        before = summary.should_summarize_output()
        summary.should_summarize_output(self._config.summarize_output)
        handles = []
        if self._config.summarize_output:
            for name, module in self._algorithm.named_modules():
                if isinstance(module, Network):
                    handles.append(module.register_forward_hook(_OutputSummary(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            summary.should_summarize_output(before)


class _OutputSummary:
    """Writes the output of a network, when it is called while summaries are recorded."""

    def __init__(self, name: str) -> None:
        self._name = "output/" + name.replace(".", "/")

    def __call__(self, module: nn.Module, inputs: Any, result: Any) -> None:
        if not summary.should_record_summaries():
            return
        output = result[0] if isinstance(result, tuple) else result
        leaves = nest.flatten(output)
        for i, leaf in enumerate(leaves):
            name = self._name if len(leaves) == 1 else f"{self._name}/{i}"
            if isinstance(leaf, torch.Tensor):
                summary_utils.add_mean_hist_summary(name, leaf)
            else:
                summary_utils.summarize_distribution(name, leaf)


def _source(path: str) -> str:
    """A source file named relative to the package `alf`."""
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else os.path.join(alf_root(), "alf", path)


def draw_modules(root: nn.Module, path: str) -> None:
    """Draw the tree of modules: `<path>.gv` as text, and `<path>.gv.pdf` if `dot` is installed.

    Raises:
        ValueError: the package graphviz is not installed.
    """
    graphviz = _graphviz()
    graph = graphviz.Digraph(type(root).__name__, graph_attr={"rankdir": "LR"})
    for name, module in root.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        label = f"{name.rpartition('.')[2] or 'root'}: {type(module).__name__}"
        graph.node(name or "root", f"{label}\n{own:,} parameters" if own else label)
        if name:
            graph.edge(name.rpartition(".")[0] or "root", name)
    source = graph.save(path + ".gv")
    try:
        graph.render(path + ".gv")
    except graphviz.ExecutableNotFound:
        logging.warning("%s is not drawn: the program dot of graphviz is not installed", source)


def _graphviz() -> Any:
    try:
        return importlib.import_module("graphviz")
    except ImportError as error:
        raise ValueError(
            "TrainerConfig.visualize_alf_tree=True needs the package graphviz (pip install "
            "graphviz)"
        ) from error
