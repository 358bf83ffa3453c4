"""One environment, one step at a time, in plain Python: the twin of the vectorised hierarchy."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST, MID, LAST = 0, 1, 2


@dataclass(frozen=True)
class Record:
    """A level's time step and decision."""

    kind: int
    reward: float
    discount: float
    number: float
    input: float
    previous: float
    decision: float
    steps: int


@dataclass
class SlowLevel:
    """One level in one environment."""

    interval: int | None
    gamma: float
    decision: float = 0.0
    reward: float = 0.0
    discount: float = 1.0
    steps: int = 0
    decisions: int = 0
    records: list[Record] = field(default_factory=list)

    def start(self) -> None:
        self.reward, self.discount, self.steps = 0.0, 1.0, 0

    def tick(self, reward: float, discount: float) -> None:
        self.reward += self.discount * reward
        self.discount *= self.gamma * discount
        self.steps += 1

    def store(
        self, kind: int, number: float, above: float, decision: float, *, fresh: bool
    ) -> None:
        self.records.append(
            Record(
                kind=kind,
                reward=0.0 if fresh else self.reward,
                discount=1.0 if fresh else self.discount / self.gamma,
                number=number,
                input=above,
                previous=0.0 if fresh else self.decision,
                decision=decision,
                steps=0 if fresh else self.steps,
            )
        )


class SlowHierarchy:
    """Levels 0 (top) to L-1 of a single environment."""

    def __init__(self, intervals: list[int | None], gammas: list[float]) -> None:
        self.levels = [SlowLevel(k, g) for k, g in zip(intervals, gammas, strict=True)]

    def step(self, kind: int, reward: float, discount: float, row: list[float]) -> float:
        """Returns the environment's action (its number)."""
        number, flags = row[0], row[1:]
        if kind != FIRST:
            for level in self.levels:
                level.tick(reward, discount)
        due = self._due(kind, flags)
        old = [0.0] + [level.decision for level in self.levels[:-1]]
        for i, level in enumerate(self.levels):
            if i not in due:
                continue
            joint = i > 0 and i - 1 in due and kind == MID
            above = self.levels[i - 1].decision if i > 0 else 0.0
            if joint:
                level.store(LAST, number, old[i], self._decide(i, number, old[i]), fresh=False)
            fresh = joint or kind == FIRST
            decision = self._decide(i, number, above)
            level.store(FIRST if fresh else kind, number, above, decision, fresh=fresh)
            level.decisions = 1 if fresh else level.decisions + 1
            if kind != LAST:
                level.decision = decision
            level.start()
        return self.levels[-1].decision

    def _due(self, kind: int, flags: list[float]) -> set[int]:
        count = len(self.levels)
        if kind != MID:
            return set(range(count))
        due = {count - 1}
        for i in reversed(range(1, count)):
            level = self.levels[i]
            over = level.interval is not None and level.decisions >= level.interval
            if not (flags[i] > 0 or over):
                break
            due.add(i - 1)
        return due

    @staticmethod
    def _decide(position: int, number: float, above: float) -> float:
        return number + above / 2 if position > 0 else number
