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
        assert torch.equal(first[real], second[real])
        for row in range(5):
            seen = [
                {int(view.start[row]) + t for t in range(view.values.shape[2])
                 if view.mask is None or view.mask[row, t]}
                for view in views
            ]  # fmt: skip
            assert int(real[row].sum()) == len(seen[0] & seen[1])


def test_the_loss_is_the_hierarchical_one_of_the_common_steps() -> None:
    method, views = TS2Vec({"main": encoder()}, instance=0.3), crops()
    left, right = views
    shift = int(right.start[0] - left.start[0])
    common = left.values.shape[2] - shift
    steps = min(left.values.shape[2], right.values.shape[2])
    local = [method.encoder(view, local=True).local.transpose(1, 2) for view in views]
    first, second = (
        torch.nn.functional.pad(z[:, from_ : from_ + common], (0, 0, 0, steps - common), value=9.0)
        for z, from_ in zip(local, (shift, 0), strict=True)
    )
    real = (torch.arange(steps) < common).expand(5, -1)
    found = method(views)
    torch.testing.assert_close(found.total, hierarchical(first, second, real, instance=0.3))
    assert torch.equal(found.parts["contrast"], found.total.detach())


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
            "encoder.width=8", "encoder.depth=2", "encoder.local_dim=6")  # fmt: skip
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
