from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections import deque
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import CONTEXT

from seqcl.batch import Batch, Record
from seqcl.data.collate import Collate
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.loader import Loader
from seqcl.data.options import DataOptions
from seqcl.data.samplers import PkSampler, SequentialSampler, ShuffleSampler
from seqcl.data.scaler import Scaler
from seqcl.data.store import Store
from seqcl.errors import DataError, TrainingError


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    series = [rng.standard_normal((2, length)) for length in rng.integers(5, 12, 23)]
    return dataset_from_arrays(series, rng.integers(0, 3, 23))


@pytest.fixture
def stored(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 400)).astype(np.float32)
    Store.write(tmp_path / "a.h5", [Record(values, "r")])
    return open_dataset([str(tmp_path / "a.h5")], DataOptions(window=16))


def loader(dataset: Dataset, batch_size: int = 5, seed: int = 7, **options: int) -> Loader:
    collate = Collate(Scaler(len(dataset.channels)), "zero")
    sampler = ShuffleSampler(dataset)
    return Loader(dataset, collate, sampler, batch_size, seed=seed, **options)  # type: ignore[arg-type]


def take(made: Loader, count: int, start: int = 0) -> list[Batch]:
    batches = made.batches(start)
    found = list(islice(batches, count))
    batches.close()  # type: ignore[attr-defined]
    return found


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.ids, y.ids)
        and torch.equal(x.values, y.values)
        and x.host_lengths == y.host_lengths
        for x, y in zip(a, b, strict=True)
    )


def test_batches_follow_the_sampler_epoch_by_epoch(dataset: Dataset) -> None:
    made = loader(dataset)
    assert made.steps_per_epoch == 4
    assert made.batch_size == 5
    for step, batch in enumerate(take(made, 9)):
        epoch, index = divmod(step, 4)
        rows = ShuffleSampler(dataset).epoch(7, epoch)[5 * index : 5 * index + 5]
        assert batch.ids.tolist() == rows.tolist()


@pytest.mark.parametrize("start", [0, 3, 4, 11])
def test_resuming_at_any_step_goes_on_with_the_same_batches(dataset: Dataset, start: int) -> None:
    made = loader(dataset)
    assert same(take(made, 14)[start:], take(loader(dataset), 14 - start, start))
    assert same(take(made, 14)[start:], take(made, 14 - start, start))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_batches(dataset: Dataset, stored: Dataset, workers: int) -> None:
    for data in (dataset, stored):
        alone = take(loader(data), 10, 2)
        assert same(alone, take(loader(data, workers=workers), 10, 2))


def test_the_parent_may_have_read_a_store_before_it_forks(stored: Dataset) -> None:
    stored.gather([3])
    assert same(take(loader(stored), 5), take(loader(stored, workers=2), 5))


def test_a_worker_can_be_spawned(stored: Dataset, dataset: Dataset) -> None:
    for data in (stored, dataset):
        data.gather([0])
        reading = loader(data)._reading
        copy = pickle.loads(pickle.dumps(reading))
        assert torch.equal(copy[(2, 1)].values, reading[(2, 1)].values)


def test_fewer_records_than_a_batch_are_one_batch_of_all(dataset: Dataset) -> None:
    made = loader(dataset, batch_size=64)
    assert (made.steps_per_epoch, made.batch_size) == (1, 23)
    assert sorted(take(made, 2)[1].ids.tolist()) == list(range(23))


def test_one_record_cannot_be_learnt_from(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="1 record to train on; .* at least 2"):
        loader(dataset.subset([4]))


def children() -> list[int]:
    return sorted(child.pid or 0 for child in multiprocessing.active_children())


@pytest.mark.parametrize("killed", ["one", "all"])
def test_a_worker_that_is_killed_ends_the_batches_with_its_name(
    dataset: Dataset, killed: str
) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    batches = loader(dataset, workers=2).batches()
    next(batches)
    dead = children()[: 1 if killed == "one" else None]
    for process in dead:
        os.kill(process, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"pid \d+ \(signal 9\).* died; continue") as caught:
        deque(batches, maxlen=0)
    assert any(str(process) in str(caught.value) for process in dead)
    assert "\n" not in str(caught.value)
    assert signal.getsignal(signal.SIGCHLD) == before
    assert not children()


def test_closing_the_batches_ends_the_workers(dataset: Dataset) -> None:
    take(loader(dataset, workers=2), 3)
    assert not children()


def test_an_interrupt_from_the_terminal_does_not_end_the_workers(dataset: Dataset) -> None:
    batches = loader(dataset, workers=1).batches()
    next(batches)
    for process in children():
        os.kill(process, signal.SIGINT)
    assert len(list(islice(batches, 20))) == 20


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_in_the_data_stays_one_line(stored: Dataset, tmp_path: Path, workers: int) -> None:
    (tmp_path / "a.h5").unlink()
    (tmp_path / "a.h5").write_bytes(b"gone")
    with pytest.raises(DataError, match=r"a\.h5: is not a whole HDF5 file") as caught:
        take(loader(pickle.loads(pickle.dumps(stored)), workers=workers), 1)
    assert "\n" not in str(caught.value)


def test_the_order_can_be_that_of_the_files(dataset: Dataset) -> None:
    made = Loader(dataset, Collate(Scaler(2)), SequentialSampler(dataset), 4, seed=0)
    assert [batch.ids.tolist() for batch in take(made, 2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_bug_in_a_worker_is_not_taken_for_its_death(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(rows: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(dataset, "gather", fail)
    with pytest.raises(RuntimeError, match="a bug") as caught:
        take(loader(dataset, workers=1), 1)
    assert caught.tb is not None, "which holds the batches"
    assert not children()


def _fail_between_batches(dataset: Dataset) -> None:
    sys.last_value = error = RuntimeError("a bug of the step")  # as the interpreter keeps it
    batches = loader(dataset, workers=1).batches()
    next(batches)
    error.args = ("a bug of the step", batches)
    raise error


def test_a_process_that_fails_between_two_batches_ends(dataset: Dataset) -> None:
    process = CONTEXT.Process(target=_fail_between_batches, args=(dataset,))
    process.start()
    process.join(60)
    ended = process.exitcode
    process.kill()
    assert ended == 1


def test_a_batch_says_whether_it_may_hold_a_record_twice() -> None:
    y = [0] * 20 + [1] * 3
    dataset = dataset_from_arrays(np.zeros((23, 1, 4)), y)
    collate = Collate(Scaler(1), "zero")
    for sampler, repeated in ((ShuffleSampler(dataset), False), (PkSampler(dataset), True)):
        (batch,) = take(Loader(dataset, collate, sampler, 8, seed=0), 1)
        assert batch.repeated is repeated
        assert (len(batch.ids.unique()) < 8) is repeated
        assert batch[:4].with_values(batch.values[:4]).repeated is repeated
