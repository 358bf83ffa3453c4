"""Particle-based variational inference where each particle is a neural network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from absl import logging
from torch import Tensor, nn

from alf.algorithms import _supervised_ensemble as supervised
from alf.algorithms._supervised_ensemble import Data, Epoch, Evaluator, Uncertainty
from alf.algorithms.config import TrainerConfig
from alf.algorithms.particle_vi_algorithm import ParVIAlgorithm
from alf.algorithms.particles.function_ensemble import ExtraSamples, FunctionEnsemble, Score
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.networks.param_networks import ParamNetwork
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

__all__ = ["AlgStep", "FuncParVIAlgorithm", "LossInfo"]


@configurable
class FuncParVIAlgorithm(ParVIAlgorithm):
    """An ensemble of networks that samples the posterior of a supervised task.

    A particle is the vector of a network's parameters or, with ``function_vi``, what the network
    gives for the inputs of a batch. See `ParVIAlgorithm` for how particles move. It trains by
    itself: `train_iter()` is an epoch (``TrainerConfig.ml_type="sl"``).

    The loss of a batch is the sum over its rows of the negative log likelihood: cross entropy, or
    half the squared error, as of a normal distribution of deviation 1.

    Args:
        data_creator: returns (train loader, test loader).
        data_creator_outlier: returns those of data of another kind, for `eval_uncertainty()`.
        input_tensor_spec: of one tensor; None: that of the training data.
        output_dim: size of the networks' output; None: that of the training data.
        param_net: the network, instead of one made by the next arguments.
        conv_layer_params: see `ParamNetwork`, as the next ones.
        fc_layer_params: sizes of hidden layers.
        use_conv_bias: convolutions have biases.
        use_conv_ln: layer normalization in convolutions.
        use_fc_bias: fully connected layers have biases.
        use_fc_ln: layer normalization in fully connected layers.
        activation: of all layers but the last.
        last_activation: of the last layer.
        last_use_bias: the last layer has a bias.
        last_use_ln: layer normalization in the last layer.
        num_particles: size of the ensemble.
        entropy_regularization: weight of the repulsion.
        loss_type: "classification", targets being numbers of classes, or "regression".
        voting: how `evaluate()` combines the members: "soft" by their mean, "hard" by the class
            which most of them choose; with regression, by the mean of their errors.
        par_vi: see `ParVIAlgorithm`.
        function_vi: particles are functions.
        function_bs: rows of a training batch; needed with ``function_vi``.
        function_extra_bs_ratio: functions are also compared on so many samples near the batch, by
            ``function_bs``.
        function_extra_bs_sampler: noise by which these differ from rows of the batch: "uniform" in
            [0, 1) or "normal".
        function_extra_bs_std: deviation of normal noise.
        critic_hidden_layers: see `ParVIAlgorithm`, as all of the critic.
        critic_iter_num: gradient steps of the critic for each step of the particles.
        critic_l2_weight: weight of the critic's squared norm.
        critic_use_bn: batch normalization in the critic.
        num_train_classes: number of classes, where neither ``output_dim`` nor the data set's
            ``classes`` tell.
        optimizer: trains the particles; must be without parameters; the algorithm uses its own
            copy.
        critic_optimizer: trains the critic; the same holds.
        logging_network: print the network.
        logging_training: print the loss of each epoch.
        logging_evaluate: print the scores.
        config: of a training.
        debug_summaries: write more summaries.
        name: used in summary tags and messages.

    Raises:
        ValueError: sizes are not known; ``function_vi`` without ``function_bs``.
    """

    def __init__(
        self,
        data_creator: Callable[[], Any] | None = None,
        data_creator_outlier: Callable[[], Any] | None = None,
        input_tensor_spec: TensorSpec | None = None,
        output_dim: int | None = None,
        param_net: ParamNetwork | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[Any] | None = None,
        use_conv_bias: bool = False,
        use_conv_ln: bool = False,
        use_fc_bias: bool = True,
        use_fc_ln: bool = False,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        last_activation: Callable[[Tensor], Tensor] = identity,
        last_use_bias: bool = True,
        last_use_ln: bool = False,
        num_particles: int = 10,
        entropy_regularization: float = 1.0,
        loss_type: Literal["classification", "regression"] = "classification",
        voting: Literal["soft", "hard"] = "soft",
        par_vi: Literal["gfsf", "svgd", "minmax"] | None = "svgd",
        function_vi: bool = False,
        function_bs: int | None = None,
        function_extra_bs_ratio: float = 0.1,
        function_extra_bs_sampler: Literal["uniform", "normal"] = "uniform",
        function_extra_bs_std: float = 1.0,
        critic_hidden_layers: Sequence[int] = (100, 100),
        critic_iter_num: int = 2,
        critic_l2_weight: float = 10.0,
        critic_use_bn: bool = True,
        num_train_classes: int = 10,
        optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        logging_network: bool = False,
        logging_training: bool = False,
        logging_evaluate: bool = False,
        config: TrainerConfig | None = None,
        debug_summaries: bool = False,
        name: str = "FuncParVIAlgorithm",
    ) -> None:
        data = supervised.made_data(data_creator, data_creator_outlier)
        if param_net is None:
            input_tensor_spec, output_dim = supervised.specs_of(
                name, data, input_tensor_spec, output_dim, loss_type, num_train_classes
            )
            param_net = ParamNetwork(
                input_tensor_spec,
                conv_layer_params=conv_layer_params,
                fc_layer_params=fc_layer_params,
                use_conv_bias=use_conv_bias,
                use_conv_ln=use_conv_ln,
                use_fc_bias=use_fc_bias,
                use_fc_ln=use_fc_ln,
                n_groups=num_particles,
                activation=activation,
                last_layer_size=output_dim,
                last_activation=last_activation,
                last_use_bias=last_use_bias,
                last_use_ln=last_use_ln,
            )
        extra = None
        critic_input_dim = param_net.param_length
        if function_vi:
            if function_bs is None:
                raise ValueError(f"{name}: function_vi=True needs function_bs, it is None")
            extra = ExtraSamples(
                function_bs,
                function_extra_bs_ratio,
                function_extra_bs_sampler,
                function_extra_bs_std,
            )
            critic_input_dim = (function_bs + extra.count) * param_net.output_spec.shape[-1]
        super().__init__(
            param_net.param_length,
            num_particles=num_particles,
            entropy_regularization=entropy_regularization,
            par_vi=par_vi,
            critic_input_dim=critic_input_dim,
            critic_hidden_layers=critic_hidden_layers,
            critic_l2_weight=critic_l2_weight,
            critic_iter_num=critic_iter_num,
            critic_use_bn=critic_use_bn,
            critic_optimizer=critic_optimizer,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._config = config
        self._param_net: ParamNetwork = param_net
        self._ensemble = FunctionEnsemble(self._param_net, loss_type, extra)
        self._evaluator = Evaluator(name, self._ensemble, voting, logging_evaluate)
        self._function_vi = function_vi
        self._logs_training = logging_training
        self._data = data
        if logging_network:
            logging.info("%s: %d networks %s", name, num_particles, param_net)

    def set_data_loader(
        self,
        train_loader: Any,
        test_loader: Any = None,
        outlier_data_loaders: Any = None,
        entropy_regularization: float | None = None,
    ) -> None:
        """Set the data, see `Data`.

        Args:
            train_loader: of batches (inputs, targets).
            test_loader: for `evaluate()`.
            outlier_data_loaders: (train loader, test loader) of data of another kind.
            entropy_regularization: weight of the repulsion; None: as it was.
        """
        self._data = Data(train_loader, test_loader, outlier_data_loaders)
        if entropy_regularization is not None:
            self._entropy_regularization = entropy_regularization

    def predict_step(  # type: ignore[override]
        self, inputs: Tensor, params: Tensor | None = None, state: Any = None
    ) -> AlgStep:
        """What all members `[B, N, D]` give for inputs `[B, ...]`.

        Args:
            inputs: the same for each member.
            params: parameters `[N, P]` of members; None: the particles.
            state: not used.
        """
        params = self.particles if params is None else params
        return AlgStep(output=self._ensemble.outputs(inputs, params), state=(), info=())

    def train_iter(self, state: Any = None) -> int:
        """Train on all batches once; returns their number."""
        data = supervised.needed(self._data, "train", f"{self.name}.train_iter()")
        summary.increment_global_counter()
        epoch = Epoch(self._ensemble.is_classification)
        loss_info, params = LossInfo(), []
        for batch in supervised.batches(data, self.particles.device):
            info = self.train_step(batch).info
            epoch.add(info.extra)
            loss_info, params = self.update_with_gradient(info)
        if self._logs_training:
            epoch.log(self.name)
        self.summarize_train(loss_info, params, epoch.cum_loss, epoch.avg_acc)
        return epoch.num_batches

    def train_step(  # type: ignore[override]
        self,
        inputs: tuple[Tensor, Tensor],
        entropy_regularization: float | None = None,
        loss_mask: Tensor | None = None,
        state: Any = None,
    ) -> AlgStep:
        """The loss `[N]` of a batch (inputs `[B, ...]`, targets), see `ParVIAlgorithm`.

        Args:
            inputs: the batch.
            entropy_regularization: weight of the repulsion; None: the constructor's.
            loss_mask: `[N]`, multiplied with the loss.
            state: not used.
        """
        x, targets = inputs
        transform = None
        loss_func = self._ensemble.loss_of_params(x, targets)
        if self._function_vi:
            view = self._ensemble.view(x)
            loss_func = self._ensemble.loss_of_view(targets)
            transform = lambda params: view(params)[:2]  # noqa: E731
        return super().train_step(loss_func, transform, entropy_regularization, loss_mask)

    def evaluate(self) -> Score:
        """The ensemble's score on the test data; summaries are written too."""
        return self._evaluator.evaluate(self._data, self._outputs, self.particles.device)

    def eval_uncertainty(self) -> Uncertainty:
        """How well the ensemble tells outliers from the test data by its uncertainty."""
        return self._evaluator.eval_uncertainty(self._data, self._outputs, self.particles.device)

    def _outputs(self, inputs: Tensor) -> Tensor:
        return self.predict_step(inputs).output

    def summarize_train(  # type: ignore[override]
        self,
        loss_info: LossInfo,
        params: list[tuple[str, nn.Parameter]],
        cum_loss: Tensor | None = None,
        avg_acc: Tensor | None = None,
    ) -> None:
        """Write the summaries of an epoch.

        Args:
            loss_info: loss of the last batch.
            params: names and parameters, with gradients.
            cum_loss: sum of the losses of all batches `[]`.
            avg_acc: mean accuracy of all batches `[]`.
        """
        supervised.summarize(self._config, loss_info, params, cum_loss, avg_acc)
