"""Where the checkpoints of another run are, for levels that begin with what it learned."""

from __future__ import annotations

from pathlib import Path

__all__ = ["newest_checkpoint"]


def newest_checkpoint(path: str) -> str:
    """The newest checkpoint of a run, to be given as ``checkpoint="prefix@..."`` to an algorithm.

    Args:
        path: the ``--root_dir`` of the run, or one of its checkpoints, which is returned as it is.

    Returns:
        ``path/train/algorithm/ckpt-N`` with the largest N.

    Raises:
        ValueError: ``path`` is neither a checkpoint nor the folder of a run that has one.
    """
    if Path(path).is_file():
        return path
    folder = Path(path, "train", "algorithm")
    counts = [int(p.name[5:]) for p in folder.glob("ckpt-*") if p.name[5:].isdigit()]
    if not counts:
        raise ValueError(
            f"{path!r} is neither a checkpoint nor the root_dir of a run with one: there is no "
            f"{folder}/ckpt-N"
        )
    return str(folder / f"ckpt-{max(counts)}")
