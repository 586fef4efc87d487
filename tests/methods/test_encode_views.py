"""Views of equal shape share one call of the encoder, whatever they say of masks and lengths."""

import pytest
import torch

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.methods.base import encode_views
from seqcl.registry import registry

ROWS, STEPS = 4, 24
LENGTHS = (24, 10, 17, 1)


def view(seed: int, padded: bool = False, gaps: bool = False, steps: int = STEPS) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(ROWS, 2, steps, generator=generator)
    mask = torch.ones(ROWS, steps, dtype=torch.bool)
    if padded:
        mask = torch.arange(steps) < torch.tensor(LENGTHS)[:, None]
    if gaps:
        mask[:, 5:8] = False
    return Batch(
        values=values * mask[:, None],
        ids=torch.arange(ROWS),
        lengths=torch.tensor(LENGTHS) if padded else None,
        host_lengths=LENGTHS if padded else None,
        mask=mask if padded or gaps else None,
    )


def build(name: str) -> Encoder:
    torch.manual_seed(0)
    encoder: Encoder = registry("encoders")[name](2)
    return encoder.eval()


def assert_same(found: Encoded, alone: Encoded) -> None:
    # Another batch size changes the last bits of a matrix product.
    torch.testing.assert_close(found.pooled, alone.pooled, rtol=1e-5, atol=1e-5)
    assert found.local is not None
    assert alone.local is not None
    torch.testing.assert_close(found.local, alone.local, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["conv1d", "rnn"])
@pytest.mark.parametrize("first", ["whole", "padded", "gaps"])
@pytest.mark.parametrize("second", ["whole", "padded", "gaps"])
def test_mixed_masks_and_lengths_encode_as_each_view_alone(
    name: str, first: str, second: str
) -> None:
    encoder = build(name)
    views = tuple(
        view(seed, padded=kind == "padded", gaps=kind == "gaps")
        for seed, kind in enumerate((first, second))
    )
    for found, alone in zip(encode_views(encoder, views, local=True), views, strict=True):
        assert found.view is alone
        assert_same(found, encoder(alone, local=True))


def test_three_shapes_take_three_calls_and_keep_the_order_of_the_views() -> None:
    encoder, calls = build("conv1d"), list[int]()
    encoder.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    views = tuple(view(seed, steps=steps) for seed, steps in enumerate((24, 9, 24, 15, 9)))
    found = encode_views(encoder, views, local=False)
    assert calls == [2 * ROWS, 2 * ROWS, ROWS]
    assert [one.view for one in found] == list(views)
    for one, alone in zip(found, views, strict=True):
        assert one.local is None
        torch.testing.assert_close(one.pooled, encoder(alone).pooled, rtol=1e-5, atol=1e-5)
