"""Injections: where they say they are, and what each puts there, against slow references."""

from __future__ import annotations

import math

import pytest
import torch

from seqcl.batch import Batch
from seqcl.registry import Spec, registry
from seqcl.rng import Rng
from seqcl.views.injection import Injection, injected
from seqcl.views.injection_added import Drift, LevelShift, NoiseBurst, Spike
from seqcl.views.injection_mixed import Inject
from seqcl.views.injection_replaced import ChannelDropout, FlatLine, LocalWarp, Splice

ADDED = (Spike, LevelShift, Drift, NoiseBurst)
ALL = (*ADDED, FlatLine, ChannelDropout, Splice, LocalWarp)
HOST = (50, 31, 10, 1) * 8


def series(rows: int = 32, channels: int = 3, steps: int = 50) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(2 + torch.randn(rows, channels, steps, generator=generator), torch.arange(rows))


def ragged() -> Batch:
    """Unequal lengths, and gaps in the longer records."""
    batch, lengths = series(), torch.tensor(HOST)
    mask = torch.arange(50) < lengths[:, None]
    mask[::4, 20:24] = False
    return Batch(
        batch.values * mask[:, None], batch.ids, lengths=lengths, host_lengths=HOST, mask=mask
    )


def run(augmentation, batch: Batch, seed: int = 0):
    params = augmentation.sample(batch, Rng(seed))
    return augmentation.apply(batch, params).values, params


def cells(params) -> torch.Tensor:
    steps, channels = injected(params)
    return steps[:, None] & channels[:, :, None]


@pytest.mark.parametrize("make", [series, ragged])
@pytest.mark.parametrize("kind", [*ALL, Inject])
def test_nothing_changes_where_it_does_not_say_so(kind, make):
    batch = make()
    out, params = run(kind(p=0.7), batch)
    assert torch.equal(out[~cells(params)], batch.values[~cells(params)])
    assert (out != batch.values).flatten(1).any(1).sum() > 8


@pytest.mark.parametrize("kind", ADDED)
def test_what_is_added_changes_every_step_that_it_names(kind):
    batch = series()
    out, params = run(kind(p=0.7), batch)
    assert torch.equal(out != batch.values, cells(params))


@pytest.mark.parametrize("kind", [*ALL, Inject])
def test_the_stretch_lies_in_the_records_own_length_and_a_channel_is_always_changed(kind):
    _, params = run(kind(), ragged())
    assert (params["start"] >= 0).all()
    assert (params["stop"] > params["start"]).all()
    assert (params["stop"] <= torch.tensor(HOST)).all()
    assert params["channels"].any(1).all()


def test_records_that_are_not_chosen_have_no_labels():
    _, params = run(Spike(p=0.5), series())
    steps, channels = injected(params)
    assert torch.equal(steps.any(1), params["chosen"])
    assert torch.equal(channels.any(1), params["chosen"])


def test_the_size_of_the_stretch_and_the_number_of_channels_are_as_asked():
    batch = series(rows=2000, channels=5, steps=100)
    _, params = run(LevelShift(fraction=(0.2, 0.4), channel_share=0.3), batch)
    size = (params["stop"] - params["start"]).float()
    assert 20 <= size.min() < 22
    assert 38 < size.max() <= 40
    # One is always changed: 0.3 of the rest are, and all is lost in 0.7 ** 5 of the records
    expected = (5 * 0.3 + 0.7**5) / 5
    assert params["channels"].float().mean() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("kind", [Spike, LevelShift, Drift])
@pytest.mark.parametrize("make", [series, ragged])
def test_added_curves_are_those_of_a_slow_reference(kind, make):
    batch, one = make(), kind(floor=0.5)
    out, params = run(one, batch)
    for row, channel in torch.nonzero(params["channels"]).tolist():
        real = torch.ones(50, dtype=torch.bool) if batch.mask is None else batch.mask[row]
        own = batch.values[row, channel, real]
        unit = max(0.5, float(own.std(correction=0)) if len(own) else 0.0)
        start, stop = int(params["start"][row]), int(params["stop"][row])
        for step in range(start, stop):
            if not real[step]:
                continue
            since, size = step - start, stop - start
            shape = {
                Spike: math.sin(math.pi * (since + 0.5) / size),
                LevelShift: 1.0,
                Drift: (since + 1) / size,
            }[kind]
            added = float(params["height"][row, channel]) * unit * shape
            change = float(out[row, channel, step] - batch.values[row, channel, step])
            assert change == pytest.approx(added, abs=1e-4)
    low, high = one.amplitude
    assert low <= params["height"].abs().min() <= params["height"].abs().max() <= high
    assert 0.3 < (params["height"] > 0).float().mean() < 0.7


def test_a_noise_burst_has_the_deviation_asked_for():
    batch = series(rows=64, channels=1, steps=2000)
    out, params = run(NoiseBurst(amplitude=(2.0, 2.0), fraction=(0.5, 0.5)), batch)
    noise = (out - batch.values)[cells(params)]
    assert noise.std() == pytest.approx(2.0, rel=0.02)
    assert abs(float(noise.mean())) < 0.02


