"""Options other than the defaults keep the encoders' contract on masks and gradients."""

from dataclasses import replace
from math import ceil
from typing import Any

import pytest
import torch

from seqcl.batch import Batch
from seqcl.encoders.base import Encoder
from seqcl.registry import Spec, registry

CASES: list[tuple[str, dict[str, Any]]] = [
    ("conv1d", {"widths": (8, 8, 8), "stride": 3, "kernel": 4}),
    ("conv1d", {"widths": (8,)}),
    ("tcn", {"causal": True, "kernel": 2}),
    ("tcn", {"kernel": 4, "width": 7}),
    ("rnn", {"cell": "lstm", "layers": 2, "width": 8}),
    ("rnn", {"bidirectional": False, "pooling": Spec("poolings", "last")}),
    ("resnet1d", {"widths": (8, 12, 12), "blocks": 2, "stride": 3}),
    ("transformer", {"patch": 1, "head_dim": 4, "depth": 2}),
    ("transformer", {"patch": 16, "head_dim": 16, "depth": 1, "heads": 1}),
    *[("tcn", {"width": 8, "pooling": Spec("poolings", name)}) for name in registry("poolings")],
]


def build(case: tuple[str, dict[str, Any]]) -> Encoder:
    torch.manual_seed(0)
    encoder: Encoder = registry("encoders")[case[0]](2, **case[1])
    return encoder


def masked_batch(garbage: float = 0.0, more: int = 0) -> Batch:
    values = torch.randn(4, 2, 37, generator=torch.Generator().manual_seed(0))
    values = torch.cat((values, torch.zeros(4, 2, more)), dim=2)
    places = torch.arange(37 + more)
    mask = (places < torch.tensor([[37], [2], [16], [29]])) & (places % 11 != 5) & (places != 8)
    return Batch(values.masked_fill(~mask.unsqueeze(1), garbage), torch.arange(4), mask=mask)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_garbage_and_padding_do_not_matter(case: tuple[str, dict[str, Any]]) -> None:
    encoder = build(case).eval()
    pooled = encoder(masked_batch()).pooled
    assert encoder(masked_batch(), local=True).local.shape[2] == ceil(37 / encoder.stride)
    for other in (masked_batch(float("nan")), masked_batch(more=25), masked_batch(5.0, more=1)):
        assert (encoder(other).pooled - pooled).abs().max() < 1e-5


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_parameter_learns_with_and_without_a_mask(case: tuple[str, dict[str, Any]]) -> None:
    batch = masked_batch()
    for given in (batch, replace(batch, mask=None)):
        encoder = build(case)
        pooled = encoder(given).pooled
        (pooled * torch.randn_like(pooled)).sum().backward()
        for part, parameter in encoder.named_parameters():
            assert parameter.grad is not None, part
            assert parameter.grad.isfinite().all(), part
            assert parameter.grad.norm() > 1e-6, part  # a true zero leaves rounding, 1e-8
