"""What every registered encoder must do; that of a plugin is tested once it is installed."""

import pickle
from dataclasses import replace
from math import ceil
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.overrides import TorchFunctionMode
from waiting import Waits

from seqcl.batch import Batch
from seqcl.encoders.base import Encoder
from seqcl.registry import registry
from seqcl.rng import Rng

ALL = sorted(registry("encoders"))
NAMES = [name for name in ALL if "CT" in registry("encoders")[name].layouts]
IMAGES = [name for name in ALL if name not in NAMES]
TRAINABLE = [name for name in NAMES if registry("encoders")[name].trainable]
AUTOCAST = [name for name in ALL if registry("encoders")[name].autocast]
TOLERANCE = 1e-5
"""What the contract allows; other batch shapes already change the last bits of a product."""


def series(rows: int, channels: int, steps: int, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, channels, steps, generator=generator).cumsum(2)
    return Batch(values=values / (1 + values.std(correction=0)), ids=torch.arange(rows))


def pictures(rows: int, channels: int, size: tuple[int, int], seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, channels, *size, generator=generator)
    return Batch(values=values, ids=torch.arange(rows))


def records(name: str, rows: int, seed: int = 1) -> Batch:
    """Return what the encoder takes: 2 channels of 30 steps, or of 14 x 9 pixels."""
    return pictures(rows, 2, (14, 9), seed) if name in IMAGES else series(rows, 2, 30, seed)


