"""Algorithms made of others: several side by side, a sequence, a feedback loop, an RL wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.layers._compose import split_element
from alf.nest.utils import get_nested_field
from alf.networks import Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import add_ignore_empty

__all__ = [
    "AlgStep",
    "AlgorithmContainer",
    "EchoAlg",
    "LossInfo",
    "RLAlgWrapper",
    "SequentialAlg",
    "TimeStep",
]

Nest = Any


class AlgorithmContainer(Algorithm):
    """Base of algorithms that consist of others.

    Its info is a dict with that of each algorithm under its name. Where the info of one is (), it
    takes no part in loss and updates.

    Args:
        algs: name and algorithm.
        train_state_spec: see `Algorithm`.
        rollout_state_spec: see `Algorithm`.
        predict_state_spec: see `Algorithm`.
        is_on_policy: None: what its algorithms are, not decided if none of them is decided.
        debug_summaries: write more summaries.
        name: name of the algorithm.
    """

    def __init__(
        self,
        algs: Mapping[str, Algorithm],
        train_state_spec: Nest,
        rollout_state_spec: Nest,
        predict_state_spec: Nest,
        is_on_policy: bool | None,
        debug_summaries: bool,
        name: str,
    ) -> None:
        decided = {alg.on_policy for alg in algs.values()} | {is_on_policy}
        decided.discard(None)
        if len(decided) > 1:
            kinds = {key: alg.on_policy for key, alg in algs.items()}
            raise ValueError(
                f"{name}: is_on_policy is {is_on_policy}, and on_policy of its algorithms {kinds}; "
                "all that are not None must be the same"
            )
        super().__init__(
            train_state_spec=train_state_spec,
            rollout_state_spec=rollout_state_spec,
            predict_state_spec=predict_state_spec,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._algs = nn.ModuleDict(dict(algs))
        for kind in decided:
            self.set_on_policy(bool(kind))

    def _named_algs(self) -> list[tuple[str, Any]]:
        return list(self._algs.items())

    def set_on_policy(self, is_on_policy: bool) -> None:
        super().set_on_policy(is_on_policy)
        for _, alg in self._named_algs():
            alg.set_on_policy(is_on_policy)

    def set_path(self, path: str) -> None:
        super().set_path(path)
        prefix = f"{path}." if path else ""
        for name, alg in self._named_algs():
            alg.set_path(prefix + name)

    def calc_loss(self, info: Nest) -> LossInfo:
        """The sum of the losses; `extra` has each one's under its name."""
        loss, scalar_loss, priority = (), (), ()
        extra = {}
        for name, alg in self._named_algs():
            if _is_nothing(info[name]):
                continue
            part = alg.calc_loss(info[name])
            loss = add_ignore_empty(loss, part.loss)
            scalar_loss = add_ignore_empty(scalar_loss, part.scalar_loss)
            if not _is_nothing(part.priority):
                if not _is_nothing(priority):
                    raise ValueError(
                        f"{self._name}: several algorithms give priorities, e.g. {name}"
                    )
                priority = part.priority
            extra[name] = part.extra
        return LossInfo(loss=loss, scalar_loss=scalar_loss, extra=extra, priority=priority)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        for name, alg in self._named_algs():
            if not _is_nothing(info[name]):
                alg.after_update(root_inputs, info[name])

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        for name, alg in self._named_algs():
            alg.after_train_iter(root_inputs, None if rollout_info is None else rollout_info[name])

    def preprocess_experience(
        self, root_inputs: Nest, rollout_info: Nest, batch_info: Any
    ) -> tuple[Nest, Nest]:
        """Each algorithm in turn may change the inputs, and its own info."""
        infos = {}
        for name, alg in self._named_algs():
            root_inputs, infos[name] = alg.preprocess_experience(
                root_inputs, rollout_info[name], batch_info
            )
        return root_inputs, infos


def _is_nothing(nested: Nest) -> bool:
    return isinstance(nested, tuple) and len(nested) == 0


