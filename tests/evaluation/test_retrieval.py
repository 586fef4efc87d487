"""Retrieval: galleries, queries without a match, and means over queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqcl.errors import DataError
from seqcl.evaluation.base import paired_difference
from seqcl.evaluation.knn import Knn
from seqcl.evaluation.retrieval import Retrieval


def test_precision_at_one_is_the_accuracy_of_one_neighbour(blobs) -> None:
    test, gallery = blobs(40, 1, "t", distance=0.4), blobs(50, 0, distance=0.4)
    found = Retrieval()(test, gallery).metrics["p_at_1"]
    assert found == Knn()(test, gallery).metrics["accuracy"]


def test_without_a_reference_each_record_searches_the_others(blobs) -> None:
    test = blobs(31, 1)
    report = Retrieval()(test)
    hits = []
    unit = test.values / np.linalg.norm(test.values, axis=1, keepdims=True)
    for row in range(31):
        near = unit @ unit[row]
        near[row] = -2
        hits.append(test.labels[near.argmax()] == test.labels[row])
    assert report.metrics["p_at_1"] == pytest.approx(np.mean(hits))
    assert report.details["chosen"]["gallery"] == "test"


def test_queries_without_a_match_are_left_out_and_counted(blobs) -> None:
    test = blobs(20, 1, "t", distance=9)
    test = replace(test, labels=("new", *test.labels[1:]))
    report = Retrieval()(test, blobs(30, 0, distance=9))
    assert report.metrics["map"] == 1.0
    assert report.details["counts"]["queries"] == 19
    assert report.details["counts"]["queries_without_match"] == 1
    assert report.details["notes"] == ["1 of 20 queries have no record of their class"]
    assert report.outcomes is not None
    assert report.outcomes.ids == test.ids[1:]


def test_no_match_at_all_is_refused(blobs) -> None:
    with pytest.raises(DataError, match="no test record has another record of its class"):
        Retrieval()(blobs(3, 1), None)


def test_gallery_records_without_a_label_are_not_searched(blobs) -> None:
    gallery = blobs(30, 0)
    partly = replace(gallery, labels=(*gallery.labels[:24], *[None] * 6))
    report = Retrieval()(blobs(9, 1, "t"), partly)
    assert report.details["counts"]["gallery"] == 24
    assert report.details["counts"]["gallery_without_label"] == 6


def test_the_cutoff_names_its_metric(blobs) -> None:
    report = Retrieval(cutoff=3)(blobs(9, 1, "t"), blobs(30, 0))
    assert list(report.metrics) == ["p_at_1", "map", "map_at_3"]


def test_a_better_embedding_shows_in_the_paired_difference(blobs) -> None:
    better = Retrieval()(blobs(60, 1, "t"), blobs(60, 0))
    worse = Retrieval()(blobs(60, 1, "t", distance=0.3), blobs(60, 0, distance=0.3))
    found = paired_difference(better, worse, metric="map")
    assert found is not None
    assert found.low > 0
