"""Parts of MuZero: targets, reanalyze, representation."""
