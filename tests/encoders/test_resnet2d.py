from __future__ import annotations

import pytest
import torch
from forked import CONTEXT
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.encoders.resnet2d import ResNet2d


def images(rows: int = 2, channels: int = 3, size: tuple[int, int] = (32, 32)) -> Batch:
    values = torch.randn(rows, channels, *size, generator=torch.Generator().manual_seed(0))
    return Batch(values, torch.arange(rows))


def millions(encoder: ResNet2d) -> float:
    return sum(parameter.numel() for parameter in encoder.parameters()) / 1e6


def test_the_sizes_of_the_networks() -> None:
    assert abs(millions(ResNet2d(3)) - 0.31) < 0.005
    # The literature's 11.7 and 21.8 million less their classifier of 512 x 1,000.
    for depth, expected in ((18, 11.18), (34, 21.28)):
        imagenet = ResNet2d(3, depth=depth, width=64, stem="imagenet")
        assert abs(millions(imagenet) - expected) < 0.01
        convolutions = [m for m in imagenet.modules() if isinstance(m, torch.nn.Conv2d)]
        assert sum(conv.kernel_size[0] > 1 for conv in convolutions) == depth - 1


def test_it_equals_the_network_written_out() -> None:
    torch.manual_seed(0)
    encoder = ResNet2d(3, width=4).eval()
    batch = images()

    x = F.relu(encoder.norm(F.conv2d(batch.values, encoder.stem.weight, padding=1)))
    for stage, block in enumerate(encoder.blocks):
        stride = 2 if stage else 1
        y = F.relu(block.norm1(F.conv2d(x, block.conv1.weight, padding=1, stride=stride)))
        y = block.norm2(F.conv2d(y, block.conv2.weight, padding=1))
        if stage:
            conv, norm = block.shortcut
            x = norm(F.conv2d(x, conv.weight, stride=2))
        x = F.relu(x + y)
    encoded = encoder(batch, local=True)
    torch.testing.assert_close(encoded.local, x.flatten(2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoded.pooled, x.mean((2, 3)), atol=1e-4, rtol=1e-4)


def _shortcut_gradients(width: int) -> None:
    """Compare a shortcut's gradients with torch's own, of the same values in another order."""
    conv = ResNet2d(3, width=width).blocks[1].shortcut[0]
    for _ in range(20):
        plain = torch.randn(16, width, 12, 12)
        given = (plain.to(memory_format=torch.channels_last), plain.clone())
        found = []
        for x, apply in zip(
            given, (conv, lambda x: F.conv2d(x, conv.weight, stride=2)), strict=True
        ):
            x.requires_grad_()
            found.append(torch.autograd.grad(apply(x).square().sum(), [x, conv.weight]))
        for ours, torchs in zip(*found, strict=True):
            torch.testing.assert_close(ours, torchs, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("width", [2, 4, 7])
def test_the_gradient_of_a_narrow_shortcut_stays_in_its_memory(width: int) -> None:
    """In a process of its own, which would crash."""
    process = CONTEXT.Process(target=_shortcut_gradients, args=(width,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(("stem", "stride"), [("cifar", 8), ("imagenet", 32)])
@pytest.mark.parametrize("size", [(32, 32), (33, 65), (7, 1)])
def test_the_local_grid(stem: str, stride: int, size: tuple[int, int]) -> None:
    encoder = ResNet2d(3, stem=stem, width=4).eval()
    local = encoder(images(size=size), local=True).local
    assert local.shape == (2, 32, -(-size[0] // stride) * -(-size[1] // stride))


def test_group_norm_treats_each_image_alone_in_training_too() -> None:
    encoder, batch = ResNet2d(3, norm="group", width=12), images(4)
    alone = encoder(batch[1:2]).pooled
    torch.testing.assert_close(encoder(batch).pooled[1:2], alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="at least 2 images, got 1; use norm='group'"):
        ResNet2d(3)(batch[:1])