def test_a_constant_channel_is_changed_by_the_floor():
    flat = Batch(torch.full((4, 1, 20), 7.0), torch.arange(4))
    out, params = run(LevelShift(amplitude=(2.0, 2.0), floor=0.25), flat)
    assert (out - 7)[cells(params)].abs().sub(0.5).abs().max() < 1e-5


def test_a_flat_line_holds_the_last_real_value_up_to_its_start():
    batch = ragged()
    out, params = run(FlatLine(), batch)
    for row, channel in torch.nonzero(params["channels"]).tolist():
        start, stop = int(params["start"][row]), int(params["stop"][row])
        before = [step for step in range(start + 1) if batch.mask[row, step]]
        for step in range(start, stop):
            if batch.mask[row, step]:
                assert out[row, channel, step] == batch.values[row, channel, before[-1]]


@pytest.mark.parametrize("shows", ["last", "mean"])
def test_a_dead_channel_shows_one_value_to_the_end(shows):
    batch = series()
    out, params = run(ChannelDropout(shows=shows, fraction=(0.4, 0.8)), batch)
    assert (params["stop"] == 50).all()
    for row, channel in torch.nonzero(params["channels"]).tolist():
        start, own = int(params["start"][row]), batch.values[row, channel]
        value = own[start] if shows == "last" else own.mean()
        torch.testing.assert_close(out[row, channel, start:], value.expand(50 - start))


@pytest.mark.parametrize("source", ["record", "batch"])
def test_a_splice_is_a_stretch_of_another_place_or_record(source):
    batch = series()
    out, params = run(Splice(source=source), batch)
    own = torch.arange(32)
    assert torch.equal(params["other"], own) == (source == "record")
    assert source == "record" or (params["other"] != own).all()
    for row in range(32):
        start, stop = int(params["start"][row]), int(params["stop"][row])
        other = batch.values[params["other"][row]]
        channels = params["channels"][row]
        stretch = out[row, channels, start:stop]
        size = stop - start
        places = [
            place
            for place in range(50 - size + 1)
            if torch.equal(other[channels, place : place + size], stretch)
        ]
        assert len(places) == 1
        assert places[0] != start


def test_a_splice_never_brings_in_a_masked_step():
    batch = ragged()
    for source in ("record", "batch"):
        out, _ = run(Splice(source=source), batch)
        assert (out[batch.mask.unsqueeze(1).expand_as(out)] != 0).all()


@pytest.mark.parametrize(("rate", "seen"), [(2.0, 4.0), (2.0, 1.0)])
def test_a_local_warp_changes_the_frequency_of_the_stretch(rate, seen):
    wave = torch.sin(2 * math.pi * 2 * torch.arange(400) / 100).expand(64, 1, 400)
    out, params = run(
        LocalWarp(rate=(rate, rate), fraction=(0.5, 0.5)), Batch(wave, torch.arange(64))
    )
    faster = params["rate"][:, 0] > 1
    for row in torch.nonzero(faster == (seen > 2)).flatten().tolist():
        stretch = out[row, 0, params["start"][row] : params["stop"][row]]
        crossings = int((stretch[1:].sign() != stretch[:-1].sign()).sum())
        # Two crossings a period; the stretch is 200 steps, and turns back once at most
        assert crossings == pytest.approx(2 * seen * 2, abs=2)
        assert stretch[0] == wave[row, 0, params["start"][row]]


def test_inject_chooses_each_kind_equally_often_and_applies_it():
    batch = series(rows=800)
    mixed = Inject()
    out, params = run(mixed, batch)
    counts = params["kind"].bincount(minlength=8)
    # 100 of each are expected; 4 standard deviations are 37
    assert counts.min() > 63
    assert counts.max() < 137
    for place, spec in enumerate(mixed.kinds):
        rows = params["kind"] == place
        alone = registry("augmentations")[spec.name]().change(batch, params["parts"][place])
        assert torch.equal(out[rows], alone[rows])
        for name in ("start", "stop", "channels"):
            assert torch.equal(params[name][rows], params["parts"][place][name][rows])


def test_inject_takes_options_and_refuses_what_is_no_injection():
    only = Inject(kinds=(Spec("augmentations", "level_shift", {"amplitude": (2.0, 2.0)}),))
    _, params = run(only, series())
    assert params["parts"][0]["height"].abs().unique().tolist() == [2.0]
    with pytest.raises(ValueError, match="'jitter' is no injection; choose from spike"):
        Inject(kinds=(Spec("augmentations", "jitter"),))
    with pytest.raises(ValueError, match="kinds is empty"):
        Inject(kinds=())


@pytest.mark.parametrize("kind", ALL)
def test_reversed_ranges_are_refused(kind):
    assert issubclass(kind, Injection)
    with pytest.raises(ValueError, match="low must not exceed high"):
        kind(fraction=(0.5, 0.1))