@configurable
def SequentialAlg(
    *modules: Any,
    output: Any = "",
    is_on_policy: bool | None = None,
    name: str = "SequentialAlg",
    **named_modules: Any,
) -> Algorithm:
    """An algorithm of algorithms, networks, modules and functions applied one after another.

    Args:
        modules: each an algorithm, network, module or function, or a pair (nested str, such) that
            names the results it takes instead of the output of the one before it: "input" is the
            input, "a" the output of module a, "info.a" and "state.a" its info and state; dots reach
            into nests.
        output: name, or nest of names, of the results to return; empty for the last one.
        is_on_policy: see `AlgorithmContainer`.
        name: name of the algorithm.
        named_modules: modules after those of `modules`, whose results can be named.
    """
    return _SequentialAlg(modules, named_modules, output, is_on_policy, name)


_STATE_SPECS = ("train_state_spec", "rollout_state_spec", "predict_state_spec")
_RESERVED = {"input", "info", "state"}


class _SequentialAlg(AlgorithmContainer):
    """See `SequentialAlg()`. Its states are dicts; modules without a name have their number."""

    def __init__(
        self,
        modules: tuple[Any, ...],
        named_modules: Mapping[str, Any],
        output: Any,
        is_on_policy: bool | None,
        name: str,
    ) -> None:
        if _RESERVED & set(named_modules):
            raise ValueError(f"{name}: no module can be named {sorted(_RESERVED)}")
        unnamed = [m.name for m in modules if isinstance(m, Algorithm)]
        twice = sorted({n for n in unnamed if unnamed.count(n) > 1})
        if twice:
            raise ValueError(
                f"{name}: several algorithms are named {twice}; give them different names, or pass "
                "them by keyword"
            )
        elements = {str(i): element for i, element in enumerate(modules)} | dict(named_modules)
        if not elements:
            raise ValueError(f"{name} needs at least one module")
        steps = []
        for key, element in elements.items():
            is_alone = isinstance(element, Algorithm)
            source, module = (None, element) if is_alone else split_element(element)
            steps.append((key, source, module))
        specs: list[dict[str, Any]] = [{}, {}, {}]
        for key, _, module in steps:
            for spec, kind in zip(specs, _STATE_SPECS, strict=True):
                part = _state_spec(module, kind)
                if not _is_nothing(part):
                    spec[key] = part
        super().__init__(
            {key: module for key, _, module in steps if isinstance(module, Algorithm)},
            *(spec or () for spec in specs),
            is_on_policy=is_on_policy,
            debug_summaries=False,
            name=name,
        )
        self._steps, self._output = steps, output
        self._nets = nn.ModuleDict(
            {
                key: module
                for key, _, module in steps
                if isinstance(module, nn.Module) and not isinstance(module, Algorithm)
            }
        )

    def predict_step(self, inputs: Nest, state: Nest) -> AlgStep:
        return self._run(inputs, state, lambda key, alg, x, s: alg.predict_step(x, s))

    def rollout_step(self, inputs: Nest, state: Nest) -> AlgStep:
        return self._run(inputs, state, lambda key, alg, x, s: alg.rollout_step(x, s))

    def train_step(self, inputs: Nest, state: Nest, rollout_info: Nest) -> AlgStep:
        return self._run(
            inputs, state, lambda key, alg, x, s: alg.train_step(x, s, rollout_info[key])
        )

    def _run(self, inputs: Nest, state: Nest, step: Callable[..., AlgStep]) -> AlgStep:
        old: dict[str, Any] = {} if _is_nothing(state) else state
        new: dict[str, Any] = {}
        infos: dict[str, Any] = {}
        results: dict[str, Any] = {"input": inputs, "info": infos, "state": new}
        x = inputs
        for key, source, module in self._steps:
            if source is not None:
                x = get_nested_field(results, source)
            if isinstance(module, Algorithm):
                result = step(key, module, x, old.get(key, ()))
                x, new_state, infos[key] = result.output, result.state, result.info
            elif isinstance(module, Network):
                x, new_state = module(x, old.get(key, ()))
            else:
                x, new_state = module(x), ()
            if key in old:
                new[key] = new_state
            results[key] = x
        if self._output != "":
            x = get_nested_field(results, self._output)
        return AlgStep(output=x, state=new if old else (), info=infos)


def _state_spec(module: Any, kind: str) -> Nest:
    if isinstance(module, Algorithm):
        return getattr(module, kind)
    return module.state_spec if isinstance(module, Network) else ()