def build(name: str, channels: int = 2, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder: Encoder = registry("encoders")[name](channels)
    sample = pictures(8, channels, (9, 7)) if name in IMAGES else series(8, channels, 40)
    encoder.prepare(sample, Rng(seed))
    return encoder


def with_lengths(batch: Batch, lengths: tuple[int, ...], garbage: float = 0.0) -> Batch:
    """Mask all steps from `lengths` on, and put `garbage` there."""
    counts = torch.tensor(lengths)
    mask = torch.arange(batch.values.shape[2]) < counts.unsqueeze(1)
    values = batch.values.masked_fill(~mask.unsqueeze(1), garbage)
    return replace(batch, values=values, mask=mask, lengths=counts, host_lengths=lengths)


def with_gaps(batch: Batch, garbage: float = 0.0) -> Batch:
    """Mask a run and some single steps of every record, the first one included."""
    gaps = torch.zeros(batch.values.shape[2], dtype=torch.bool)
    gaps[[0, 5, 11, 12, 13, 14, 15, 16, 17, 26]] = True
    mask = batch.mask if batch.mask is not None else torch.ones_like(batch.values[:, 0]).bool()
    mask = mask & ~gaps
    return replace(batch, mask=mask, values=batch.values.masked_fill(~mask.unsqueeze(1), garbage))


def padded(batch: Batch, steps: int, garbage: float) -> Batch:
    """Add `steps` masked steps to the end of a masked batch."""
    assert batch.mask is not None
    rows, channels, _ = batch.values.shape
    values = torch.cat((batch.values, torch.full((rows, channels, steps), garbage)), dim=2)
    mask = torch.cat((batch.mask, torch.zeros(rows, steps, dtype=torch.bool)), dim=1)
    return replace(batch, values=values, mask=mask)


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


class CountCalls(TorchFunctionMode):
    """Counts the torch functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rows", "channels", "steps"), [(1, 1, 1), (3, 2, 3), (1, 3, 22), (2, 1, 37)]
)
def test_gives_the_shapes_that_it_declares(name: str, rows: int, channels: int, steps: int) -> None:
    encoder, batch = build(name, channels), series(rows, channels, steps)
    local_steps = ceil(steps / encoder.stride)
    for given in (batch, with_lengths(batch, (steps,) * rows)):
        encoded = encoder(given, local=True)
        assert encoded.pooled.shape == (rows, encoder.out_dim)
        assert encoded.pooled.isfinite().all()
        assert encoded.local.shape == (rows, encoder.local_dim, local_steps)
        assert (encoded.mask is None) == (given.mask is None)
        assert encoded.mask is None or encoded.mask.shape == (rows, local_steps)
        assert encoded.view is given
        assert encoder(given).local is None
    assert encoder.in_channels == channels
    assert encoder.out_dim == encoder.pooling.out_dim


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    ("rows", "channels", "size"),
    [(1, 1, (1, 1)), (3, 2, (3, 5)), (2, 3, (33, 16)), (2, 1, (64, 64))],
)
def test_an_image_gives_the_shapes_that_it_declares(
    name: str, rows: int, channels: int, size: tuple[int, int]
) -> None:
    encoder, batch = build(name, channels).eval(), pictures(rows, channels, size)
    encoded = encoder(batch, local=True)
    height, width = (ceil(side / encoder.stride) for side in size)
    assert encoded.pooled.shape == (rows, encoder.out_dim)
    assert encoded.local.shape == (rows, encoder.local_dim, height * width)
    assert encoded.mask is None
    assert encoded.view is batch
    assert encoder(batch).local is None
    assert encoder.in_channels == channels
    assert encoder.out_dim == encoder.pooling.out_dim
    assert not encoder.embeds_steps


@pytest.mark.parametrize("name", IMAGES)
def test_local_features_of_an_image_stand_in_row_major_order(name: str) -> None:
    encoder, size = build(name).eval(), (10 * 32, 6 * 32)
    batch = pictures(1, 2, size)
    spot = batch.values.clone()
    spot[..., : size[0] // 2, :] += 5.0
    changed = encoder(batch.with_values(spot), local=True).local - encoder(batch, local=True).local
    rows = changed.abs().sum(1).view(ceil(size[0] / encoder.stride), -1).mean(1)
    assert rows[: len(rows) // 3].min() > 3 * rows[-len(rows) // 3 :].max()


@pytest.mark.parametrize("name", ALL)
def test_too_few_records_are_a_value_error_in_training(name: str) -> None:
    encoder = build(name)
    assert encoder(records(name, encoder.min_batch)).pooled.isfinite().all()
    if encoder.min_batch > 1:
        with pytest.raises(ValueError, match=f"at least {encoder.min_batch}"):
            encoder(records(name, encoder.min_batch - 1))


@pytest.mark.parametrize("name", ALL)
def test_defaults_have_at_most_a_million_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name, 9).parameters()) <= 1_000_000


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("masks", [False, True])
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(name: str, masks: bool) -> None:
    encoder, batch = build(name), series(8, 2, 40)
    batch = with_gaps(with_lengths(batch, (40, 7, 1, 23, 40, 39, 18, 30))) if masks else batch
    pooled = encoder(batch).pooled
    (pooled * torch.randn_like(pooled)).sum().backward()
    for part, parameter in encoder.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.isfinite().all(), part
        assert parameter.grad.norm() > 1e-5, part  # above what rounding leaves of a true zero


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e30])
def test_values_in_masked_steps_do_not_matter(name: str, garbage: float) -> None:
    encoder = build(name).eval()
    batch = with_lengths(series(4, 2, 41), (41, 3, 19, 38))
    clean, spoilt = with_gaps(batch), with_gaps(batch, garbage)
    assert difference(encoder(clean).pooled, encoder(spoilt).pooled) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_more_padding_does_not_matter(name: str, steps: int) -> None:
    encoder = build(name).eval()
    batch = with_gaps(with_lengths(series(4, 2, 41), (41, 3, 19, 38)))
    few, more = encoder(batch, local=True), encoder(padded(batch, steps, 7.0), local=True)
    assert difference(few.pooled, more.pooled) < TOLERANCE
    kept = few.mask.shape[1]
    assert torch.equal(few.mask, more.mask[:, :kept])
    assert not more.mask[:, kept:].any()
    real = few.mask.unsqueeze(1).expand_as(few.local)
    assert difference(few.local[real], more.local[:, :, :kept][real]) < 2 * TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_record_equals_itself_alone_without_a_mask(name: str) -> None:
    encoder, lengths = build(name).eval(), (29, 1, 13, 24)
    batch = series(4, 2, 29)
    together = encoder(with_lengths(batch, lengths, float("nan"))).pooled
    for row, length in enumerate(lengths):
        alone = Batch(values=batch.values[row : row + 1, :, :length], ids=torch.tensor([row]))
        assert difference(encoder(alone).pooled, together[row : row + 1]) < TOLERANCE


@pytest.mark.parametrize("name", ALL)
def test_a_record_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    encoder, batch = build(name).eval(), records(name, 5)
    assert difference(encoder(batch[1:3]).pooled, encoder(batch).pooled[1:3]) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_record_without_a_real_step_gives_finite_output_and_gradients(name: str) -> None:
    encoder = build(name)
    encoded = encoder(with_lengths(series(2, 2, 9), (0, 6), float("nan")), local=True)
    assert encoded.pooled.isfinite().all()
    assert not encoded.mask[0].any()
    if encoder.trainable:
        encoded.pooled.square().sum().backward()
    for part, parameter in encoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), part


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_all_true_equals_no_mask_and_costs_more(name: str) -> None:
    encoder, batch = build(name).eval(), series(3, 2, 22)
    with CountCalls() as fast:
        pooled = encoder(batch).pooled
    with CountCalls() as full:
        same = encoder(with_lengths(batch, (22,) * 3)).pooled
    assert difference(pooled, same) < TOLERANCE
    assert fast.count < full.count


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_result_and_eval_repeats_it(name: str) -> None:
    encoder, batch = build(name).eval(), records(name, 3)
    pooled = encoder(batch).pooled
    assert torch.equal(encoder(batch).pooled, pooled)
    assert torch.equal(build(name).eval()(batch).pooled, pooled)
    assert not torch.equal(build(name, seed=1).eval()(batch).pooled, pooled)


@pytest.mark.parametrize("name", ALL)
def test_input_is_untouched(name: str) -> None:
    batch = records(name, 2)
    if name in NAMES:
        batch = with_gaps(with_lengths(series(2, 2, 40), (40, 21), 3.0), 5.0)
    before = batch.values.clone(), None if batch.mask is None else batch.mask.clone()
    build(name)(batch, local=True)
    assert torch.equal(batch.values, before[0])
    assert before[1] is None or torch.equal(batch.mask, before[1])


@pytest.mark.parametrize("name", ALL)
def test_pickles_and_its_weights_survive_safetensors_bit_for_bit(name: str) -> None:
    encoder, batch = build(name), records(name, 3)
    expected = encoder.eval()(batch).pooled
    other = build(name, seed=1).eval()
    other.load_state_dict(load(save(encoder.state_dict())))
    assert torch.equal(other(batch).pooled, expected)
    assert torch.equal(pickle.loads(pickle.dumps(encoder))(batch).pooled, expected)


@pytest.mark.parametrize("name", AUTOCAST)
def test_bfloat16_autocast_pools_in_float32_close_to_full_precision(name: str) -> None:
    encoder, batch = build(name), records(name, 4)
    if name in NAMES:
        batch = with_lengths(series(4, 2, 40), (40, 9, 22, 31))
    with torch.autocast("cpu", torch.bfloat16):
        pooled = encoder(batch).pooled
        pooled.square().mean().backward()
    full = encoder(batch).pooled
    assert pooled.dtype == torch.float32
    # 8 bits give 0.4 % a layer; a dozen layers one after another stay within 3 %.
    assert (pooled - full).norm() < 0.03 * full.norm()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("name", IMAGES)
def test_every_parameter_learns_from_images(name: str) -> None:
    encoder = build(name)
    pooled = encoder(pictures(8, 2, (24, 24))).pooled
    (pooled * torch.randn_like(pooled)).sum().backward()
    for part, parameter in encoder.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.isfinite().all(), part
        assert parameter.grad.norm() > 1e-5, part


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_nothing_waits_for_the_device(name: str, masks: bool, waits: Waits) -> None:
    encoder, batch = build(name).train(), records(name, 6)
    if masks and name not in IMAGES:
        batch = with_gaps(with_lengths(batch, (30, 21, 17, 30, 9, 30)))
    encoder(batch)  # what is read from its weights once
    with waits:
        found = encoder(batch)
        if encoder.trainable:
            torch.autograd.backward([found.pooled.sum()])
