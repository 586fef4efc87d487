"""The linear probe: values, what it chooses, and what it may look at."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from seqcl.errors import DataError
from seqcl.evaluation import choice, linear, probes
from seqcl.evaluation.linear import Linear


def test_ridge_on_standardised_features_is_the_classifier_of_minirocket(make) -> None:
    rng = np.random.default_rng(0)
    values, codes = rng.standard_normal((90, 200)), np.arange(90) % 3
    values[:, :3] += np.eye(3)[codes] * 2
    values[:, 3:] *= 10 ** rng.uniform(0, 2, 197)  # so that standardised features are better
    report = Linear(probe="ridge")(
        make(values[60:], codes[60:].tolist(), "t", scaling="each"),
        make(values[:60], codes[:60].tolist()),
    )
    assert report.details["chosen"]["scaling"] == "each"
    scaler = StandardScaler().fit(values[:60].astype(np.float32))
    oracle = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
    oracle.fit(scaler.transform(values[:60]), codes[:60])
    expected = oracle.predict(scaler.transform(values[60:]))
    assert [one["prediction"] for one in report.details["predictions"]] == expected.tolist()
    assert report.details["chosen"]["penalty"] == pytest.approx(oracle.alpha_)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_logistic_scores_are_the_probabilities_of_scikit_learn(blobs, classes) -> None:
    train = blobs(48, 0, classes=classes, distance=0.7)
    test = blobs(20, 1, "t", classes=classes, distance=0.7)
    report = Linear(probe="logistic")(test, train)
    chosen = report.details["chosen"]
    centre = train.values.mean(0)
    spread = train.values.std(0)
    if chosen["scaling"] == "common":
        spread = np.sqrt(np.mean(spread**2))
    oracle = LogisticRegression(C=chosen["c"], max_iter=1000)
    oracle.fit((train.values - centre) / spread, train.labels)
    expected = oracle.predict_proba((test.values - centre) / spread)
    found = [(one["prediction"], one["score"]) for one in report.details["predictions"]]
    assert [name for name, _ in found] == oracle.classes_[expected.argmax(1)].tolist()
    # both stop at a gradient of 1e-4
    np.testing.assert_allclose([score for _, score in found], expected.max(1), atol=1e-3)


def test_more_dimensions_than_records_give_what_scikit_learn_gives(make) -> None:
    rng = np.random.default_rng(0)
    values, codes = rng.standard_normal((40, 120)), np.arange(40) % 2
    values[:, 0] += 3 * codes
    scaling = probes.Scaling.fit(values.astype(np.float32), "common")
    ours, converged = probes.fit_logistic(scaling(values), codes, 0.1)
    oracle = LogisticRegression(C=0.1, tol=1e-6).fit(scaling(values), codes)
    assert converged
    # both stop at a gradient of 1e-4 or less
    np.testing.assert_allclose(ours.weights[:, 1] - ours.weights[:, 0], oracle.coef_[0], atol=1e-3)


def test_metrics_and_confusion_are_those_of_the_predictions(blobs) -> None:
    report = Linear()(blobs(60, 1, "t", distance=0.5), blobs(60, 0, distance=0.5))
    true, predicted = (
        [one[name] for one in report.details["predictions"]] for name in ("label", "prediction")
    )
    assert 0.3 < report.metrics["accuracy"] < 1
    assert report.metrics["accuracy"] == np.mean(np.array(true) == np.array(predicted))
    assert report.metrics["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    confusion = np.array(report.details["confusion"])
    assert confusion.sum() == 60
    assert np.trace(confusion) / 60 == pytest.approx(report.metrics["accuracy"])
    assert [row["id"] for row in report.details["predictions"]] == [f"t{i}" for i in range(60)]


def test_a_common_factor_does_not_change_the_predictions(blobs) -> None:
    train, test = blobs(60, 0), blobs(60, 1, "t")
    expected = Linear()(test, train)
    for factor in (1e-6, 1e6):
        scaled = [replace(part, values=part.values * np.float32(factor)) for part in (test, train)]
        assert Linear()(*scaled).details["confusion"] == expected.details["confusion"]


def test_units_that_differ_between_dimensions_are_standardised(blobs) -> None:
    units = np.float32([1, 1, 1, 1, 1, 1, 1, 1e5])
    rng = np.random.default_rng(0)
    train, test = (
        replace(part, values=np.c_[part.values[:, :7], rng.standard_normal(60)] * units)
        for part in (blobs(60, 0), blobs(60, 1, "t"))
    )
    report = Linear(probe="ridge")(test, train)
    assert report.details["chosen"]["scaling"] == "each"
    assert report.metrics["accuracy"] > 0.95


def test_it_keeps_the_probe_that_is_right_most_often_on_held_out_records(make) -> None:
    # a fifth of one class lies far out, which bends squared errors and not log-odds
    rng = np.random.default_rng(0)
    codes = np.arange(120) % 2
    values = rng.standard_normal((120, 2)) * [0.3, 3]
    values[:, 0] += codes
    values[codes == 1, 0] += (rng.random(60) < 0.2) * 40
    report = Linear()(
        make(values[60:], codes[60:].tolist(), "t"), make(values[:60], codes[:60].tolist())
    )
    candidates = report.details["chosen"]["candidates"]
    assert report.details["chosen"]["probe"] == "logistic"
    assert candidates[0]["accuracy"] == max(one["accuracy"] for one in candidates)
    ridge = Linear(probe="ridge")(
        make(values[60:], codes[60:].tolist(), "t"), make(values[:60], codes[:60].tolist())
    )
    assert report.metrics["accuracy"] > ridge.metrics["accuracy"]


def test_test_labels_do_not_change_what_is_chosen_or_predicted(blobs) -> None:
    train, test = blobs(40, 0, distance=0.5), blobs(40, 1, "t", distance=0.5)
    flipped = replace(test, labels=tuple(reversed(test.labels)))
    first, second = Linear()(test, train).details, Linear()(flipped, train).details
    assert first["chosen"] == second["chosen"]
    assert [one["score"] for one in first["predictions"]] == [
        one["score"] for one in second["predictions"]
    ]


def test_above_2000_dimensions_only_the_ridge_is_tried(make) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((12, linear._MOST_FEATURES + 1))
    report = Linear()(make(values[:6], [0, 1] * 3, "t"), make(values[6:], [0, 1] * 3))
    assert {one["probe"] for one in report.details["chosen"]["candidates"]} == {"ridge"}


def test_a_class_with_one_record_is_learnt_without_a_warning(blobs) -> None:
    train = blobs(30, 0)
    labels = ("rare", *train.labels[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = Linear()(blobs(30, 1, "t"), replace(train, labels=labels))
    assert report.details["classes"] == ["a", "b", "c", "rare"]
    assert report.metrics["accuracy"] > 0.8


@pytest.mark.parametrize("scaling", ["common", "each"])
def test_one_record_a_class_uses_the_ridge_with_the_declared_scaling(make, blobs, scaling) -> None:
    train = blobs(3, 0, distance=4)
    test = replace(blobs(30, 1, "t", distance=4), info={"scaling": scaling})
    report = Linear()(test, train)
    chosen = report.details["chosen"]
    assert (chosen["probe"], chosen["scaling"], chosen["accuracy"]) == ("ridge", scaling, None)
    assert report.metrics["accuracy"] > 0.6


def test_training_records_without_a_label_scale_but_do_not_teach(blobs) -> None:
    train = blobs(60, 0)
    wide = train.values.copy()
    wide[30:] *= 100
    labels = (*train.labels[:30], *[None] * 30)
    report = Linear()(blobs(30, 1, "t"), replace(train, values=wide, labels=labels))
    assert report.details["counts"]["reference"] == 30
    assert report.details["counts"]["reference_without_label"] == 30
    assert report.metrics["accuracy"] > 0.8


def test_classes_that_only_the_test_set_has_are_errors_that_are_told(blobs) -> None:
    test = blobs(30, 1, "t", distance=9)
    test = replace(test, labels=("new", "new", *test.labels[2:]))
    report = Linear()(test, blobs(60, 0, distance=9))
    assert report.metrics["accuracy"] == pytest.approx(28 / 30)
    assert report.details["counts"]["test_of_unseen_class"] == 2
    assert (
        "2 of 30 test records are of classes without a labelled training record ('new')"
        in (report.details["notes"][0])
    )
    assert report.details["classes"] == ["a", "b", "c", "new"]


def test_sets_that_share_no_class_are_refused_with_an_example_of_both(blobs) -> None:
    test = blobs(9, 1, classes=("1", "2", "3"))
    with pytest.raises(DataError, match=r"no class of the test set \('1', ...\) .* \(1, ...\)"):
        Linear()(test, blobs(9, 0, classes=(1, 2, 3)))


def test_one_class_is_refused(blobs) -> None:
    train = blobs(9, 0, classes=("a",))
    with pytest.raises(DataError, match="all 9 labelled training records are of class 'a'"):
        Linear()(blobs(9, 1), train)


def test_tags_are_refused(blobs) -> None:
    test = blobs(9, 1)
    with pytest.raises(DataError, match="1 test records have a list of tags"):
        Linear()(replace(test, labels=(("a", "b"), *test.labels[1:])), blobs(9, 0))


def test_a_fit_that_did_not_converge_is_told_and_not_warned(blobs, monkeypatch) -> None:
    monkeypatch.setattr(probes, "MAX_ITERATIONS", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = Linear(probe="logistic")(blobs(60, 1, "t"), blobs(60, 0))
    assert "stopped before it converged" in report.details["notes"][0]


@pytest.mark.parametrize("counts", [(40, 40), (9, 2, 1), (3, 3, 3), (2, 1), (300, 900, 5, 1)])
def test_folds_are_stratified_and_every_class_is_always_trained_on(counts) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    ids = [f"r{row}" for row in range(len(codes))]
    fold = choice.folds(ids, np.arange(len(ids)), codes, 0)
    assert (fold >= -1).sum() <= choice.MAX_RECORDS + 2 * len(counts)
    for code, count in enumerate(counts):
        of_class = fold[codes == code]
        if count == 1:
            assert of_class.tolist() == [-1]
            continue
        sizes = np.bincount(of_class[of_class >= 0], minlength=fold.max() + 1)
        assert sizes.max() - sizes.min() <= 1
        assert (sizes > 0).sum() >= 2


def test_folds_follow_the_ids_and_not_the_order_of_the_records() -> None:
    codes = np.arange(50) % 3
    ids = np.array([f"r{row}" for row in range(50)])
    order = np.random.default_rng(0).permutation(50)
    fold = choice.folds(ids, np.arange(len(ids)), codes, 0)
    assert (choice.folds(ids[order], np.arange(50), codes[order], 0) == fold[order]).all()


def test_the_records_of_a_unit_are_in_one_fold_and_every_class_is_always_trained_on() -> None:
    rng = np.random.default_rng(0)
    units = rng.integers(0, 12, 200)
    codes = (units + (rng.random(200) < 0.1)) % 3
    codes[units == 0] = 3  # a class of one unit
    fold = choice.folds([f"r{row}" for row in range(200)], units, codes, 0)
    for unit in range(1, 12):
        assert len(set(fold[units == unit].tolist()) - {-1}) == 1
    assert set(fold[codes == 3].tolist()) == {-1}
    for number in range(fold.max() + 1):
        assert (fold == number).any()
        assert set(codes[fold != number].tolist()) == {0, 1, 2, 3}


def test_classes_of_one_recording_each_leave_nothing_to_hold_out(blobs) -> None:
    found = blobs(60, 0)
    windows = replace(
        found,
        ids=tuple(f"{label}@{row}" for row, label in enumerate(found.labels)),
        start=np.arange(60),
    )
    chosen = Linear()(blobs(30, 1, "t"), windows).details["chosen"]
    assert chosen["accuracy"] is None
