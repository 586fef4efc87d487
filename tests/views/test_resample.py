"""Reading records at fractional positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.resample import resample, resample_at
from seqcl.views.resampling import Crop


def slow(values, positions, mask, lengths):
    """One record, channel and step at a time."""
    rows, channels, _ = values.shape
    out = np.zeros((rows, channels, positions.shape[1]), values.dtype)
    real = np.zeros((rows, positions.shape[1]), bool)
    for b in range(rows):
        for t in range(min(positions.shape[1], lengths[b])):
            left = int(np.floor(positions[b, t]))
            weight = positions[b, t] - left
            reads = [left] if weight == 0 else [left, left + 1]
            real[b, t] = all(mask[b, step] for step in reads)
            if real[b, t]:
                for c in range(channels):
                    out[b, c, t] = np.interp(
                        positions[b, t], np.arange(values.shape[2]), values[b, c]
                    )
    return out, real


@pytest.mark.parametrize(("rows", "channels", "steps", "wanted"), [(1, 1, 1, 3), (4, 3, 17, 25)])
def test_it_equals_interpolation_record_by_record(rows, channels, steps, wanted):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, channels, steps)).astype(np.float32)
    positions = rng.uniform(0, steps - 1, (rows, wanted)).astype(np.float32)
    positions[:, ::3] = positions[:, ::3].round()
    mask = rng.random((rows, steps)) < 0.8
    lengths = rng.integers(1, wanted + 1, rows)
    out, real = resample_at(*map(torch.from_numpy, (values, positions, mask, lengths)))
    expected, expected_real = slow(values, positions, mask, lengths)
    assert np.array_equal(real.numpy(), expected_real)
    # float32 rounding of one product and one sum of values of about 1
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-6)


def test_whole_positions_read_values_bit_for_bit():
    values = torch.randn(2, 3, 10)
    positions = torch.arange(9, -1, -1, dtype=torch.float32).expand(2, 10)
    out, mask = resample_at(values, positions)
    assert torch.equal(out, values.flip(2))
    assert mask is None


def test_positions_outside_a_record_read_its_ends():
    values = torch.tensor([[[1.0, 2.0, 3.0]]])
    out, _ = resample_at(values, torch.tensor([[-4.0, 0.5, 9.0]]))
    assert out.flatten().tolist() == [1.0, 1.5, 3.0]


def test_a_step_between_a_real_and_a_missing_one_is_missing():
    values = torch.tensor([[[1.0, float("nan"), 3.0]]])
    mask = torch.tensor([[True, False, True]])
    out, real = resample_at(values, torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0]]), mask)
    assert real.tolist() == [[True, False, False, False, True]]
    assert out.flatten().tolist() == [1.0, 0.0, 0.0, 0.0, 3.0]


def test_half_precision_keeps_its_type_and_positions_stay_exact():
    values = torch.arange(512.0).remainder(64).to(torch.bfloat16).view(1, 1, -1)
    out, _ = resample_at(values, torch.arange(511.0, -1, -1).unsqueeze(0))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, values.flip(2))


def test_no_moves_give_the_same_batch():
    batch = Batch(torch.randn(2, 1, 8), torch.arange(2))
    assert resample(batch, []) is batch


def test_tokens_are_refused():
    batch = Batch(torch.randn(2, 1, 8), torch.arange(2), tokens=torch.zeros(2, 8, dtype=torch.long))
    with pytest.raises(ValueError, match="Crop: tokens cannot be interpolated; use windows"):
        Crop()(batch, Rng(0))
