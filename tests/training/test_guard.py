import pytest
import torch
from torch import nn

from seqcl.batch import Batch
from seqcl.methods.base import Loss
from seqcl.training.guard import Fault, Guard
from seqcl.training.optim import build_optimizer, set_learning_rate, skip_update
from seqcl.training.options import TrainingOptions
from seqcl.training.step import clip_gradient

CPU = torch.device("cpu")


def watch(guard, step, total, norm=1.0):
    batch = Batch(torch.zeros(2, 1, 3), torch.tensor([step, step + 100]))
    loss = Loss(torch.tensor(total), {"part": torch.tensor(2 * total)})
    return guard.watch(step, batch, loss, torch.tensor(norm))


def test_means_are_taken_since_the_last_read():
    guard = Guard(CPU)
    watch(guard, 0, 1.0)
    watch(guard, 1, 2.0, norm=3.0)
    assert guard.read() == {"loss": 1.5, "grad_norm": 2.0, "part": 3.0}
    watch(guard, 2, 5.0)
    assert guard.read() == {"loss": 5.0, "grad_norm": 1.0, "part": 10.0}


@pytest.mark.parametrize(("total", "norm"), [(torch.nan, 1.0), (torch.inf, 1.0), (1.0, torch.inf)])
def test_the_flag_is_raised_at_the_first_bad_step_and_stays(total, norm):
    guard = Guard(CPU)
    flags = [watch(guard, 0, 1.0), watch(guard, 1, total, norm), watch(guard, 2, 1.0)]
    assert [float(flag) for flag in flags] == [0.0, 1.0, 1.0]


def test_the_fault_is_the_first_of_several_with_its_parts_and_rows():
    guard = Guard(CPU)
    watch(guard, 4, 1.0)
    watch(guard, 5, torch.inf)
    watch(guard, 6, torch.nan)
    fault = guard.read()
    assert isinstance(fault, Fault)
    assert (fault.step, fault.rows) == (5, (5, 105))
    assert fault.describe() == "loss=inf, grad_norm=1, part=inf"


def test_parts_that_change_from_step_to_step_are_a_programmers_fault():
    guard = Guard(CPU)
    watch(guard, 0, 1.0)
    batch = Batch(torch.zeros(2, 1, 3), torch.arange(2))
    with pytest.raises(ValueError, match="parts of the loss were .*'part'.*, now"):
        guard.watch(1, batch, Loss(torch.ones(())), torch.ones(()))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_a_step_reads_nothing_from_the_device(optimizer, waits):
    net = nn.Linear(3, 2)
    net.weight.grad, net.bias.grad = torch.ones(2, 3), torch.ones(2)
    options = TrainingOptions(optimizer=optimizer)
    optimizer, guard = build_optimizer(net, options), Guard(CPU)
    for step in range(3):
        with waits:
            norm = clip_gradient(net, 1.0)
            batch = Batch(torch.zeros(2, 1, 3), torch.arange(2))
            skip_update(optimizer, guard.watch(step, batch, Loss(torch.ones(())), norm))
            set_learning_rate(optimizer, 0.1)
            optimizer.step()
