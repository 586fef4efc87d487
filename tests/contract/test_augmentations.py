"""What every registered augmentation promises."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.registry import registry
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, real_steps
from seqcl.views.resample import Resampling


def names(layout: str) -> list[str]:
    table = registry("augmentations")
    return [name for name in table if layout in table[name].layouts]


SERIES = names("CT")
DTYPES = (torch.float32, torch.bfloat16)


def build(name: str, **options: float) -> Augmentation:
    return registry("augmentations")[name](**options)


def dense(rows: int = 6, channels: int = 3, steps: int = 40, dtype=torch.float32) -> Batch:
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(0))
    return Batch(
        values.to(dtype),
        torch.arange(rows),
        groups=torch.arange(rows) // 2,
        labels=torch.ones(rows),
    )


def images(rows: int = 6, channels: int = 3, size=(10, 8), dtype=torch.float32) -> Batch:
    values = torch.rand(rows, channels, *size, generator=torch.Generator().manual_seed(0))
    return replace(dense(rows, 1, 1), values=values.to(dtype))


def ragged(dtype=torch.float32) -> Batch:
    """Unequal lengths, one gap of three steps in every record but the last two."""
    batch = dense(steps=40, dtype=dtype)
    host = (40, 31, 22, 40, 9, 1)
    lengths = torch.tensor(host)
    mask = torch.arange(40) < lengths[:, None]
    mask[:4, 12:15] = False
    values = batch.values * mask[:, None]
    return replace(batch, values=values, lengths=lengths, host_lengths=host, mask=mask)


WHOLE = [(name, dense) for name in SERIES] + [(name, images) for name in names("CHW")]
KINDS = WHOLE + [(name, ragged) for name in SERIES]
TINY = {
    dense: ((1, 1, 8), (1, 1, 1), (2, 1, 2), (3, 4, 8)),
    images: ((1, 1, (8, 8)), (1, 1, (1, 1)), (2, 3, (2, 5)), (3, 3, (8, 4))),
}


def same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b is None or (a is not None and b is not None and torch.equal(a, b))


@pytest.fixture(params=SERIES)
def augmentation(request) -> Augmentation:
    return build(request.param)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_it_builds_with_defaults_and_survives_a_pickle(name, make):
    augmentation = build(name)
    assert isinstance(augmentation, Augmentation)
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "make"), KINDS)
def test_shape_dtype_and_the_other_fields_stay(name, make, dtype):
    batch = make(dtype=dtype)
    out = build(name)(batch, Rng(0))
    assert out.values.shape == batch.values.shape
    assert out.values.dtype == dtype
    assert out.values.isfinite().all()
    assert out.host_lengths == batch.host_lengths
    for name in ("ids", "groups", "labels", "lengths"):
        assert same(getattr(out, name), getattr(batch, name)), name
    assert (out.mask is None) == (batch.mask is None)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_equal_keys_give_equal_results_and_other_keys_other_ones(name, make):
    augmentation, batch = build(name), make()
    first = augmentation(batch, Rng(0, 1))
    assert torch.equal(first.values, augmentation(batch, Rng(0, 1)).values)
    others = [augmentation(batch, Rng(0, key)).values for key in range(2, 6)]
    assert any(not torch.equal(first.values, other) for other in others)


@pytest.mark.parametrize(("name", "make"), KINDS)
def test_a_draw_replays_from_its_parameters(name, make):
    augmentation, batch = build(name), make()
    params = augmentation.sample(batch, Rng(3))
    first, second = augmentation.apply(batch, params), augmentation.apply(batch, params)
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.values, augmentation(batch, Rng(3)).values)
    assert same(first.mask, second.mask)


@pytest.mark.parametrize(("name", "make"), KINDS)
def test_the_input_is_untouched(name, make):
    batch, copy = make(), make()
    build(name)(batch, Rng(0))
    assert torch.equal(batch.values, copy.values)
    assert same(batch.mask, copy.mask)
    assert same(batch.lengths, copy.lengths)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "make"), KINDS)
def test_probability_zero_is_the_identity_bit_for_bit(name, make, dtype):
    batch = make(dtype=dtype)
    out = build(name, p=0.0)(batch, Rng(0))
    assert torch.equal(out.values, batch.values)
    assert same(out.mask, batch.mask)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_p_decides_who_is_changed_and_never_how(name, make):
    batch = make(rows=32)
    half, always = build(name, p=0.5), build(name, p=1.0)
    chosen = half.sample(batch, Rng(0))["chosen"]
    assert 0 < int(chosen.sum()) < 32
    out, whole = half(batch, Rng(0)), always(batch, Rng(0))
    assert torch.equal(out.values[~chosen], batch.values[~chosen])
    assert torch.equal(out.values[chosen], whole.values[chosen])


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize("name", SERIES)
def test_what_masked_steps_hold_reaches_no_real_step(name, p, garbage):
    batch, augmentation = ragged(), build(name, p=p)
    spoilt = batch.with_values(batch.values.masked_fill(~batch.mask[:, None], garbage))
    clean, out = augmentation(batch, Rng(1)), augmentation(spoilt, Rng(1))
    assert torch.equal(out.values, clean.values)
    assert torch.equal(out.mask, clean.mask)
    assert not out.values.masked_select(~out.mask[:, None]).any(), "masked steps are 0"


def test_padding_without_a_mask_counts_as_masked(augmentation):
    batch = ragged()
    padding = torch.arange(40) >= batch.lengths[:, None]
    bare = replace(batch, mask=None, values=batch.values.masked_fill(padding[:, None], 7.0))
    out = augmentation(bare, Rng(0))
    assert not out.values.masked_select(padding[:, None]).any()


def test_missing_steps_stay_masked(augmentation):
    batch = ragged()
    out = augmentation(batch, Rng(2))
    inside = torch.arange(40) < batch.lengths[:, None]
    assert not (out.mask & ~inside).any(), "padding stays where it was"
    if not isinstance(augmentation, Resampling):
        assert torch.equal(out.mask, batch.mask)
    nothing = replace(batch, mask=torch.zeros_like(batch.mask))
    assert not augmentation(nothing, Rng(2)).mask.any()


@pytest.mark.parametrize(("name", "make"), [case for case in WHOLE if not build(case[0]).mixes])
def test_records_have_parameters_of_their_own(name, make):
    one = make(rows=1)
    batch = Batch(one.values.expand(16, *one.values.shape[1:]), torch.arange(16))
    out = build(name)(batch, Rng(0)).values
    assert len(out.unique(dim=0)) > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_the_smallest_batches_pass(name, make, dtype):
    augmentation = build(name)
    for shape in TINY[make]:
        batch = make(*shape, dtype=dtype)
        for key in range(5):
            out = augmentation(batch, Rng(key)).values
            assert out.shape == batch.values.shape
            assert out.isfinite().all()


@pytest.mark.parametrize(("name", "make"), KINDS)
def test_nothing_waits_for_the_device(name, make, waits):
    augmentation, batch, rng = build(name, p=0.5), make(), Rng(0)
    augmentation(batch, rng)  # constants are put on a device once
    with waits:
        augmentation(batch, rng)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_two_processes_draw_what_one_would(name, make):
    augmentation, batch = build(name), make(rows=8)
    whole = augmentation(batch, Rng(5)).values
    halves = [
        augmentation(batch[rank * 4 : rank * 4 + 4], Rng(5, rank=rank, world=2)).values
        for rank in range(2)
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_real_steps_come_from_the_mask_or_the_lengths():
    batch = ragged()
    assert real_steps(dense()) is None
    assert real_steps(batch) is batch.mask
    from_lengths = real_steps(replace(batch, mask=None))
    assert from_lengths.sum(1).tolist() == list(batch.host_lengths)


@pytest.mark.parametrize("name", names("CHW"))
def test_images_stay_within_zero_and_one(name):
    out = build(name, p=1.0)(images(rows=16), Rng(0)).values
    assert 0 <= out.min() <= out.max() <= 1
