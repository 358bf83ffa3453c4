"""The parts of phasic policy gradient (arXiv:2009.04416)."""

from alf.algorithms.ppg.disjoint_policy_value_network import DisjointPolicyValueNetwork
from alf.algorithms.ppg.ppg_aux_algorithm import PPGAuxAlgorithm, PPGAuxOptions
from alf.algorithms.ppg.ppg_aux_phase_loss import PPGAuxPhaseLoss, PPGAuxPhaseLossInfo
from alf.algorithms.ppg.ppg_utils import PPGRolloutInfo, PPGTrainInfo, ppg_network_forward

__all__ = [
    "DisjointPolicyValueNetwork",
    "PPGAuxAlgorithm",
    "PPGAuxOptions",
    "PPGAuxPhaseLoss",
    "PPGAuxPhaseLossInfo",
    "PPGRolloutInfo",
    "PPGTrainInfo",
    "ppg_network_forward",
]
