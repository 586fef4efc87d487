from itertools import product

import pytest
import torch
from torch.nn import functional as F

from seqcl.encoders.convolution import StepConv, real

GRID = [
    (kernel, stride, dilation, steps, causal)
    for kernel, stride, dilation, steps, causal in product(
        (1, 2, 3, 4, 7), (1, 2, 3), (1, 2, 8), (1, 2, 8, 13), (False, True)
    )
    if stride == 1 or dilation == 1
]


@pytest.mark.parametrize("causal", [False, True])
def test_equals_a_padded_conv1d(causal: bool) -> None:
    torch.manual_seed(0)
    for kernel, stride, dilation, steps, _ in (case for case in GRID if case[4] == causal):
        conv = StepConv(3, 5, kernel, stride=stride, dilation=dilation, causal=causal)
        series = torch.randn(2, 3, steps)
        before = kernel - 1 if causal else (kernel - 1) // 2
        around = (before * dilation, (kernel - 1 - before) * dilation)
        slow = F.conv1d(F.pad(series, around), conv.weight, conv.bias, stride, 0, dilation)
        fast = conv(series.transpose(1, 2)).transpose(1, 2)
        assert fast.shape[2] == -(-steps // stride)
        torch.testing.assert_close(fast, slow)


def test_gradients_equal_those_of_conv1d() -> None:
    torch.manual_seed(0)
    conv = StepConv(3, 5, 3, dilation=2).double()
    series = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(2, 9, 5, dtype=torch.float64)
    inputs = (series, conv.weight, conv.bias)
    slow = F.conv1d(series.transpose(1, 2), conv.weight, conv.bias, 1, 2, 2).transpose(1, 2)
    for mine, theirs in zip(
        torch.autograd.grad(conv(series), inputs, cotangent),
        torch.autograd.grad(slow, inputs, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_dilation_beyond_the_record_uses_the_centre_tap_alone() -> None:
    torch.manual_seed(0)
    conv = StepConv(2, 2, 3, dilation=16)
    series = torch.randn(1, 5, 2)
    torch.testing.assert_close(conv(series), F.linear(series, conv.weight[:, :, 1], conv.bias))


@pytest.mark.parametrize("dilation", [1, 4, 32])
def test_causal_output_sees_no_later_step(dilation: int) -> None:
    conv = StepConv(1, 1, 4, dilation=dilation, causal=True)
    series = torch.randn(1, 20, 1, requires_grad=True)
    conv(series)[0, 11, 0].backward()
    assert series.grad is not None
    assert series.grad[0, 12:].eq(0).all()
    assert series.grad[0, 11] != 0


def test_the_channels_of_a_step_stay_side_by_side_in_memory() -> None:
    conv = StepConv(3, 8, 3)
    assert conv(torch.randn(4, 10, 3)).is_contiguous()


def test_real_zeroes_masked_steps_only() -> None:
    steps, mask = torch.randn(2, 3, 4), torch.tensor([[True, False, True], [False, True, True]])
    kept = real(steps, mask)
    assert torch.equal(kept[mask], steps[mask])
    assert kept[~mask].eq(0).all()
    assert real(steps, None) is steps
