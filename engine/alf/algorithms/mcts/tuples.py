"""What models for tree search say, what they should say, and where they stand."""

from __future__ import annotations

from alf.data_structures import namedtuple

PUBLIC_MODULE = "alf.algorithms.mcts_models"  # under which these names are public

ModelState = namedtuple(
    "ModelState", ["state", "pred_state", "step", "prev_reward_sum"], default_value=()
)
ModelState.__doc__ = """Where a model stands.

Fields:
    state: [B, ...], the latent state.
    pred_state: state of the prediction network.
    step: [B], int64, steps since the observation.
    prev_reward_sum: [B], sum of the rewards predicted so far, if sums are predicted.
"""

ModelOutput = namedtuple(
    "ModelOutput",
    [
        "value",
        "reward",
        "game_over",
        "actions",
        "action_probs",
        "state",
        "action_distribution",
        "game_over_logit",
        "value_pred",
        "reward_pred",
    ],
    default_value=(),
)
ModelOutput.__doc__ = """What a model says of a state.

Fields:
    value: [B].
    reward: [B], earned on the way to the state; () if rewards are not predicted.
    game_over: bool [B]; () if it is not predicted.
    actions: nest of [B, K, ...], candidates; () if all actions are.
    action_probs: [B, K], prior probabilities of the candidates.
    state: `ModelState`.
    action_distribution: the policy.
    game_over_logit: [B].
    value_pred: what the value loss is computed from.
    reward_pred: what the reward loss is computed from.
"""

ModelTarget = namedtuple(
    "ModelTarget",
    [
        "is_partial_trajectory",
        "beyond_episode_end",
        "reward",
        "action",
        "action_policy",
        "game_over",
        "value",
        "observation",
    ],
    default_value=(),
)
ModelTarget.__doc__ = """What a model should say at each of R + 1 steps, the first one observed.

Fields:
    is_partial_trajectory: bool [B], whether no step is the last one of a finished episode: it was
        cut off, or goes on.
    beyond_episode_end: bool [B, R + 1], whether it lies behind the last one of any episode.
    reward: [B, R + 1], 0 behind the end; () if rewards are not predicted.
    action: nest of [B, R + 1, K, ...], candidates; () if all actions are.
    action_policy: [B, R + 1, K], their probabilities; behind the end those of the last step. ()
        if no policy is learnt.
    game_over: bool [B, R + 1], true from the last step of a finished episode on; () if it is not
        predicted.
    value: [B, R + 1].
    observation: nest of [B, R + 1, ...], if representations are predicted.
"""
