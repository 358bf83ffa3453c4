"""Times tree search: 64 roots, 50 simulations each, beside the network evaluations alone.

python benchmarks/mcts.py [--device cuda] [--roots 64] [--simulations 50]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

import alf
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByMoves
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((17,))
ACTIONS = {
    "4 actions": (BoundedTensorSpec((), torch.int64, 0, 3), None),
    "20 sampled actions of 6 dimensions": (BoundedTensorSpec((6,), torch.float32, -1, 1), 20),
}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call; without an accelerator that of the processor."""
    is_cuda = alf.get_default_device() == "cuda"
    clock = time.perf_counter if is_cuda else time.process_time
    times = []
    for _ in range(repeats + 2):
        start = clock()
        call()
        if is_cuda:
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1e3 * sorted(times[2:])[repeats // 2]


@torch.no_grad()
def evaluations(model: SimpleMCTSModel, observation: torch.Tensor, count: int) -> None:
    """What a search asks its model, one after the other."""
    output = model.initial_inference(observation)
    for _ in range(count):
        action = output.actions[:, 0] if isinstance(output.actions, torch.Tensor) else None
        if action is None:
            action = torch.zeros(len(observation), dtype=torch.int64)
        output = model.recurrent_inference(output.state, action)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--roots", type=int, default=64)
    parser.add_argument("--simulations", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    alf.set_default_device("gpu" if args.device == "cuda" else "cpu")
    print(f"{args.roots} roots x {args.simulations} simulations on {args.device}, median ms")
    for title, (action_spec, sampled) in ACTIONS.items():
        torch.manual_seed(0)
        model = SimpleMCTSModel(OBSERVATION, action_spec, 5, num_sampled_actions=sampled).eval()
        observation = torch.randn(args.roots, *OBSERVATION.shape)
        alone = milliseconds(
            partial(evaluations, model, observation, args.simulations), args.repeats
        )
        for parallel in (1, 5):
            mcts = MCTSAlgorithm(
                OBSERVATION,
                action_spec,
                num_simulations=args.simulations,
                root_dirichlet_alpha=0.25,
                root_exploration_fraction=0.25,
                pb_c_init=1.25,
                pb_c_base=19652,
                discount=0.997,
                is_two_player_game=False,
                visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves(),
                num_parallel_sims=parallel,
            )
            mcts.set_model(model)
            step = TimeStep(
                step_type=torch.full((args.roots,), StepType.MID, dtype=torch.int32),
                reward=torch.zeros(args.roots),
                discount=torch.ones(args.roots),
                observation=observation,
            )
            state = mcts.get_initial_rollout_state(args.roots)
            took = milliseconds(partial(mcts.rollout_step, step, state), args.repeats)
            print(
                f"  {title}, {parallel} at a time: {took:.1f}, one evaluation of the network per "
                f"simulation alone {alone:.1f}, ratio {took / alone:.2f}"
            )


if __name__ == "__main__":
    main()
