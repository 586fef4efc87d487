import math

import pytest
import torch
from torch import nn

from seqcl.training.lars import Lars
from seqcl.training.optim import (
    build_optimizer,
    learning_rate,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
    skip_update,
)
from seqcl.training.options import TrainingOptions

OPTIMIZERS = ["adamw", "sgd", "lars"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(5, 4)
        self.norm = nn.LayerNorm([2, 4])
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def with_gradient(net, seed=0):
    torch.manual_seed(seed)
    for weight in net.parameters():
        if weight.requires_grad:
            weight.grad = torch.randn_like(weight)
    return net


def test_rate_rises_linearly_then_falls_along_a_half_cosine():
    options = TrainingOptions(lr=2.0, warmup=0.2)
    rates = [learning_rate(step, 10, options) for step in range(10)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert rates[6] == pytest.approx(1.0)  # half of the 8 steps after the warm-up
    assert rates[9] == pytest.approx(1 + math.cos(math.pi * 7 / 8))


def test_constant_rate_stays_after_the_warm_up():
    options = TrainingOptions(lr=0.5, warmup=0.5, schedule="constant")
    assert [learning_rate(step, 4, options) for step in range(4)] == [0.25, 0.5, 0.5, 0.5]


def test_no_warm_up_starts_at_the_full_rate():
    assert learning_rate(0, 10, TrainingOptions(lr=0.1, warmup=0.0)) == 0.1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_reaches_matrices_only(name):
    net = Net()
    optimizer = build_optimizer(net, TrainingOptions(optimizer=name, weight_decay=0.3))
    decayed, plain = optimizer.param_groups
    assert [id(weight) for weight in decayed["params"]] == [id(net.layer.weight)]
    assert decayed["weight_decay"] == 0.3
    assert plain["weight_decay"] == 0.0
    names = {id(weight): name for name, weight in net.named_parameters()}
    assert {names[id(weight)] for weight in plain["params"]} == {
        "layer.bias", "norm.weight", "norm.bias",
    }  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_that_is_skipped_changes_nothing_even_with_nan_gradients(name):
    net = with_gradient(Net())
    optimizer = build_optimizer(net, TrainingOptions(optimizer=name))
    skip_update(optimizer, torch.zeros(()))
    optimizer.step()
    weights = [weight.clone() for weight in net.parameters()]
    moments = optimizer_tensors(optimizer, net)
    moments = {key: value.clone() for key, value in moments.items()}
    net.layer.weight.grad.fill_(torch.nan)
    skip_update(optimizer, torch.ones(()))
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters(), strict=True))
    after = optimizer_tensors(optimizer, net)
    assert all(torch.equal(moments[key], after[key]) for key in moments)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_that_went_through_tensors_continues_bit_for_bit(name):
    options = TrainingOptions(optimizer=name)
    nets = Net(), Net()
    first, second = (build_optimizer(net, options) for net in nets)
    for step in range(3):
        with_gradient(nets[0], step)
        set_learning_rate(first, 0.1 * (step + 1))
        first.step()
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimizer_tensors(second, nets[1], optimizer_tensors(first, nets[0]))
    for net, optimizer in zip(nets, (first, second), strict=True):
        with_gradient(net, 9)
        set_learning_rate(optimizer, 0.5)
        optimizer.step()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)


def slow_lars(weights, gradients, *, rates, momentum, decay, trust):
    """Algorithm 1 of You et al. 2017 on plain lists."""
    velocity = [0.0] * len(weights)
    for lr, gradient in zip(rates, gradients, strict=True):
        size = math.sqrt(sum(w * w for w in weights))
        slope = math.sqrt(sum(g * g for g in gradient))
        local = trust * size / (slope + decay * size) if size and slope else 1.0
        velocity = [
            momentum * v + lr * local * (g + decay * w)
            for v, g, w in zip(velocity, gradient, weights, strict=True)
        ]
        weights = [w - v for w, v in zip(weights, velocity, strict=True)]
    return weights


@pytest.mark.parametrize("start", [[0.5, -1.5, 2.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_equals_the_algorithm_of_the_paper(start, decay):
    gradients = [[1.0, 2.0, -3.0], [0.0, 0.0, 0.0], [-0.1, 0.4, 0.2]]
    rates = [0.5, 1.0, 0.25]
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = Lars([weight], lr=1.0, momentum=0.8, weight_decay=decay, trust=0.02)
    for rate, gradient in zip(rates, gradients, strict=True):
        set_learning_rate(optimizer, rate)
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    expected = slow_lars(start, gradients, rates=rates, momentum=0.8, decay=decay, trust=0.02)
    # float64 and the same order of operations up to rounding
    torch.testing.assert_close(weight.tolist(), expected, rtol=1e-12, atol=1e-14)


def test_lars_without_adaptation_is_sgd_with_momentum():
    weights = [nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    lars = Lars([{"params": weights[:1], "adapt": False}], lr=0.1, momentum=0.9)
    sgd = torch.optim.SGD(weights[1:], lr=0.1, momentum=0.9)
    for _ in range(3):
        for weight, optimizer in zip(weights, (lars, sgd), strict=True):
            weight.grad = torch.tensor([0.3, 0.7])
            optimizer.step()
    # the rate stands inside the momentum here and outside there: equal up to rounding
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-6, atol=1e-7)


def test_lars_takes_no_closure():
    with pytest.raises(ValueError, match="takes no closure"):
        Lars([nn.Parameter(torch.zeros(1))], lr=0.1).step(lambda: 0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_learn_at_the_rates_of_their_factors(name):
    net = Net()
    factors = {"layer.weight": 0.5, "layer.bias": 0.5, "norm.weight": 0.25}
    optimizer = build_optimizer(net, TrainingOptions(optimizer=name), factors)
    set_learning_rate(optimizer, 0.2)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[p] for name, p in net.named_parameters() if p.requires_grad}
    assert found == {
        "layer.weight": 0.1, "layer.bias": 0.1, "norm.weight": 0.05, "norm.bias": 0.2,
    }  # fmt: skip


def test_sgd_bears_weights_that_learn_later_and_steps_as_torch_does() -> None:
    weights = [[torch.nn.Parameter(torch.ones(2, 2) * k) for k in (1, 2)] for _ in range(2)]
    options = TrainingOptions(optimizer="sgd", weight_decay=0.1, lr=0.1)
    module = torch.nn.ParameterList(weights[0])
    ours = build_optimizer(module, options)
    plain = torch.optim.SGD(weights[1], lr=0.1, momentum=0.9, weight_decay=0.1, fused=False)
    for step in range(3):
        for first, late in weights:
            first.grad = torch.full((2, 2), step + 1.0)
            late.grad = torch.full((2, 2), 2.0) if step else None
        ours.step()
        plain.step()
    for got, expected in zip(*weights, strict=True):
        torch.testing.assert_close(got, expected)
