"""Conv2d against plain layers, and what its masks keep out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.encoders.conv2d import Conv2d
from seqcl.registry import Spec


def build(**options: object) -> Conv2d:
    torch.manual_seed(0)
    return Conv2d(13, widths=(4, 6), local_dim=5, **options)


@pytest.mark.parametrize("strided", [False, True])
def test_it_is_two_convolutions_norms_and_maxima_or_strides_of_a_picture(strided: bool) -> None:
    encoder = build(pooling=Spec("poolings", "mean"), strided=strided)
    values = torch.randn(3, 13, 21)
    encoded = encoder(Batch(values, torch.arange(3)), local=True)
    picture = values[:, None]
    for stage, stride in enumerate((2, 1)):
        norm, kernel = torch.nn.BatchNorm2d((4, 6)[stage]), encoder.convolutions[stage].weight
        picture = F.conv2d(picture, kernel, stride=(2, stride) if strided else 1, padding=1)
        picture = F.relu(norm(picture))
        if not strided:
            picture = F.max_pool2d(picture, (2, stride), ceil_mode=True)
    assert picture.shape == (3, 6, 4, 11)
    frames = encoder.frame(picture.permute(0, 3, 1, 2).reshape(3, 11, 24))
    assert torch.allclose(encoded.local, frames.transpose(1, 2), atol=1e-5)
    assert torch.allclose(encoded.pooled, frames.mean(1), atol=1e-5)


@pytest.mark.parametrize("strided", [False, True])
def test_statistics_in_training_run_over_real_frames_alone(strided: bool) -> None:
    short = torch.randn(4, 13, 15)
    long = F.pad(short, (0, 25), value=50.0)
    mask = (torch.arange(40) < 15).expand(4, 40)
    plain, masked = build(strided=strided), build(strided=strided)
    a = plain(Batch(short, torch.arange(4))).pooled
    b = masked(Batch(long, torch.arange(4), mask=mask)).pooled
    assert torch.allclose(a, b, atol=1e-5)
    for one, other in zip(plain.norms, masked.norms, strict=True):
        assert torch.allclose(one.running_var, other.running_var, atol=1e-5)
