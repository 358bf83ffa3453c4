"""Skills of a run as a picture: where they end, what they depend on, how well they are predicted.

    python -m alf_layered.plots.skills --root_dir runs/splates --out skills.png

Needs matplotlib and tensorboard (`pip install alf-layered[plots]`).

Axis letters: R tried skills, S state of the planner, Z skill.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import create_data_transformer
from alf.environments.utils import create_environment
from alf.utils import common
from alf.utils.checkpoint_utils import Checkpointer
from alf_layered.plots.learning_curves import read_curve
from alf_layered.plots.plans import _panels, _write
from alf_layered.plots.skill_samples import SkillSamples, sample_skills


def load_agent(root: Path | str, num_environments: int) -> tuple[Any, Any]:
    """The agent of a run as its newest checkpoint has it, and environments of its own."""
    folder = Path(root) / "train" / "algorithm"
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no checkpoint in {folder}: train first")
    common.parse_conf_file(str(Path(root) / "alf_config.py"))
    env = create_environment(num_parallel_environments=num_environments)
    config = TrainerConfig(root_dir=str(root))
    ctor = config.algorithm_ctor
    if ctor is None:
        raise ValueError(f"the configuration in {root} has no TrainerConfig.algorithm_ctor")
    transformer = create_data_transformer(config.data_transformer_ctor, env.observation_spec())
    config.data_transformer = transformer
    agent = ctor(
        observation_spec=transformer.transformed_observation_spec,
        action_spec=env.action_spec(),
        reward_spec=env.reward_spec(),
        config=config,
    )
    agent.set_path("")
    agent.eval()
    checkpointer = Checkpointer(str(folder), algorithm=agent)
    checkpointer.load("latest", including_optimizer=False, including_replay_buffer=False)
    return agent, env


def spread(samples: SkillSamples) -> dict[str, float]:
    """How far skills get and how well they are told apart and predicted.

    Returns:
        `reach`: mean length of the way; `explained`: share of its variance that a linear function
        of the skill explains (vectors only); `error`: mean distance of the predicted end from the
        true one; `coverage`: share of the cells of a grid of 10 by 10 over all ends, by the first
        two dimensions of the way, in which a skill ends.
    """
    way = samples.displacement
    found = {
        "reach": float(way.norm(dim=-1).mean()),
        "error": float((samples.end - samples.predicted).norm(dim=-1).mean()),
    }
    if samples.skill.is_floating_point():
        centred = samples.skill - samples.skill.mean(0)
        rest = way - way.mean(0)
        slope = np.linalg.lstsq(centred.cpu().numpy(), rest.cpu().numpy(), rcond=None)[0]
        rest_np = rest.cpu().numpy()
        left = rest_np - centred.cpu().numpy() @ slope
        found["explained"] = float(1 - left.var() / max(rest_np.var(), 1e-12))
    flat = way[:, : min(2, way.shape[-1])].cpu().numpy()
    edges = np.abs(flat).max() or 1.0
    cells = np.floor((flat / edges + 1) * 4.9999).astype(int)
    found["coverage"] = len({tuple(c) for c in cells}) / 10 ** flat.shape[-1]
    return found


def draw_skills(samples: SkillSamples, path: Path | str, *, root: Path | str | None = None) -> Path:
    """Writes four panels: ends by skill, way against skill, prediction, reward in training.

    Args:
        samples: tried skills.
        path: of the picture; its folder is made.
        root: of the run whose reward is drawn; None: none is.
    """
    figure, axes = _panels(1, 3 if root is None else 4, size=(3.6, 3.6))
    panels = axes.flat
    way = samples.displacement.cpu().numpy()
    y = way[:, 1] if way.shape[-1] > 1 else np.zeros(len(way))
    panels[0].scatter(way[:, 0], y, c=_colours(samples), cmap="hsv", s=6)
    panels[0].set_title("where skills end, from their start")
    panels[0].set_aspect("equal", adjustable="datalim")

    skill = samples.skill.cpu().numpy().reshape(len(way), -1)
    for dim in range(min(skill.shape[-1], way.shape[-1], 2)):
        best = int(np.abs([_correlation(skill[:, dim], w) for w in way.T]).argmax())
        panels[1].scatter(skill[:, dim], way[:, best], s=4, alpha=0.5, label=f"{dim} → {best}")
    panels[1].set_title("skill and way, by dimension")
    panels[1].legend(fontsize=7)

    guess = (samples.predicted - samples.start).cpu().numpy()
    for dim in range(min(way.shape[-1], 2)):
        panels[2].scatter(guess[:, dim], way[:, dim], s=4, alpha=0.5, label=f"dimension {dim}")
    panels[2].axline((0, 0), slope=1, color="grey", linewidth=0.8)
    panels[2].set_title("way: predicted and made")
    panels[2].legend(fontsize=7)
    if root is not None:
        curve = read_curve(Path(root) / "train", reward_tag(root))
        panels[3].plot(curve.steps, curve.values, linewidth=1)
        panels[3].set_title("intrinsic reward")
        panels[3].set_xlabel("iterations")
    return _write(figure, path)


def reward_tag(root: Path | str) -> str:
    """The tag under which a run's lowest level wrote its intrinsic reward."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(root) / "train"))
    events.Reload()
    tags = [t for t in events.Tags()["scalars"] if t.endswith("/intrinsic_reward")]
    if not tags:
        raise ValueError(f"no level of the run in {root} has written an intrinsic_reward")
    return sorted(tags)[-1]


def _colours(samples: SkillSamples) -> np.ndarray:
    """A number for each skill: its index, or the angle of its first two dimensions."""
    skill = samples.skill.cpu().numpy()
    if skill.ndim == 1 or skill.shape[-1] == 1:
        return skill.reshape(-1)
    return np.arctan2(skill[:, 1], skill[:, 0])


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    deviation = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / deviation) if deviation > 0 else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root_dir", required=True, help="of the run")
    parser.add_argument("--out", required=True, help="the picture")
    parser.add_argument("--count", type=int, default=1000, help="skills to try")
    parser.add_argument("--environments", type=int, default=32)
    options = parser.parse_args(arguments)
    agent, env = load_agent(options.root_dir, options.environments)
    samples = sample_skills(agent, env, options.count)
    for name, value in spread(samples).items():
        print(f"{name:<10}{value:8.3f}")
    print(draw_skills(samples, options.out, root=options.root_dir))


if __name__ == "__main__":
    sys.exit(main())
