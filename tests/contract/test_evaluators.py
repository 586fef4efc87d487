"""What every registered evaluator promises."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest

from seqcl.batch import Embeddings
from seqcl.errors import DataError
from seqcl.evaluation.base import Evaluator, Report
from seqcl.registry import registry

NAMES = tuple(registry("evaluators"))
CLASSES = ("x", "y", "z")


def blobs(records: int, seed: int, distance: float = 1.5) -> Embeddings:
    rng = np.random.default_rng(seed)
    codes = np.arange(records) % 3
    values = np.eye(3, 6)[codes] * distance + rng.standard_normal((records, 6)) / 2
    ids = tuple(f"{seed}-{row}" for row in range(records))
    return Embeddings(values.astype(np.float32), ids, tuple(CLASSES[code] for code in codes))


TEST, REFERENCE = blobs(45, 1), blobs(60, 0)


def rows(embeddings: Embeddings, order: np.ndarray) -> Embeddings:
    assert embeddings.labels is not None
    return Embeddings(
        embeddings.values[order],
        tuple(embeddings.ids[row] for row in order),
        tuple(embeddings.labels[row] for row in order),
    )


def relabelled(embeddings: Embeddings, name: Callable[[str], object]) -> Embeddings:
    return replace(embeddings, labels=tuple(name(label) for label in embeddings.labels or ()))


def assert_same(found: Report, expected: Report) -> None:
    # other orders of summation change the last bits
    assert dict(found.metrics) == pytest.approx(dict(expected.metrics), abs=1e-6)


@pytest.fixture(params=NAMES)
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    return registry("evaluators")[request.param]()


def test_its_name_is_its_task(evaluator: Evaluator) -> None:
    assert evaluator.task in NAMES
    assert evaluator(TEST, REFERENCE).task == evaluator.task


def test_its_options_have_types_that_resolve(evaluator: Evaluator) -> None:
    assert set(get_type_hints(type(evaluator), include_extras=True)) >= {"task", "kind"}


def test_equal_options_are_equal_objects_that_pickle(evaluator: Evaluator) -> None:
    assert pickle.loads(pickle.dumps(evaluator)) == evaluator == type(evaluator)()


def test_the_report_is_finite_and_plain(evaluator: Evaluator) -> None:
    report = evaluator(TEST, REFERENCE)
    assert report.metrics
    assert all(type(value) is float and np.isfinite(value) for value in report.metrics.values())
    assert set(report.headline) <= set(report.metrics)
    assert json.loads(json.dumps(report.details, allow_nan=False)) == report.details
    assert pickle.loads(pickle.dumps(report)).metrics == report.metrics


def test_intervals_hold_their_metric(evaluator: Evaluator) -> None:
    report = evaluator(TEST, REFERENCE)
    for name, (low, high) in report.intervals.items():
        assert low <= report.metrics[name] <= high


def test_it_reports_the_same_twice_and_changes_nothing(evaluator: Evaluator) -> None:
    before = TEST.values.copy(), REFERENCE.values.copy()
    assert evaluator(TEST, REFERENCE) == evaluator(TEST, REFERENCE)
    assert (TEST.values == before[0]).all()
    assert (REFERENCE.values == before[1]).all()


def test_the_global_random_state_is_neither_read_nor_changed(evaluator: Evaluator) -> None:
    expected = evaluator(TEST, REFERENCE)
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    assert evaluator(TEST, REFERENCE) == expected
    assert (np.random.get_state()[1] == state).all()


def test_the_order_of_the_records_does_not_matter(evaluator: Evaluator) -> None:
    rng = np.random.default_rng(0)
    shuffled = rows(TEST, rng.permutation(45)), rows(REFERENCE, rng.permutation(60))
    assert_same(evaluator(*shuffled), evaluator(TEST, REFERENCE))


@pytest.mark.parametrize(
    "name", [{"x": 7, "y": 3, "z": -1}.get, {"x": 2.0, "y": 1.0, "z": 9.0}.get, "zz".join]
)
def test_the_names_of_the_classes_do_not_matter(
    evaluator: Evaluator, name: Callable[[str], object]
) -> None:
    renamed = relabelled(TEST, name), relabelled(REFERENCE, name)
    assert_same(evaluator(*renamed), evaluator(TEST, REFERENCE))


def test_separated_classes_give_a_perfect_headline(evaluator: Evaluator) -> None:
    report = evaluator(blobs(45, 1, distance=50), blobs(60, 0, distance=50))
    assert [report.metrics[name] for name in report.headline or tuple(report.metrics)[:1]] == (
        pytest.approx([1.0] * max(1, len(report.headline)))
    )


def test_separated_classes_beat_noise(evaluator: Evaluator) -> None:
    report, noise = evaluator(TEST, REFERENCE), evaluator(blobs(45, 1, 0), blobs(60, 0, 0))
    headline = next(iter(report.metrics))
    assert report.metrics[headline] > noise.metrics[headline] + 0.2


def test_embeddings_that_are_all_equal_are_judged_without_an_error(evaluator: Evaluator) -> None:
    flat = [replace(part, values=np.ones_like(part.values)) for part in (TEST, REFERENCE)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluator(*flat)
    assert next(iter(report.metrics.values())) <= 0.5


def test_test_records_without_a_label_are_left_out_and_counted(evaluator: Evaluator) -> None:
    labels = (None, float("nan"), *(TEST.labels or ())[2:])
    report = evaluator(replace(TEST, labels=labels), REFERENCE)
    assert report.details["counts"]["test_without_label"] == 2
    assert any("2 of 45" in note for note in report.details["notes"])


def test_nan_is_refused_with_the_number_of_records_and_the_first(evaluator: Evaluator) -> None:
    values = TEST.values.copy()
    values[3], values[8, 1] = np.nan, np.inf
    with pytest.raises(DataError, match="2 of 45 test embeddings .* NaN or infinity .*'1-3'"):
        evaluator(replace(TEST, values=values), REFERENCE)


def test_step_embeddings_are_refused(evaluator: Evaluator) -> None:
    steps = replace(TEST, lengths=np.ones(45, np.int64))
    with pytest.raises(DataError, match="of steps .*embed at instance level"):
        evaluator(steps, REFERENCE)


def test_an_empty_test_set_is_refused(evaluator: Evaluator) -> None:
    empty = Embeddings(np.empty((0, 6), np.float32), (), ())
    with pytest.raises(DataError, match="test set holds no record"):
        evaluator(empty, REFERENCE)


def test_without_what_it_needs_it_says_so(evaluator: Evaluator) -> None:
    if "reference" in evaluator.needs:
        with pytest.raises(DataError, match="--train"):
            evaluator(TEST, None)
    if "labels" in evaluator.needs:
        with pytest.raises(
            DataError, match=r"none of the 45 test records has a label.*data\.label"
        ):
            evaluator(replace(TEST, labels=None), REFERENCE)
    else:
        assert evaluator(replace(TEST, labels=None), REFERENCE).metrics


def test_sets_of_different_size_are_refused_with_both_sizes(evaluator: Evaluator) -> None:
    if not evaluator.needs:
        return
    narrow = replace(REFERENCE, values=REFERENCE.values[:, :4])
    with pytest.raises(DataError, match="reference embeddings have 4 dimensions and test .* 6"):
        evaluator(TEST, narrow)


def test_only_an_evaluator_that_learns_needs_a_reference(evaluator: Evaluator) -> None:
    assert evaluator.learns == ("reference" in evaluator.needs)
