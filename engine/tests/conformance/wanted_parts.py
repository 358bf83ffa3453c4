"""Cases of ``parts`` where the engine differs from ALF on purpose: case -> reason."""

CASES: dict[str, str] = {}
