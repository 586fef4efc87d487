import copy

import numpy as np
import pytest
import torch
from toy_training import CHANNELS, Collecting, Toy, same_bits

from seqcl.methods.several import Several
from seqcl.metrics.collapse import alignment, pair_cosines, rankme, relative_std, uniformity
from seqcl.rng import Rng
from seqcl.training import probe
from seqcl.training.diagnostics import BINS, Diagnostics, Movement
from seqcl.views.frontend import IdentityFrontend


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def views(toy):
    return toy.views(toy.watched, IdentityFrontend(CHANNELS), Rng(0))


def test_measures_are_those_of_the_metrics_on_eval_embeddings(toy, views):
    measured = Diagnostics(views).measure(toy.method)
    toy.method.eval()
    with torch.no_grad():
        a, b = (toy.method.encoder(view).pooled.numpy() for view in views)
    positives, negatives = pair_cosines(a, b)
    parts = {"positive": positives, "negative": negatives}
    middles = np.linspace(-1, 1, 2 * BINS + 1)[1::2]
    for name, part in parts.items():
        counts = measured.pop(f"{name}_cosines")
        assert sum(counts) == len(part)
        assert np.average(middles, weights=counts) == pytest.approx(part.mean(), abs=1 / BINS)
    assert measured == pytest.approx(
        {
            "relative_std": relative_std(a),
            "rankme": rankme(a),
            "alignment": alignment(a, b),
            "uniformity": uniformity(a),
            **{f"{name}_cosine": part.mean() for name, part in parts.items()},
        },
        rel=1e-5,  # both views share a call here, which changes the last bits
    )


def test_measuring_changes_nothing(toy, views):
    before = toy.state()
    Diagnostics(views).measure(toy.method.train())
    assert same_bits(before, toy.state())
    assert toy.method.training


def test_at_most_512_records_are_watched(toy, views):
    from seqcl.batch import Batch

    many = tuple(Batch.cat((view,) * 30) for view in views)
    assert [len(view) for view in Diagnostics(many).views] == [512, 512]


def test_a_collapsed_embedding_is_told_with_what_to_change(toy, views):
    watching = Diagnostics(views)
    assert watching.warnings(watching.measure(toy.method)) == []
    with torch.no_grad():
        toy.method.encoder.conv.weight.zero_()
    (text,) = watching.warnings(watching.measure(toy.method))
    assert text.startswith(
        "the embedding is collapsing: records differ less and less (relative_std"
    )
    assert "lower training.lr" in text


def test_of_members_that_learn_apart_the_mean_is_told_and_which_collapses(toy, views):
    methods = [copy.deepcopy(toy.method), copy.deepcopy(toy.method)]
    with torch.no_grad():
        methods[1].encoder.conv.weight.mul_(torch.rand_like(methods[1].encoder.conv.weight))
    alone = [Diagnostics(views).measure(one) for one in methods]
    both = Several(methods)
    watching = Diagnostics(views)
    measured = watching.measure(both)
    assert measured["rankme"] == pytest.approx((alone[0]["rankme"] + alone[1]["rankme"]) / 2)
    counts = [one["negative_cosines"] for one in alone]
    assert measured["negative_cosines"] == [a + b for a, b in zip(*counts, strict=True)]
    assert watching.warnings(measured) == []
    with torch.no_grad():
        methods[1].encoder.conv.weight.zero_()
    (text,) = watching.warnings(watching.measure(both))
    assert text.startswith("member 1: the embedding is collapsing")


def test_lost_dimensions_are_told_with_what_to_change():
    watching = Diagnostics(())
    watching.untrained = {"relative_std": 0.1, "rankme": 20.0}
    assert watching.warnings({"relative_std": 0.3, "rankme": 6.0}) == []
    (text,) = watching.warnings({"relative_std": 0.3, "rankme": 4.0})
    assert "losing dimensions (rankme 4.0, 20.0 before training)" in text


def test_a_training_that_collapses_says_so_at_which_step(toy):
    sink = Collecting()
    objective = toy.method.objective

    def shrink(encoded):
        loss = objective(encoded)
        spread = sum(view.pooled.var(dim=0).sum() for view in encoded)
        return type(loss)(spread, loss.parts, loss.carry)

    toy.method.objective = shrink
    toy.train(steps=60, lr=0.05, sinks=[sink], diagnose_every=30)
    assert any(note.startswith("step 60: the embedding is collapsing") for note in sink.notes)


def test_movement_is_the_relative_norm_of_the_change():
    net = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 4.0]]))
    movement = Movement(net)
    assert movement.share() == 0.0
    with torch.no_grad():
        net.weight.add_(torch.tensor([[0.3, 0.4]]))
    assert movement.share() == pytest.approx(0.1, rel=1e-5)


def test_the_watched_views_are_encoded_in_slices_that_change_nothing(toy, views, monkeypatch):
    encode, sizes = toy.method.encode, []

    def counted(parts):
        sizes.append(len(parts[0]))
        return encode(parts)

    monkeypatch.setattr(toy.method, "encode", counted)
    whole = Diagnostics(views).measure(toy.method)
    monkeypatch.setattr(probe, "_AT_ONCE", 5)
    sizes.clear()
    sliced = Diagnostics(views).measure(toy.method)
    assert max(sizes) == 5
    assert sum(sizes) == len(views[0])
    for name, value in sliced.items():
        if not isinstance(value, list):
            assert value == pytest.approx(whole[name], rel=1e-5)  # small batches: the last bits


def test_views_that_are_equal_have_a_cosine_of_one_with_each_other(toy, views):
    measured = Diagnostics((views[0], views[0])).measure(toy.method)
    count = len(views[0])
    assert measured["positive_cosines"] == [0] * (BINS - 1) + [count]
    assert sum(measured["negative_cosines"]) == count * (count - 1)
