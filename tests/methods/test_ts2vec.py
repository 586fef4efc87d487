"""TS2Vec: which steps are contrasted, and what its options change."""

from dataclasses import replace

import pytest
import torch
from series_views import batch, encoder

from seqcl.batch import Batch
from seqcl.config.preset import load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.errors import PresetError
from seqcl.losses.hierarchical import hierarchical
from seqcl.losses.soft import record_weights
from seqcl.methods.ts2vec import TS2Vec, common_steps
from seqcl.registry import Spec, registry
from seqcl.rng import Rng
from seqcl.run.fitting import assemble, fit
from seqcl.training.gradcache import chunked_backward
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.overlapping import Overlapping


def crops(masked: bool = False, key: int = 0, rows: int = 5) -> tuple[Batch, ...]:
    return Overlapping()(batch(rows, 40, masked=masked), IdentityFrontend(1), Rng(key))


@pytest.mark.parametrize("masked", [False, True])
def test_both_views_give_the_same_moments_and_no_other(masked: bool) -> None:
    """With an encoder that returns its input, the common steps are equal in both views."""
    whole = batch(5, 40, masked=masked)
    for key in range(20):
        views = Overlapping()(whole, IdentityFrontend(1), Rng(key))
        method = TS2Vec({"main": encoder()})
        encoded = tuple(replace(one, local=one.view.values) for one in method.encode(views))
        first, second, real = common_steps(*encoded, stride=1)
        assert (real is None) is not masked
        real = torch.ones_like(first[..., 0], dtype=torch.bool) if real is None else real
        assert torch.equal(first[real], second[real])
        for row in range(5):
            seen = [
                {int(view.start[row]) + t for t in range(view.values.shape[2])
                 if view.mask is None or view.mask[row, t]}
                for view in views
            ]  # fmt: skip
            assert int(real[row].sum()) == len(seen[0] & seen[1])


@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("around", [False, True])
def test_the_loss_is_the_hierarchical_one_of_the_common_steps_alone(key: int, around: bool) -> None:
    """The authors cut both views to their overlap, and so its length alone sets the scales."""
    method, (left, right) = TS2Vec({"main": encoder()}, instance=0.3), crops(key=key)
    views = (right, left) if around else (left, right)
    shift = int(right.start[0] - left.start[0])
    common = left.values.shape[2] - shift
    first, second = (
        method.encoder(view, local=True).local.transpose(1, 2) for view in (left, right)
    )
    found = method(views)
    expected = hierarchical(first[:, shift:], second[:, :common], instance=0.3)
    torch.testing.assert_close(found.total, expected)
    assert torch.equal(found.parts["contrast"], found.total.detach())


def test_records_of_unequal_lengths_have_the_scales_of_the_longest_overlap() -> None:
    whole = batch(5, 40)
    lengths = (40, 30, 21, 9, 2)
    mask = torch.arange(40) < torch.tensor(lengths)[:, None]
    padded = whole.with_values(
        whole.values * mask[:, None], mask=mask, lengths=torch.tensor(lengths), host_lengths=lengths
    )
    for key in range(4):
        views = Overlapping()(padded, IdentityFrontend(1), Rng(key))
        shift = int(views[1].start[0] - views[0].start[0])
        encoded = TS2Vec({"main": encoder()}).encode(views)
        first, second, real = common_steps(*encoded, stride=1)
        assert first.shape == second.shape
        assert first.shape[1] == views[0].values.shape[2] - shift
        assert real is not None
        assert real[0].all()
        assert real.any(1).all()


def test_one_common_step_is_left_where_a_stride_would_round_it_away() -> None:
    torch.manual_seed(0)
    conv = registry("encoders")["conv1d"](1)
    views = (replace(batch(3, 13), offset=0), replace(batch(3, 16), offset=12))
    first, second, real = common_steps(*(conv(view, local=True) for view in views), stride=8)
    assert first.shape[1] == second.shape[1] == 1
    assert real is None


def test_without_an_offset_the_rest_of_the_shorter_view_is_not_real() -> None:
    method, views = TS2Vec({"main": encoder()}), crops()
    blind = tuple(replace(view, offset=None) for view in views)
    known, unknown = (common_steps(*method.encode(given), stride=1) for given in (views, blind))
    assert unknown[2] is not None
    steps = known[0].shape[1]
    assert unknown[2].sum(1).tolist() == [steps] * 5
    assert torch.equal(unknown[0][:, :steps], known[0])
    assert torch.equal(unknown[1][:, :steps], known[1])


def test_whole_records_equal_the_loss_of_all_their_steps() -> None:
    method = TS2Vec({"main": encoder()})
    views = (batch(seed=0), batch(seed=1))
    local = [one.local.transpose(1, 2) for one in method.encode(views)]
    torch.testing.assert_close(method(views).total, hierarchical(*local))


def test_a_strided_encoder_matches_to_half_a_stride() -> None:
    torch.manual_seed(0)
    conv = registry("encoders")["conv1d"](1)
    left, right = batch(3, 64), batch(3, 48)
    for shift, at in ((0, 0), (8, 1), (11, 1), (12, 2), (16, 2)):
        moved = replace(right, start=right.start + shift)
        encoded = [conv(view, local=True) for view in (left, moved)]
        first, second, real = common_steps(*encoded, stride=8)
        count = int(real[0].sum())
        assert torch.equal(first[:, :count], encoded[0].local.transpose(1, 2)[:, at : at + count])
        assert torch.equal(second[:, :count], encoded[1].local.transpose(1, 2)[:, :count])


