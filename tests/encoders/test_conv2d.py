"""Conv2d against plain layers, and what its masks keep out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.encoders.conv2d import Conv2d
from seqcl.registry import Spec


def build(**options: object) -> Conv2d:
    torch.manual_seed(0)
    return Conv2d(13, widths=(4, 6), local_dim=5, **options)


def test_it_is_two_convolutions_norms_and_maxima_of_a_picture() -> None:
    encoder = build(pooling=Spec("poolings", "mean"))
    values = torch.randn(3, 13, 21)
    encoded = encoder(Batch(values, torch.arange(3)), local=True)
    picture = values[:, None]
    for stage, stride in enumerate((2, 1)):
        norm = torch.nn.BatchNorm2d((4, 6)[stage])
        picture = F.relu(norm(encoder.convolutions[stage](picture)))
        picture = F.max_pool2d(picture, (2, stride), ceil_mode=True)
    assert picture.shape == (3, 6, 4, 11)
    frames = encoder.frame(picture.permute(0, 3, 1, 2).reshape(3, 11, 24))
    assert torch.allclose(encoded.local, frames.transpose(1, 2), atol=1e-5)
    assert torch.allclose(encoded.pooled, frames.mean(1), atol=1e-5)


def test_statistics_in_training_run_over_real_frames_alone() -> None:
    short = torch.randn(4, 13, 16)
    long = F.pad(short, (0, 24), value=50.0)
    mask = (torch.arange(40) < 16).expand(4, 40)
    plain, masked = build(), build()
    a = plain(Batch(short, torch.arange(4))).pooled
    b = masked(Batch(long, torch.arange(4), mask=mask)).pooled
    assert torch.allclose(a, b, atol=1e-5)
    for one, other in zip(plain.norms, masked.norms, strict=True):
        assert torch.allclose(one.running_var, other.running_var, atol=1e-5)
