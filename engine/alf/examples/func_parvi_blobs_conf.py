"""An ensemble of networks that samples the posterior of a classification; it knows outliers.

    python -m alf.bin.train --conf=engine/alf/examples/func_parvi_blobs_conf.py --root_dir=blobs

The log says the test accuracy and how well the ensemble's uncertainty tells outliers from the test
data (areas under ROC curves). ``HyperNetwork`` in place of ``FuncParVIAlgorithm`` samples the
networks by a generator.
"""

import torch

import alf
from alf.algorithms.functional_particle_vi_algorithm import FuncParVIAlgorithm
from alf.examples.blobs import between_blobs, blobs
from alf.optimizers import Adam

alf.config(
    "FuncParVIAlgorithm",
    data_creator=blobs,
    data_creator_outlier=between_blobs,
    output_dim=3,
    fc_layer_params=(16,),
    activation=torch.tanh,
    num_particles=8,
    optimizer=Adam(lr=0.05),
    logging_evaluate=True,
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=FuncParVIAlgorithm,
    ml_type="sl",
    num_iterations=40,
    evaluate=True,
    eval_interval=20,
    eval_uncertainty=True,
    summary_interval=10,
    num_checkpoints=1,
)
