"""Cases of ``algorithms`` where the engine differs from ALF on purpose: case -> reason."""

_WHOLE = "states keep the structure of their specs where no critic state is computed"
_STRICT = "a state that does not fit is an error, not a list that nobody reads"
_PRUNED = "what predict_step() does not need is left out instead of refused"
_OWN_FIELDS = "the engine has settings of its own besides those of ALF"
_SIZES = "all parameters of ALF, and besides them the sizes of the layers"
_ONE_CRITIC = "ALF acts by a copy of the critic that the case leaves as it began; see test_mdq.py"
_VALUE_STATE = "a recurrent value network has a state; the actor's loss needs no critics of its own"
_WIDTH = "ALF's kernel gradient also goes through the median of one row; SVGD's width is a constant"
_BLOCK = "the block form solves J^T y = v exactly; ALF's leaves an inverse out of the coupling term"
# Of the nine trees of these cases those that differ have such paths; so have some that are equal.
_MEETING = (
    "of parallel paths that meet at one leaf each is a visit with the leaf's value; documentation "
    "does not fix ALF's rule, whose trees grow otherwise after that"
)

CASES: dict[str, str] = {
    "bayes.generator.conditional.svgd": _WIDTH,
    "bayes.generator.gpvi_plus_block.train_step": _BLOCK,
    "bayes.generator.gpvi_plus_direct_block.train_step": _BLOCK,
    "bayes.generator.gpvi_plus_direct_block.update": _BLOCK,
    "bayes.generator.svgd.train_step": _WIDTH,
    "bayes.generator.svgd.update": _WIDTH,
    "core.convert_train_state_to_predict_state": _PRUNED,
    "core.load_state_dict.strict_reports_instead_of_raising": _STRICT,
    "mcts.search.parallel2_game_over": _MEETING,
    "mcts.search.parallel2_two_player": _MEETING,
    "mcts.search.parallel4": _MEETING,
    "rl.mdq.default.calc_loss": _ONE_CRITIC,
    "rl.mdq.default.calc_loss.extra": _ONE_CRITIC,
    "rl.mdq.default.predict_step": _ONE_CRITIC,
    "rl.mdq.default.predict_step_info": _ONE_CRITIC,
    "rl.mdq.default.rollout_step": _ONE_CRITIC,
    "rl.mdq.default.rollout_step_info": _ONE_CRITIC,
    "rl.mdq.default.target_update": _ONE_CRITIC,
    "rl.mdq.default.train_step": _ONE_CRITIC,
    "rl.mdq.default.train_step_info": _ONE_CRITIC,
    "rl.mdq.default.update": _ONE_CRITIC,
    "rl.mdq.distill_noise.train_step": _ONE_CRITIC,
    "rl.mdq.distill_noise.train_step_info": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.calc_loss": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.calc_loss.extra": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.predict_step": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.predict_step_info": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.train_step": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.train_step_info": _ONE_CRITIC,
    "rl.mdq.initial_log_alpha.update": _ONE_CRITIC,
    "rl.mdq.target_entropy.calc_loss": _ONE_CRITIC,
    "rl.mdq.target_entropy.calc_loss.extra": _ONE_CRITIC,
    "rl.mdq.target_entropy.update": _ONE_CRITIC,
    "rl.mdq.target_tau.target_update": _ONE_CRITIC,
    "rl.rnn.ddpg.predict_step": _WHOLE,
    "rl.rnn.ddpg.rollout_step": _WHOLE,
    "rl.rnn.iql.state_specs": _VALUE_STATE,
    "signature.config.TrainerConfig": _OWN_FIELDS,
    "signature.mcts_models.create_simple_dynamics_net": _SIZES,
    "signature.mcts_models.create_simple_encoding_net": _SIZES,
    "signature.mcts_models.create_simple_prediction_net": _SIZES,
}
