"""Units: what is drawn and held out as one."""

from __future__ import annotations

import numpy as np

from seqcl.batch import Embeddings
from seqcl.evaluation.knn import Knn
from seqcl.evaluation.units import independent, units

IDS = ("a@0", "a@5", "b@0", "a@b@0")


def of(**known: object) -> list[int]:
    return units(Embeddings(np.zeros((4, 2), np.float32), IDS, **known)).tolist()  # type: ignore[arg-type]


def test_a_record_is_its_own_unit_whatever_its_id() -> None:
    assert of() == [0, 1, 2, 3]


def test_the_windows_of_a_recording_are_one_unit() -> None:
    assert of(start=np.array([0, 5, 0, 0])) == [0, 0, 1, 2]


def test_a_group_is_one_unit_and_records_without_group_are_their_own() -> None:
    assert of(groups=("p", None, "p", None)) == [0, 1, 0, 2]
    assert of(groups=("p", None, "p", None), start=np.array([0, 5, 0, 0])) == [0, 1, 0, 2]
    assert of(groups=("b", None, None, None), start=np.array([0, 5, 0, 0])) == [0, 1, 2, 3]


def test_units_are_numbered_by_first_appearance_and_one_alone_is_taken_apart() -> None:
    assert independent(np.array([7, 2, 7, 9])).tolist() == [0, 1, 0, 2]
    assert independent(np.array([3, 3, 3])).tolist() == [0, 1, 2]


def test_the_interval_of_a_report_draws_groups_whole(blobs) -> None:
    reference, test = blobs(60, 0, distance=0.5), blobs(120, 1, "t", distance=0.5)
    known = {"labels": test.labels, "values": test.values}
    apart = Embeddings(ids=tuple(f"r{row}@0" for row in range(120)), **known)
    grouped = Embeddings(ids=apart.ids, groups=tuple(str(row % 6) for row in range(120)), **known)
    plain, whole = (Knn()(each, reference).intervals["accuracy"] for each in (apart, grouped))
    assert plain != whole
    assert plain == Knn()(test, reference).intervals["accuracy"]