def test_garbage_in_masked_steps_does_not_matter() -> None:
    method, views = TS2Vec({"main": encoder()}), crops(masked=True)
    spoilt = tuple(
        view.with_values(view.values.masked_fill(~view.mask[:, None], 1e3)) for view in views
    )
    assert torch.equal(method(views).total, method(spoilt).total)
    assert method(views).total.isfinite()


def soft(key: int = 0, masked: bool = False) -> tuple[Batch, tuple[Batch, ...]]:
    """Return records, and their crops of which half the steps are masked, with the whole."""
    whole = batch(6, 40, masked=masked)
    masks = (Spec("augmentations", "step_mask", {"probability": 0.5}),)
    generator = Overlapping(whole=True, before=masks)
    return whole, generator(whole, IdentityFrontend(1), Rng(key))


@pytest.mark.parametrize("masked", [False, True])
def test_soft_assignments_are_softclt_s_by_the_whole_records(masked: bool) -> None:
    method = TS2Vec({"main": encoder()}, soft_records=3.0, soft_steps=0.5, soft_ceiling=0.4)
    whole, views = soft(masked=masked)
    records = record_weights(whole.values, whole.mask, 3.0, 0.4)
    assert not torch.allclose(records, record_weights(views[0].values, views[0].mask, 3.0, 0.4))
    first, second, real = common_steps(*method.encode(views)[:2], stride=1)
    expected = hierarchical(first, second, real, records=records, sharpness=0.5)
    torch.testing.assert_close(method(views).total, expected)
    assert method(views).total > TS2Vec({"main": method.encoder})(views[:2]).total


def test_the_whole_record_is_measured_and_not_encoded() -> None:
    method, (_, views) = TS2Vec({"main": encoder()}, soft_records=3.0), soft()
    steps: set[int] = set()
    method.encoder.register_forward_pre_hook(
        lambda _, inputs: steps.add(inputs[0].values.shape[-1])
    )
    method(views).total.backward()
    assert steps == {view.values.shape[-1] for view in views[:2]}
    assert views[2].values.shape[-1] not in steps
    whole = [w.grad.clone() for w in method.parameters() if w.grad is not None]
    method.zero_grad()
    chunked_backward(method, views, 4, (0,))
    chunked = [w.grad for w in method.parameters() if w.grad is not None]
    torch.testing.assert_close(chunked, whole)
    with pytest.raises(ValueError, match="2 views; soft_records needs two crops and the whole"):
        method(views[:2])


def test_soft_records_and_the_whole_record_are_refused_without_each_other() -> None:
    data = dataset_from_arrays(torch.randn(6, 1, 30).numpy())
    cpu = torch.device("cpu")
    for change, told in (
        ("method.soft_records=3", "set views.overlapping.whole=true, or method.soft_records=null"),
        ("views.overlapping.whole=true", "TS2Vec would encode it; set views.overlapping.whole=fal"),
    ):
        with pytest.raises(PresetError, match=told):
            assemble(load_preset("ts2vec", (change,)), data, seed=0, device=cpu)
    both = ("method.soft_records=3", "views.overlapping.whole=true", "training.steps=2",
            "encoder.widths=[8, 6]")  # fmt: skip
    result = fit(assemble(load_preset("ts2vec", both), data, seed=0, device=cpu))
    assert result is not None
    assert result.steps == 2


def test_drawn_anchors_are_those_of_the_seed() -> None:
    method, views = TS2Vec({"main": encoder()}, anchors=3), crops()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(method(views).total.item())
    assert losses[0] == losses[1] != losses[2]


def test_views_that_do_not_say_where_they_start_are_refused() -> None:
    views = tuple(replace(batch(seed=seed), start=None) for seed in range(2))
    with pytest.raises(ValueError, match="do not say where they start.*use views: overlapping"):
        TS2Vec({"main": encoder()})(views)


def test_views_without_common_steps_are_refused_before_training() -> None:
    data = dataset_from_arrays(torch.randn(6, 1, 30).numpy())
    preset = load_preset("series", ("method=ts2vec",))
    with pytest.raises(PresetError, match="those of Independent share no steps .* and TS2Vec con"):
        assemble(preset, data, seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize("name", ["conv1d", "rnn", "resnet1d", "transformer"])
def test_every_encoder_trains(name: str) -> None:
    torch.manual_seed(0)
    method = TS2Vec({"main": registry("encoders")[name](1)})
    method(crops(masked=True)).total.backward()
    moved = [p.grad.norm() for p in method.parameters() if p.grad is not None]
    assert moved
    assert all(norm.isfinite() for norm in moved)


def test_step_mask_keeps_the_overlap() -> None:
    generator = Overlapping(before=(Spec("augmentations", "step_mask"),))
    left, right = generator(batch(4, 40), IdentityFrontend(1), Rng(0))
    assert (left.values == 0).float().mean() > 0.3
    assert left.start is not None
    assert right.start is not None
