"""The main run with TAAC for the subgoals: it keeps a subgoal as long as a new one is no better."""

from alf_configs.parts import reach_level, run_subgoals, sac, subgoal_level, taac
from alf_configs.tasks.maze2d import sparse_umaze

sparse_umaze(evals=20)

run_subgoals(
    subgoal_level(taac(gamma=0.98), mini_batch_length=3, random_warm_up=False),
    reach_level(sac(gamma=0.98)),
    temporally_independent_train_step=True,
)