class _AlgorithmWrapper(Algorithm):
    """What algorithms around one `_algorithm`, with its info as theirs, have in common."""

    _algorithm: Algorithm

    def set_on_policy(self, is_on_policy: bool) -> None:
        super().set_on_policy(is_on_policy)
        self._algorithm.set_on_policy(is_on_policy)

    def set_path(self, path: str) -> None:
        super().set_path(path)
        self._algorithm.set_path(path)

    def calc_loss(self, info: Nest) -> LossInfo:
        return self._algorithm.calc_loss(info)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        self._algorithm.after_update(root_inputs, info)

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        self._algorithm.after_train_iter(root_inputs, rollout_info)

    def preprocess_experience(
        self, root_inputs: Nest, rollout_info: Nest, batch_info: Any
    ) -> tuple[Nest, Nest]:
        return self._algorithm.preprocess_experience(root_inputs, rollout_info, batch_info)


@configurable
class EchoAlg(_AlgorithmWrapper):
    """Feeds back a part of an algorithm's output as a part of its next input.

    Args:
        alg: takes a dict(input=, echo=) and outputs a dict(output=, echo=); `echo` is the one of
            the step before, zeros at first. `input` and `output` are those of this algorithm.
        echo_spec: nest of specs of `echo`.
        name: name of the algorithm.
    """

    def __init__(self, alg: Algorithm, echo_spec: Nest, name: str = "EchoAlg") -> None:
        super().__init__(
            train_state_spec=(alg.train_state_spec, echo_spec),
            rollout_state_spec=(alg.rollout_state_spec, echo_spec),
            predict_state_spec=(alg.predict_state_spec, echo_spec),
            name=name,
        )
        self._algorithm = alg
        if alg.on_policy is not None:
            self.set_on_policy(alg.on_policy)

    def predict_step(self, inputs: Nest, state: Nest) -> AlgStep:
        alg_state, echo = state
        return _echoed(self._algorithm.predict_step({"input": inputs, "echo": echo}, alg_state))

    def rollout_step(self, inputs: Nest, state: Nest) -> AlgStep:
        alg_state, echo = state
        return _echoed(self._algorithm.rollout_step({"input": inputs, "echo": echo}, alg_state))

    def train_step(self, inputs: Nest, state: Nest, rollout_info: Nest) -> AlgStep:
        alg_state, echo = state
        inputs = {"input": inputs, "echo": echo}
        return _echoed(self._algorithm.train_step(inputs, alg_state, rollout_info))


def _echoed(step: AlgStep) -> AlgStep:
    return step._replace(output=step.output["output"], state=(step.state, step.output["echo"]))


@configurable
class RLAlgWrapper(_AlgorithmWrapper, RLAlgorithm):
    """An algorithm that takes `TimeStep` and outputs actions, as an `RLAlgorithm`.

    Args:
        observation_spec: nest of specs.
        action_spec: nest of bounded specs.
        algorithm: the algorithm.
        env: batched environment; only for the root algorithm of a training.
        reward_spec: of rank 0, or of rank 1 for several rewards.
        config: needed to train by itself.
        optimizer: trains what has no other optimizer.
        debug_summaries: write more summaries.
        name: name of the algorithm.
    """

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        algorithm: Algorithm,
        env: Any = None,
        reward_spec: TensorSpec = TensorSpec(()),
        config: TrainerConfig | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "RLAlgWrapper",
    ) -> None:
        RLAlgorithm.__init__(
            self,
            observation_spec,
            action_spec,
            algorithm.train_state_spec,
            reward_spec=reward_spec,
            rollout_state_spec=algorithm.rollout_state_spec,
            predict_state_spec=algorithm.predict_state_spec,
            env=env,
            config=config,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._algorithm = algorithm
        if algorithm.on_policy is not None:
            self.set_on_policy(algorithm.on_policy)

    def predict_step(self, inputs: Nest, state: Nest) -> AlgStep:
        return self._algorithm.predict_step(inputs, state)

    def rollout_step(self, inputs: Nest, state: Nest) -> AlgStep:
        return self._algorithm.rollout_step(inputs, state)

    def train_step(self, inputs: Nest, state: Nest, rollout_info: Nest) -> AlgStep:
        return self._algorithm.train_step(inputs, state, rollout_info)
