"""Cases whose figures were worked out by hand, from documentation and papers, not recorded.

Each case says how; `golden.json` holds the figures, under names of the form "area.hand.fact".
"""

import math

import torch
import torch.nn as nn
from harness import case

import alf
from alf import layers
from alf import networks as N
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import losses, math_ops, value_ops


def numbers(x):
    return x.detach().tolist()


@case("losses.hand.value_between_two_outcomes")
def _():
    """Sqrt1p's inverse makes 0, 3, 8 of the outcomes 0, 1, 2: 5 is 0.6 of 3 and 0.4 of 8."""
    logits = torch.zeros(1, 7, requires_grad=True)
    loss = losses.DiscreteRegressionLoss(math_ops.Sqrt1pTransform())(logits, torch.tensor([5.0]))
    loss.sum().backward()
    return numbers(1 / 7 - logits.grad)


@case("losses.hand.value_between_two_outcomes_averaged_before_the_inverse")
def _():
    """The transformed target is sqrt(6) - 1, between 1 and 2."""
    logits = torch.zeros(1, 7, requires_grad=True)
    loss = losses.DiscreteRegressionLoss(math_ops.Sqrt1pTransform(), inverse_after_mean=True)
    loss(logits, torch.tensor([5.0])).sum().backward()
    return numbers(1 / 7 - logits.grad)


@case("losses.hand.iqn_huber_loss")
def _():
    """u = [[1, 3], [-3, -1]], huber(u) = [[.5, 2.5], [2.5, .5]], all weighted by a quarter."""
    loss, u = losses.iqn_huber_loss(
        torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 3.0]]), fixed_tau=torch.tensor([0.25, 0.75])
    )
    return [numbers(loss), numbers(u)]


@case("value_ops.hand.one_step_return_at_ends")
def _():
    """1 + 0.5 * 4; then a real end, 1 and 0, or a time limit, 1 + 0.5 * 8 and 0.5 * 8."""
    steps = torch.tensor([1, 1, 2, 0]).unsqueeze(1).expand(4, 2)
    discounts = torch.tensor([[1.0, 1.0], [0.5, 0.5], [0.0, 0.5], [0.5, 0.5]])
    rewards = torch.tensor([0.0, 1.0, 1.0, 9.0]).unsqueeze(1).expand(4, 2)
    values = torch.tensor([2.0, 4.0, 8.0, 3.0]).unsqueeze(1).expand(4, 2)
    return numbers(value_ops.one_step_discounted_return(rewards, values, steps, discounts))


@case("math.hand.log1p")
def _():
    x = torch.tensor([math.e - 1, 1 - math.e])
    return [numbers(math_ops.Log1pTransform(alpha=a).transform(x)) for a in (20, 3)]


@case("optimizers.hand.fixed_norm")
def _():
    """(3, 4) goes to (3, -1), which is stretched from sqrt(10) to 5."""
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    p.opt_args = {"fixed_norm": True}
    optimizer = alf.optimizers.SGD(lr=1.0)
    optimizer.add_param_group({"params": [p]})
    p.grad = torch.tensor([0.0, 5.0])
    optimizer.step()
    return numbers(p)


@case("optimizers.hand.NeroPlus.lr_scale")
def _():
    """The first step of Adam is as long as the learning rate."""
    p = nn.Parameter(torch.tensor([1.0, -1.0]))
    p.opt_args = {"lr_scale": 0.5}
    optimizer = alf.optimizers.NeroPlus(lr=0.2)
    optimizer.add_param_group({"params": [p]})
    p.grad = torch.tensor([4.0, 0.25])
    optimizer.step()
    return numbers(p)


@case("optimizers.hand.TrustedUpdater.not_proportional")
def _():
    """The change p^2 is 16, allowed is 1: 4 * 0.9 / 16, and 0.225^2 is allowed."""
    from alf.optimizers.trusted_updater import TrustedUpdater

    p = nn.Parameter(torch.tensor([0.0]))
    updater = TrustedUpdater([p])
    with torch.no_grad():
        p.add_(4.0)
    change, count = updater.adjust_step(lambda: p.detach().square().sum(), 1.0)
    return [float(change), count, numbers(p)]


@case("memory.hand.MemoryWithUsage.read")
def _():
    """Cosines 1 and 0 times ln 3: shares 3/4 and 1/4 of (2, 0) and (0, 4)."""
    from alf.networks.memory import MemoryWithUsage

    memory = MemoryWithUsage(2, 2, scale=math.log(3))
    memory.build(1)
    memory.write(torch.tensor([[2.0, 0.0]]))
    memory.write(torch.tensor([[0.0, 4.0]]))
    return numbers(memory.read(torch.tensor([[5.0, 0.0]])))


@case("layers.hand.FixedDecodingLayer.haar")
def _():
    """Constant, one wavelet of level 0, two of level 1; tau, tau^2 times the orthonormal ones."""
    return numbers(layers.FixedDecodingLayer(4, 4, basis_type="haar", tau=0.5).weight)


@case("layers.hand.FCBatchEnsemble")
def _():
    """s * (W (r * x)) + b with W = (1, 2), r = (1, -1), s = b = -1: -(3 - 8) - 1."""
    layer = layers.FCBatchEnsemble(2, 1, 1, output_ensemble_ids=False)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.tensor({"[1, 2]": [[1.0, -1.0]], "[1, 1]": [[-1.0]]}[str(list(p.shape))]))
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
    y = layer((torch.tensor([[3.0, 4.0]]), torch.tensor([0])))
    return numbers(y)


@case("layers.hand.TransformerBlock.all_masked_is_no_attention")
def _():
    """With every slot masked the memory does not matter."""
    block = layers.TransformerBlock(4, 2, 3)
    query, mask = torch.ones(1, 4), torch.ones(1, 3, dtype=torch.bool)
    y = [block(memory, query, mask) for memory in (torch.zeros(1, 3, 4), torch.rand(1, 3, 4))]
    return bool(torch.equal(*y))


@case("distributions.hand.TruncatedNormal.log_prob")
def _():
    """ln phi(0) - ln 0.6826895, the mass within one deviation."""
    from alf.utils.distributions import TruncatedNormal

    one = torch.ones(1)
    return numbers(TruncatedNormal(0 * one, one, -one, one).log_prob(torch.zeros(1)))


@case("networks.hand.CosineEmbeddingPreprocessor")
def _():
    """cos(pi / 3), cos(2 pi / 3), cos(pi)."""
    return numbers(N.CosineEmbeddingPreprocessor(TensorSpec((1,)), 3)(torch.tensor([[1 / 3]]))[0])


@case("projection.hand.Beta")
def _():
    """Before learning it is uniform: its mean is the middle, its entropy ln 2 + ln 4."""
    spec = BoundedTensorSpec((2,), minimum=[-1, 0], maximum=[1, 4])
    d = N.BetaProjectionNetwork(3, spec)(torch.ones(1, 3))[0]
    return [numbers(d.mean), numbers(d.entropy())]
