"""What labels mean to a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqcl.errors import DataError
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.targets import Targets, targets_of

OPTIONS = FinetuneOptions()


def test_the_task_follows_from_the_labels() -> None:
    assert targets_of(["a", "b"], OPTIONS, "x").task == "classification"
    assert targets_of([3, 1, 2], OPTIONS, "x").classes == (1, 2, 3)
    assert targets_of([0.5, 2.0], OPTIONS, "x").task == "regression"
    assert targets_of([("a",), ("b", "c")], OPTIONS, "x").classes == ("a", "b", "c")
    tags = targets_of(["a|b", "b", "|"], FinetuneOptions(separator="|"), "x")
    assert (tags.task, tags.classes) == ("tags", ("a", "b"))


def test_tables_hold_places_tags_and_standardised_values() -> None:
    classes = targets_of(["b", "a"], OPTIONS, "x")
    assert classes.table(["a", "b", "a"], "x").tolist() == [0, 1, 0]
    tags = targets_of(["a|b", "b", "|"], FinetuneOptions(separator="|"), "x")
    assert tags.table(["b|a", "|", "b"], "x").tolist() == [[1, 1], [0, 0], [0, 1]]
    values = targets_of([1.5, 2.5, 6.5], OPTIONS, "x")
    table = values.table([1.5, 2.5, 6.5], "x").double()
    assert table.mean() == pytest.approx(0, abs=1e-6)
    assert table.std(correction=0) == pytest.approx(1)
    np.testing.assert_allclose(values.finish(table)[:, 0], [1.5, 2.5, 6.5], rtol=1e-6)


def test_losses_are_those_of_the_textbook() -> None:
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    classes = Targets("classification", ("a", "b"))
    slow = np.mean([-np.log(1 / (1 + np.exp(-2))), -np.log(1 / (1 + np.exp(-1)))])
    assert classes.loss(outputs, torch.tensor([0, 1])) == pytest.approx(slow)
    tags = Targets("tags", ("a", "b"))
    shares = 1 / (1 + np.exp(-outputs.numpy()))
    wanted = np.array([[1, 0], [1, 1]])
    slow = -np.mean(wanted * np.log(shares) + (1 - wanted) * np.log(1 - shares))
    assert tags.loss(outputs, torch.from_numpy(wanted).float()) == pytest.approx(slow)


def test_decisions() -> None:
    finished = np.array([[0.7, 0.3], [0.2, 0.8]], np.float32)
    assert Targets("classification", (4, 9)).decide(finished) == (4, 9)
    assert Targets("tags", ("a", "b")).decide(finished) == (("a",), ("b",))
    assert Targets("regression").decide(finished[:, :1]) == pytest.approx((0.7, 0.2))


def test_targets_survive_a_manifest() -> None:
    for labels in (["a", "b"], [1, 2], [0.25, 0.5]):
        made = targets_of(labels, OPTIONS, "x")
        assert Targets.from_facts(made.facts()) == made


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a", "a"], OPTIONS, "at least two classes"),
        (["walk", "run"], FinetuneOptions(task="regression"), "'walk' is text"),
        ([2.5, 2.5], OPTIONS, "values must differ"),
    ],
)
def test_labels_that_teach_nothing(labels: list, options: FinetuneOptions, message: str) -> None:
    with pytest.raises(DataError, match=message):
        targets_of(labels, options, "data.npz#0")


def test_an_unseen_class_is_named() -> None:
    with pytest.raises(DataError, match="no training record has class 'c'"):
        targets_of(["a", "b"], OPTIONS, "x").table(["a", "c"], "--val v.npz")
