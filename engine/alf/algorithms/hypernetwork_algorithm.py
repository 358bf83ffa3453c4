"""A generator of the weights of networks, which samples the posterior of a supervised task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from absl import logging
from torch import Tensor, nn

from alf.algorithms import _supervised_ensemble as supervised
from alf.algorithms._supervised_ensemble import Data, Epoch, Evaluator, Uncertainty
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.generator import Generator
from alf.algorithms.particles.function_ensemble import ExtraSamples, FunctionEnsemble, Score
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.param_networks import ParamNetwork
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

__all__ = ["AlgStep", "HyperNetwork", "LossInfo"]


@configurable
class HyperNetwork(Algorithm):
    """A `Generator` whose outputs are the parameters of networks (Ratzlaff and Fuxin, ICML 2019).

    One generator makes the parameters of all layers; there is no mixer and no discriminator, as
    they are in the paper. It trains by itself: `train_iter()` is an epoch
    (``TrainerConfig.ml_type="sl"``). See `FuncParVIAlgorithm` for the loss of a batch and for the
    arguments about data, networks, functions and scores; see `Generator` for all others.

    Args:
        data_creator: returns (train loader, test loader).
        data_creator_outlier: returns those of data of another kind, for `eval_uncertainty()`.
        input_tensor_spec: of one tensor; None: that of the training data.
        output_dim: size of the networks' output; None: that of the training data.
        conv_layer_params: see `ParamNetwork`.
        fc_layer_params: sizes of hidden layers.
        activation: of all layers but the last.
        last_activation: of the last layer.
        last_use_bias: the last layer has a bias.
        last_use_ln: layer normalization in the last layer.
        noise_dim: size of the generator's noise.
        hidden_layers: hidden layers of the generator.
        use_conv_bias: convolutions have biases.
        use_conv_ln: layer normalization in convolutions.
        use_fc_bias: fully connected layers have biases.
        use_fc_ln: layer normalization in fully connected layers.
        generator_use_fc_bn: batch normalization in the generator; not with ``functional_gradient``.
        num_particles: how many networks are sampled at a time.
        entropy_regularization: weight of the repulsion; None: batch size by size of the data set.
        critic_hidden_layers: hidden layers of the critic of "minmax".
        critic_iter_num: gradient steps of the critic in each ``train_step()``.
        critic_l2_weight: weight of the critic's squared norm.
        functional_gradient: GPVI; with "svgd" or "svgd3".
        init_lambda: factor of the noise in the outputs.
        lambda_trainable: it is trained.
        block_inverse_mvp: solve only for the rows of the Jacobian that the noise reaches.
        direct_jac_inverse: invert Jacobians directly instead of by a network.
        inverse_mvp_solve_iters: gradient steps of that network in each ``train_step()``.
        inverse_mvp_hidden_size: size of its hidden layers.
        inverse_mvp_hidden_layers: number of its hidden layers.
        function_vi: particles are functions; only with "svgd", "svgd2", "svgd3" and "gfsf".
        function_bs: rows of a training batch; needed with ``function_vi``.
        function_extra_bs_ratio: share of extra samples on which functions are compared.
        function_extra_bs_sampler: their noise: "uniform" in [0, 1) or "normal".
        function_extra_bs_std: deviation of normal noise.
        loss_type: "classification" or "regression".
        voting: "soft" or "hard".
        par_vi: see `Generator`; "svgd" is "svgd3".
        num_train_classes: number of classes, where neither ``output_dim`` nor the data set's
            ``classes`` tell.
        critic_optimizer: trains the critic.
        inverse_mvp_optimizer: trains the network that inverts Jacobians.
        optimizer: trains the generator.
        lambda_optimizer: trains the factor of the noise.
        logging_network: print the networks.
        logging_training: print the loss of each epoch.
        logging_evaluate: print the scores.
        config: of a training.
        name: used in summary tags and messages.

    Raises:
        ValueError: sizes are not known, or settings contradict each other.
    """

    def __init__(
        self,
        data_creator: Callable[[], Any] | None = None,
        data_creator_outlier: Callable[[], Any] | None = None,
        input_tensor_spec: TensorSpec | None = None,
        output_dim: int | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[Any] | None = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        last_activation: Callable[[Tensor], Tensor] = identity,
        last_use_bias: bool = True,
        last_use_ln: bool = False,
        noise_dim: int = 32,
        hidden_layers: Sequence[int] = (64, 64),
        use_conv_bias: bool = False,
        use_conv_ln: bool = False,
        use_fc_bias: bool = True,
        use_fc_ln: bool = False,
        generator_use_fc_bn: bool = False,
        num_particles: int = 10,
        entropy_regularization: float | None = 1.0,
        critic_hidden_layers: Sequence[int] = (100, 100),
        critic_iter_num: int = 2,
        critic_l2_weight: float = 10.0,
        functional_gradient: bool = False,
        init_lambda: float = 1.0,
        lambda_trainable: bool = False,
        block_inverse_mvp: bool = False,
        direct_jac_inverse: bool = False,
        inverse_mvp_solve_iters: int = 1,
        inverse_mvp_hidden_size: int = 100,
        inverse_mvp_hidden_layers: int = 1,
        function_vi: bool = False,
        function_bs: int | None = None,
        function_extra_bs_ratio: float = 0.1,
        function_extra_bs_sampler: Literal["uniform", "normal"] = "uniform",
        function_extra_bs_std: float = 1.0,
        loss_type: Literal["classification", "regression"] = "classification",
        voting: Literal["soft", "hard"] = "soft",
        par_vi: Literal["svgd", "svgd2", "svgd3", "gfsf", "minmax"] | None = "svgd",
        num_train_classes: int = 10,
        critic_optimizer: torch.optim.Optimizer | None = None,
        inverse_mvp_optimizer: torch.optim.Optimizer | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        lambda_optimizer: torch.optim.Optimizer | None = None,
        logging_network: bool = False,
        logging_training: bool = False,
        logging_evaluate: bool = False,
        config: TrainerConfig | None = None,
        name: str = "HyperNetwork",
    ) -> None:
        super().__init__(train_state_spec=(), config=config, name=name)
        par_vi = "svgd3" if par_vi == "svgd" else par_vi
        extra = None
        if function_vi:
            if function_bs is None:
                raise ValueError(f"{name}: function_vi=True needs function_bs, it is None")
            if par_vi not in ("svgd2", "svgd3", "gfsf") or functional_gradient:
                raise ValueError(
                    f'{name}: function_vi=True needs par_vi "svgd", "svgd2", "svgd3" or "gfsf" '
                    f"without functional_gradient, got {par_vi!r} and {functional_gradient}"
                )
            extra = ExtraSamples(
                function_bs,
                function_extra_bs_ratio,
                function_extra_bs_sampler,
                function_extra_bs_std,
            )
        data = supervised.made_data(data_creator, data_creator_outlier)
        input_tensor_spec, output_dim = supervised.specs_of(
            name, data, input_tensor_spec, output_dim, loss_type, num_train_classes
        )
        self._param_net = ParamNetwork(
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
        net = None
        if not functional_gradient:
            net = EncodingNetwork(
                TensorSpec((noise_dim,)),
                fc_layer_params=tuple(hidden_layers),
                use_fc_bn=generator_use_fc_bn,
                last_layer_size=self._param_net.param_length,
                last_activation=identity,
                name=f"{name}.net",
            )
        elif generator_use_fc_bn:
            raise ValueError(
                f"{name}: generator_use_fc_bn=True and functional_gradient=True exclude each other"
            )
        self._generator = Generator(
            self._param_net.param_length,
            noise_dim=noise_dim,
            hidden_layers=hidden_layers,
            net=net,
            # What counts is the weight that each train_step() passes.
            entropy_regularization=1.0 if par_vi else 0.0,
            par_vi=par_vi,
            functional_gradient=functional_gradient,
            init_lambda=init_lambda,
            lambda_trainable=lambda_trainable,
            block_inverse_mvp=block_inverse_mvp,
            direct_jac_inverse=direct_jac_inverse,
            inverse_mvp_solve_iters=inverse_mvp_solve_iters,
            inverse_mvp_hidden_size=inverse_mvp_hidden_size,
            inverse_mvp_hidden_layers=inverse_mvp_hidden_layers,
            critic_hidden_layers=critic_hidden_layers,
            critic_l2_weight=critic_l2_weight,
            critic_iter_num=critic_iter_num,
            critic_optimizer=critic_optimizer,
            inverse_mvp_optimizer=inverse_mvp_optimizer,
            optimizer=optimizer,
            lambda_optimizer=lambda_optimizer,
            name=f"{name}.generator",
        )
        self._ensemble = FunctionEnsemble(self._param_net, loss_type, extra)
        self._evaluator = Evaluator(name, self._ensemble, voting, logging_evaluate)
        self._function_vi = function_vi
        self._num_particles = num_particles
        self._logs_training = logging_training
        self._data = data
        self._entropy_regularization = entropy_regularization
        if entropy_regularization is None and data is not None:
            self._entropy_regularization = supervised.share_of_batch(data.train)
        if logging_network:
            logging.info("%s: %s generates %s", name, self._generator, self._param_net)

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
            entropy_regularization: weight of the repulsion; None: batch size by size of the data
                set.
        """
        self._data = Data(train_loader, test_loader, outlier_data_loaders)
        if entropy_regularization is None:
            entropy_regularization = supervised.share_of_batch(train_loader)
        self._entropy_regularization = entropy_regularization

    @property
    def num_particles(self) -> int:
        """How many networks are sampled at a time."""
        return self._num_particles

    def set_num_particles(self, num_particles: int) -> None:
        """Set how many networks are sampled at a time."""
        self._num_particles = num_particles

    def sample_parameters(
        self,
        noise: Tensor | None = None,
        num_particles: int | None = None,
        training: bool = True,
    ) -> Tensor:
        """Parameters `[N, P]` of networks.

        Args:
            noise: of the generator; None: drawn.
            num_particles: N, where there is no noise; None: `num_particles`.
            training: see `Generator.predict_step()`.
        """
        if noise is None and num_particles is None:
            num_particles = self._num_particles
        return self._generator.predict_step(
            noise=noise, batch_size=num_particles, training=training
        ).output

    def predict_step(
        self,
        inputs: Tensor,
        params: Tensor | None = None,
        num_particles: int | None = None,
        state: Any = None,
    ) -> AlgStep:
        """What N networks `[B, N, D]` give for inputs `[B, ...]`.

        Args:
            inputs: the same for each network.
            params: `[N, P]`; None: sampled.
            num_particles: how many are sampled; None: `num_particles`.
            state: not used.
        """
        if params is None:
            params = self.sample_parameters(num_particles=num_particles, training=self.training)
        return AlgStep(output=self._ensemble.outputs(inputs, params), state=(), info=())

    def train_iter(self, num_particles: int | None = None, state: Any = None) -> int:
        """Train on all batches once; returns their number.

        Args:
            num_particles: networks in each step; None: `num_particles`.
            state: not used.
        """
        loader = supervised.needed(self._data, "train", f"{self.name}.train_iter()")
        summary.increment_global_counter()
        epoch = Epoch(self._ensemble.is_classification)
        loss_info, params, inverse_losses = LossInfo(), [], []
        for batch in supervised.batches(loader, self._device()):
            info = self.train_step(batch, num_particles).info
            epoch.add(info.extra.generator)
            inverse_losses.append(info.extra.inverse_mvp)
            loss_info, params = self.update_with_gradient(info)
            self._generator.after_update(info)
        if self._logs_training:
            epoch.log(self.name)
        inverse_loss = None
        if isinstance(inverse_losses[0], Tensor):
            inverse_loss = torch.stack(inverse_losses).sum()
        self.summarize_train(loss_info, params, epoch.cum_loss, epoch.avg_acc, inverse_loss)
        return epoch.num_batches

    def train_step(
        self,
        inputs: tuple[Tensor, Tensor],
        num_particles: int | None = None,
        entropy_regularization: float | None = None,
        state: Any = None,
    ) -> AlgStep:
        """The generator's step on a batch (inputs `[B, ...]`, targets).

        Args:
            inputs: the batch.
            num_particles: N; None: `num_particles`.
            entropy_regularization: weight of the repulsion; None: as set before.
            state: not used.
        """
        x, targets = inputs
        weight = entropy_regularization
        if weight is None:
            weight = self._entropy_regularization
        if weight is None:
            raise ValueError(
                f"{self.name}: entropy_regularization=None needs data_creator or set_data_loader()"
            )
        loss_func, transform = self._ensemble.loss_of_params(x, targets), None
        if self._function_vi:
            loss_func, transform = self._ensemble.loss_of_view(targets), self._ensemble.view(x)
        return self._generator.train_step(
            None,
            loss_func,
            batch_size=self._num_particles if num_particles is None else num_particles,
            transform_func=transform,
            entropy_regularization=weight,
        )

    def evaluate(self, num_particles: int | None = None) -> Score:
        """The score on the test data of networks drawn for it; summaries are written too.

        Args:
            num_particles: how many networks; None: `num_particles`.
        """
        return self._evaluator.evaluate(self._data, self._drawn(num_particles), self._device())

    def eval_uncertainty(self, num_particles: int | None = None) -> Uncertainty:
        """How well networks drawn for it tell outliers from the test data by their uncertainty.

        Args:
            num_particles: how many networks; None: `num_particles`.
        """
        return self._evaluator.eval_uncertainty(
            self._data, self._drawn(num_particles), self._device()
        )

    def _drawn(self, num_particles: int | None) -> Callable[[Tensor], Tensor]:
        """Outputs of networks drawn now, as a function of inputs."""
        with torch.no_grad():
            params = self.sample_parameters(num_particles=num_particles, training=False)
        return lambda inputs: self.predict_step(inputs, params).output

    def _device(self) -> torch.device:
        return next(self._generator.parameters()).device

    def summarize_train(  # type: ignore[override]
        self,
        loss_info: LossInfo,
        params: list[tuple[str, nn.Parameter]],
        cum_loss: Tensor | None = None,
        avg_acc: Tensor | None = None,
        inverse_mvp_loss: Tensor | None = None,
    ) -> None:
        """Write the summaries of an epoch.

        Args:
            loss_info: loss of the last batch.
            params: names and parameters, with gradients.
            cum_loss: sum of the losses of all batches `[]`.
            avg_acc: mean accuracy of all batches `[]`.
            inverse_mvp_loss: sum of the losses of the network that inverts Jacobians `[]`.
        """
        supervised.summarize(self._config, loss_info, params, cum_loss, avg_acc)
        if inverse_mvp_loss is not None and summary.should_record_summaries():
            summary.scalar("inverse_mvp_loss", inverse_mvp_loss)
