"""What every registered view generator promises."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from seqcl.batch import Batch
from seqcl.registry import Spec, registry
from seqcl.rng import Rng
from seqcl.views.base import Frontend, ViewGenerator
from seqcl.views.frontend import IdentityFrontend

ALL = tuple(registry("views"))
NAMES = tuple(name for name in ALL if "CT" in registry("views")[name].layouts)
IMAGES = tuple(name for name in ALL if "CHW" in registry("views")[name].layouts)
DTYPES = (torch.float32, torch.bfloat16)
JITTER = Spec("augmentations", "jitter")
SCALE = Spec("augmentations", "scale")
HOST = (48, 37, 20, 48, 9, 1)


class Doubled(Frontend):
    """Doubles the values and counts its calls."""

    calls = 0

    def forward(self, batch: Batch) -> Batch:
        self.calls += 1
        return batch.with_values(batch.values * 2)


def dense(rows: int = 6, channels: int = 3, steps: int = 48, dtype=torch.float32) -> Batch:
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(0))
    return Batch(values.to(dtype), torch.arange(rows) + 10, labels=torch.arange(rows))


def images(rows: int = 6, channels: int = 3, size=(20, 12), dtype=torch.float32) -> Batch:
    values = torch.rand(rows, channels, *size, generator=torch.Generator().manual_seed(0))
    return replace(dense(rows, 1, 1), values=values.to(dtype))


def ragged(dtype=torch.float32) -> Batch:
    batch = dense(dtype=dtype)
    lengths = torch.tensor(HOST)
    mask = torch.arange(48) < lengths[:, None]
    mask[:3, 12:15] = False
    values = batch.values * mask[:, None]
    return replace(batch, values=values, lengths=lengths, host_lengths=HOST, mask=mask)


WHOLE = [(name, dense) for name in NAMES] + [(name, images) for name in IMAGES]
CHANGES = {dense: JITTER, images: Spec("augmentations", "resized_crop")}


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def generator(name) -> ViewGenerator:
    return registry("views")[name](after=(JITTER,))


@pytest.fixture
def frontend() -> Frontend:
    return IdentityFrontend(3)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_it_builds_with_defaults_and_survives_a_pickle(name, make):
    generator = pickle.loads(pickle.dumps(registry("views")[name]()))
    views = generator(make(), IdentityFrontend(3), Rng(0))
    assert isinstance(generator, ViewGenerator)
    assert generator.extra_steps >= 0
    assert len(views) >= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [dense, ragged])
def test_views_hold_the_records_in_order(generator, frontend, make, dtype):
    batch = make(dtype=dtype)
    for view in generator(batch, frontend, Rng(0)):
        assert torch.equal(view.ids, batch.ids)
        assert torch.equal(view.labels, batch.labels)
        assert view.values.shape[:2] == batch.values.shape[:2]
        assert view.values.shape[2] <= batch.values.shape[2]
        assert view.values.dtype == dtype
        assert view.values.isfinite().all()


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_equal_keys_give_equal_views_and_other_keys_other_ones(name, make):
    batch, frontend = make(), IdentityFrontend(3)
    generator = registry("views")[name](before=(CHANGES[make],))
    once, again = generator(batch, frontend, Rng(0, 1)), generator(batch, frontend, Rng(0, 1))
    assert all(torch.equal(a.values, b.values) for a, b in zip(once, again, strict=True))
    other = generator(batch, frontend, Rng(0, 2))
    assert all(not torch.equal(a.values, b.values) for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_no_two_views_are_the_same(name, make):
    generator = registry("views")[name](before=(CHANGES[make],))
    views = generator(make(), IdentityFrontend(3), Rng(0))
    for index, view in enumerate(views):
        assert not any(torch.equal(view.values, other.values) for other in views[:index])


@pytest.mark.parametrize("make", [dense, ragged])
def test_the_input_is_untouched(generator, frontend, make):
    batch, copy = make(), make()
    generator(batch, frontend, Rng(0))
    assert torch.equal(batch.values, copy.values)
    assert batch.start is None


def test_lengths_and_mask_agree_on_the_host_and_the_device(generator, frontend):
    batch = ragged()
    for view in generator(batch, frontend, Rng(4)):
        assert view.lengths.tolist() == list(view.host_lengths)
        assert min(view.host_lengths) >= 1
        assert max(view.host_lengths) <= view.values.shape[2]
        padding = torch.arange(view.values.shape[2]) >= view.lengths[:, None]
        assert not (view.mask & padding).any()
        assert not view.values.masked_select(~view.mask[:, None]).any()


def test_records_of_equal_length_need_no_mask(generator, frontend):
    for view in generator(dense(), frontend, Rng(0)):
        assert view.mask is None
        assert view.lengths is None


@pytest.mark.parametrize("garbage", [float("nan"), 1e30])
def test_what_masked_steps_hold_reaches_no_view(generator, frontend, garbage):
    batch = ragged()
    spoilt = batch.with_values(batch.values.masked_fill(~batch.mask[:, None], garbage))
    clean, out = generator(batch, frontend, Rng(1)), generator(spoilt, frontend, Rng(1))
    assert all(torch.equal(a.values, b.values) for a, b in zip(clean, out, strict=True))


def test_padding_is_never_shown_as_signal(name, frontend):
    """Every real step of a view without augmentations is a real step of its record."""
    batch = ragged()
    for key in range(20):
        for view in registry("views")[name]()(batch, frontend, Rng(key)):
            start = torch.zeros(6, dtype=torch.long) if view.start is None else view.start
            for row in range(6):
                real = view.mask[row].nonzero().flatten()
                source = real + start[row]
                assert batch.mask[row, source].all()
                assert torch.equal(view.values[row][:, real], batch.values[row][:, source])


@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 1, 3), (3, 4, 8)])
def test_the_smallest_batches_pass(generator, shape):
    for key in range(10):
        for view in generator(dense(*shape), IdentityFrontend(shape[1]), Rng(key)):
            assert view.values.shape[:2] == shape[:2]
            assert view.values.shape[2] >= 1
            assert view.values.isfinite().all()


@pytest.mark.parametrize("make", [dense, ragged])
def test_nothing_waits_for_the_device(generator, frontend, make, waits):
    batch, rng = make(), Rng(0)
    with waits:
        generator(batch, frontend, rng)


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_two_processes_make_the_views_that_one_would(name, make):
    batch, frontend = make(rows=8), IdentityFrontend(3)
    generator = registry("views")[name](before=(CHANGES[make],))
    whole = generator(batch, frontend, Rng(5))
    halves = [
        generator(batch[rank * 4 : rank * 4 + 4], frontend, Rng(5, rank=rank, world=2))
        for rank in range(2)
    ]
    for view, (first, second) in zip(whole, zip(*halves, strict=True), strict=True):
        assert torch.equal(view.values, torch.cat((first.values, second.values)))


def test_augmentations_run_on_both_sides_of_the_front_end(name):
    scale = Spec("augmentations", "scale", {"factor": (3.0, 3.0)})
    offset = Spec("augmentations", "offset", {"sigma": 1.0})
    batch, plain = dense(), registry("views")[name]()
    around = registry("views")[name](before=(offset, scale), after=(scale,))
    bare, views = plain(batch, Doubled(3), Rng(0)), around(batch, Doubled(3), Rng(0))
    for before, after in zip(bare, views, strict=True):
        # 3 * 2 * 3 times (value + offset), where the plain view is 2 * value
        shift = after.values / 18 - before.values / 2
        assert shift.std(dim=2).max() < 1e-5, "one offset per channel"
        assert shift.abs().max() > 0.1


def test_an_augmentation_at_the_end_leaves_the_other_draws_alone(name, frontend):
    one, two = (registry("views")[name](after=chain) for chain in ((JITTER,), (JITTER, SCALE)))
    batch = dense()
    for short, long in zip(one(batch, frontend, Rng(0)), two(batch, frontend, Rng(0)), strict=True):
        ratio = long.values / short.values
        # One factor per channel: what remains is rounding, largest where the value is smallest.
        assert (ratio.amax(2) - ratio.amin(2)).max() < 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", IMAGES)
def test_views_of_images_hold_the_records_in_order_and_nothing_waits(name, dtype, waits):
    batch, copy, rng = images(dtype=dtype), images(dtype=dtype), Rng(0)
    generator = registry("views")[name](before=(CHANGES[images],))
    with waits:
        views = generator(batch, IdentityFrontend(3), rng)
    assert torch.equal(batch.values, copy.values)
    for view in views:
        assert torch.equal(view.ids, batch.ids)
        assert torch.equal(view.labels, batch.labels)
        assert view.values.shape[:2] == batch.values.shape[:2]
        assert view.values.dtype == dtype
        assert 0 <= view.values.min() <= view.values.max() <= 1
        assert view.mask is view.lengths is view.start is None


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(1, 1, (8, 8)), (2, 1, (1, 1)), (3, 4, (5, 2))])
def test_the_smallest_images_pass(name, shape):
    for key in range(10):
        for view in registry("views")[name]()(images(*shape), IdentityFrontend(shape[1]), Rng(key)):
            assert view.values.shape[:2] == shape[:2]
            assert min(view.values.shape[2:]) >= 1
            assert view.values.isfinite().all()
