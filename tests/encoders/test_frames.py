"""Frames against a plain loop."""

from __future__ import annotations

import pytest
import torch

from seqcl.batch import Batch
from seqcl.encoders.frames import Frames
from seqcl.registry import Spec


def test_a_step_is_itself_and_rectified_projections_of_its_neighbours() -> None:
    torch.manual_seed(0)
    encoder = Frames(3, random=4, context=3, pooling=Spec("poolings", "mean"))
    values = torch.randn(2, 3, 7)
    encoded = encoder(Batch(values, torch.arange(2)), local=True)
    padded = torch.nn.functional.pad(values, (1, 1))
    for step in range(7):
        patch = padded[:, :, step : step + 3]  # (2, 3, 3)
        seen = torch.einsum("bct,fct->bf", patch, encoder.weight) + encoder.bias
        expected = torch.cat((values[:, :, step], seen.clamp(min=0)), 1)
        torch.testing.assert_close(encoded.local[:, :, step], expected)
    torch.testing.assert_close(encoded.pooled, encoded.local.mean(2))
    assert not list(encoder.parameters())


def test_an_even_context_is_refused() -> None:
    with pytest.raises(ValueError, match="context is 4; needed: an odd number"):
        Frames(2, context=4)


def test_without_random_features_the_steps_alone_are_pooled() -> None:
    encoder = Frames(3, random=0, pooling=Spec("poolings", "segments", {"segments": 4}))
    values = torch.randn(2, 3, 4)
    assert encoder.out_dim == 4 * 3
    assert torch.allclose(
        encoder(Batch(values, ids=torch.arange(2))).pooled, values.transpose(1, 2).flatten(1)
    )
