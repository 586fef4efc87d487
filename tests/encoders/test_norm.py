import pytest
import torch
from torch import nn

from seqcl.encoders.norm import StepBatchNorm


@pytest.fixture(params=["a CPU", "a GPU"], autouse=True)
def _place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of either device, on a CPU."""
    monkeypatch.setattr("seqcl.encoders.norm.may_be_read", lambda _: request.param == "a CPU")


def masked_batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    steps = torch.randn(4, 9, 3) * 2 + 1
    mask = torch.arange(9) < torch.tensor([9, 5, 7, 2]).unsqueeze(1)
    return steps, mask


def test_statistics_run_over_real_steps_alone() -> None:
    steps, mask = masked_batch()
    ours, plain = StepBatchNorm(3), nn.BatchNorm1d(3)
    found = ours(steps, mask)[mask]
    torch.testing.assert_close(found, plain(steps[mask]))
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    torch.testing.assert_close(ours.eval()(steps, mask)[mask], plain.eval()(steps[mask]))


def test_garbage_and_more_padding_change_nothing() -> None:
    steps, mask = masked_batch()
    garbage = torch.where(mask.unsqueeze(2), steps, torch.nan)
    longer = torch.cat([garbage, torch.full((4, 5, 3), torch.inf)], 1)
    long_mask = torch.cat([mask, torch.zeros(4, 5, dtype=torch.bool)], 1)
    one, two = StepBatchNorm(3), StepBatchNorm(3)
    torch.testing.assert_close(one(steps, mask)[mask], two(longer, long_mask)[long_mask])
    torch.testing.assert_close(one.running_var, two.running_var)


def test_the_gradient_is_that_of_batch_norm_on_real_steps() -> None:
    steps, mask = masked_batch()
    a, b = (steps.clone().requires_grad_() for _ in range(2))
    weight = torch.randn(int(mask.sum()), 3)
    (StepBatchNorm(3)(a, mask)[mask] * weight).sum().backward()
    (nn.BatchNorm1d(3)(b[mask]) * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4)  # another order of sums


def test_no_mask_equals_a_mask_of_real_steps() -> None:
    steps, mask = masked_batch()
    one, two = StepBatchNorm(3), StepBatchNorm(3)
    torch.testing.assert_close(one(steps), two(steps, torch.ones_like(mask)))
    torch.testing.assert_close(one.running_var, two.running_var)


def test_one_single_step_gives_the_bias() -> None:
    norm = StepBatchNorm(3)
    assert torch.equal(norm(torch.randn(1, 1, 3)), torch.zeros(1, 1, 3))
