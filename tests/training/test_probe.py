import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from toy_training import Collecting, Toy, same_bits

from seqcl.batch import Batch, Encoded
from seqcl.training.probe import Probe

PENALTIES = np.logspace(-3, 3, 10)


class Mean(torch.nn.Module):
    """Encodes a record by its first step."""

    def encode(self, views):
        return [Encoded(view.values[:, :, 0], None, None, view) for view in views]


def records(values, labels, groups=None):
    return Batch(
        torch.tensor(values, dtype=torch.float32).unsqueeze(2),
        torch.arange(len(labels)),
        labels=torch.tensor(labels),
        groups=None if groups is None else torch.tensor(groups),
    )


def drawn(count=43):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, count) * 5  # codes need not be 0, 1, 2
    return rng.normal(size=(count, 6)) + labels[:, None] * rng.normal(size=6) * 0.1, labels


def test_each_record_is_judged_by_its_nearest_of_another_group() -> None:
    values, labels = drawn()
    groups = np.arange(len(labels)) // 3
    right = 0
    for row, value in enumerate(values):
        cosine = values @ value / np.linalg.norm(values, axis=1)
        others = np.flatnonzero(groups != groups[row])
        right += labels[others[cosine[others].argmax()]] == labels[row]
    found = Probe(records(values, labels, groups)).measure(Mean())
    assert found["val_knn"] == pytest.approx(right / len(labels))
    assert 0.3 < found["val_knn"] < 1  # or the comparison would say little


def test_the_ridge_is_fitted_to_other_groups_than_it_is_judged_on() -> None:
    values, labels = drawn()
    groups = np.arange(len(labels)) // 2
    fold = np.random.default_rng(0).permutation(22)[groups] % 5
    scaled = StandardScaler().fit_transform(values.astype(np.float32).astype(np.float64))
    right = 0
    for number in range(5):
        own = fold == number
        assert not set(groups[own]) & set(groups[~own])
        targets = np.where(labels[~own, None] == np.unique(labels), 1.0, -1.0)
        scores = RidgeCV(PENALTIES).fit(scaled[~own], targets).predict(scaled[own])
        right += (np.unique(labels)[scores.argmax(1)] == labels[own]).sum()
    found = Probe(records(values, labels, groups)).measure(Mean())
    assert found["val_ridge"] == pytest.approx(right / len(labels))
    assert 0.3 < found["val_ridge"] < 1


def test_equal_records_of_one_group_do_not_vouch_for_each_other() -> None:
    values = np.repeat(np.eye(4), 2, axis=0)
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    alone = Probe(records(values, labels)).measure(Mean())
    assert alone["val_knn"] == 1
    values[4:6, 2], values[6:, 2] = 0.1, 0.2
    groups = [0, 0, 1, 1, 2, 2, 3, 3]
    assert Probe(records(values, labels, groups)).measure(Mean())["val_knn"] < 1


def test_constant_and_broken_embeddings() -> None:
    labels = np.array([0, 1, 1, 1, 1])  # constant embeddings give the most frequent class
    assert Probe(records(np.ones((5, 3)), labels)).measure(Mean())["val_ridge"] == 0.8
    assert Probe(records(np.full((5, 3), np.nan), labels)).measure(Mean()) == {}


def test_what_cannot_be_probed_is_told() -> None:
    with pytest.raises(ValueError, match="Probe: the records are of one group; at least two"):
        Probe(records(np.eye(3), [0, 1, 0], [7, 7, 7]))
    with pytest.raises(ValueError, match="Probe: the records have no labels"):
        Probe(Batch(torch.zeros(3, 1, 2), torch.arange(3)))


def test_a_probe_changes_no_weight_and_logs_the_same_after_resuming(tmp_path) -> None:
    plain, whole, parts = Toy(), Toy(), Toy()
    known = whole.watched[:11]
    plain.train(diagnose_every=4)
    log = Collecting()
    whole.train(diagnose_every=4, probed=known, sinks=[log])
    assert same_bits(plain.state(), whole.state())
    parts.train(diagnose_every=4, probed=known, folder=tmp_path, max_minutes=1e-9)
    rest = Collecting()
    Toy().train(diagnose_every=4, probed=known, folder=tmp_path, resume=True, sinks=[rest])
    measured = [
        [{key: value for key, value in record.items() if "s" not in key[-2:]} for record in kept]
        for kept in (log.records[-2:], rest.records[-2:])
    ]
    assert {"val_knn", "val_ridge", "positive_cosine"} <= set(measured[0][0])
    assert measured[0] == measured[1]
