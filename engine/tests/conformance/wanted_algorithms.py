"""Cases of ``algorithms`` where the engine differs from ALF on purpose: case -> reason."""

_NO_NOISE = "training has no exploration noise; as a train state it would train step by step"
_WHOLE = "states keep the structure of their specs where no critic state is computed"
_STRICT = "a state that does not fit is an error, not a list that nobody reads"

CASES: dict[str, str] = {
    "core.load_state_dict.strict_reports_instead_of_raising": _STRICT,
    "rl.ddpg.default.state_specs": _NO_NOISE,
    "rl.ddpg.default.train_step": _NO_NOISE,
    "rl.ddpg.two_critics.state_specs": _NO_NOISE,
    "rl.ddpg.two_critics.train_step": _NO_NOISE,
    "rl.ddpg.two_rewards.train_step": _NO_NOISE,
    "rl.ddpg.two_rewards_weighted.train_step": _NO_NOISE,
    "rl.rnn.ddpg.predict_step": _WHOLE,
    "rl.rnn.ddpg.rollout_step": _WHOLE,
    "rl.rnn.ddpg.state_specs": _NO_NOISE,
    "rl.rnn.ddpg.train_step": _NO_NOISE,
}
