"""Loader: batch k as a pure function of (seed, k), read here or by worker processes."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler as TorchSampler

from seqcl.batch import Batch
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset
from seqcl.data.samplers import Sampler
from seqcl.distributed import own_rows, rank, world_size
from seqcl.errors import DataError, SeqclError, TrainingError, UsageError

__all__ = ["Loader"]

_DEATH_S = 1.0
"""How long a worker whose connection broke may take to be gone."""

Key = tuple[int, int]


class Loader:
    """Batches of a dataset without end, equal for any number of workers.

    Nothing is kept between batches but the order of the current epoch, so ``batches(k)`` goes
    on where a run stopped. A dataset of fewer records than `batch_size` gives one batch of all
    of them an epoch; else the last batch is left out where it would be smaller.

    Of several processes each reads its own rows of the same batch, see `own_rows`, padded as
    they are among all.

    Args:
        dataset: what to read.
        collate: how records become a batch.
        sampler: the order of an epoch.
        batch_size: records of a batch, of all processes together.
        seed: of the order.
        workers: processes that read ahead; 0 = read when asked.
        parts: parts of a batch that are contrasted apart (`training.accumulate`).

    Raises:
        DataError: fewer than 2 records, of which nothing can be learnt by contrast.
        UsageError: batches that the processes cannot share equally.
    """

    def __init__(
        self,
        dataset: Dataset,
        collate: Collate,
        sampler: Sampler,
        batch_size: int,
        *,
        seed: int,
        workers: int = 0,
        parts: int = 1,
    ) -> None:
        if len(dataset) < 2:
            raise DataError(
                f"{len(dataset)} record to train on; contrastive learning needs at least 2: give "
                "more data or a smaller data.window"
            )
        self.dataset = dataset
        self.workers = workers
        self._reading = _Reading(dataset, collate, sampler, batch_size, seed, parts)
        _refuse_unequal(self.batch_size, parts)

    @property
    def batch_size(self) -> int:
        """Records of a batch, of all processes: what was asked for, or all there are."""
        return self._reading.batch_size

    @property
    def own_size(self) -> int:
        """Records of a batch that this process reads."""
        return self.batch_size // world_size()

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._reading.steps

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Yield batch `start_step`, the next one, and so on, without end.

        Raises TrainingError where a worker process dies, naming it.
        """
        keys = _Keys(start_step, self.steps_per_epoch)
        items = self._read_ahead(keys) if self.workers else (self._reading[key] for key in keys)
        with closing(items):  # an error's traceback must not keep workers
            for item in items:
                if isinstance(item, SeqclError):
                    raise item
                yield item

    def _read_ahead(self, keys: _Keys) -> Generator[Batch | SeqclError, None, None]:
        """Yield what worker processes read, in the order of `keys`."""
        others = set(multiprocessing.active_children())
        items = self._start(keys)
        workers = set(multiprocessing.active_children()) - others
        # Also where the process ends with an error whose traceback holds the batches: Python
        # then asks all children to end by SIGTERM, which these ignore, and waits for them.
        end = Finalize(None, _end, (workers,), exitpriority=0)
        death = None
        try:
            while death is None:
                try:
                    item = next(items)
                except (RuntimeError, OSError, EOFError):
                    death = _death(workers)
                    if death is None:
                        raise
                else:
                    yield item
        finally:
            del items  # before the traceback takes hold of it
            end()
        raise death

    def _start(self, keys: _Keys) -> Iterator[Batch | SeqclError]:
        handler = signal.getsignal(signal.SIGCHLD)
        items = iter(
            DataLoader(
                self._reading,
                batch_size=None,
                sampler=keys,
                num_workers=self.workers,
                collate_fn=_as_it_is,
                worker_init_fn=_ignore_interrupt,
            )
        )
        if threading.current_thread() is threading.main_thread():
            # torch's handler would raise from whatever line the training step has reached
            signal.signal(signal.SIGCHLD, handler)
        return items


class _Keys(TorchSampler[Key]):
    """(epoch, batch in it) from a step on, without end."""

    def __init__(self, start_step: int, steps_per_epoch: int) -> None:
        self.start_step, self.steps_per_epoch = start_step, steps_per_epoch

    def __iter__(self) -> Iterator[Key]:
        return (divmod(step, self.steps_per_epoch) for step in count(self.start_step))


class _Reading(TorchDataset[Batch | SeqclError]):
    """What a worker does: key to batch. A user's error is an item, so that it stays one line."""

    def __init__(
        self,
        dataset: Dataset,
        collate: Collate,
        sampler: Sampler,
        batch_size: int,
        seed: int,
        parts: int,
    ) -> None:
        self.dataset, self.collate, self.sampler, self.seed = dataset, collate, sampler, seed
        self.place = rank(), world_size(), parts
        self.batch_size = min(batch_size, len(sampler))
        self.steps = len(sampler) // self.batch_size
        self._epoch: tuple[int, npt.NDArray[np.int64]] | None = None

    def __getitem__(self, key: Key) -> Batch | SeqclError:
        epoch, index = key
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.sampler.epoch(self.seed, epoch))
        first = index * self.batch_size
        rows = self._epoch[1][first : first + self.batch_size]
        own = own_rows(rows, *self.place)
        steps = int(self.dataset.lengths[rows].max()) if len(own) < len(rows) else 0
        try:
            batch = collate_rows(self.dataset, own, self.collate, steps)
            return replace(batch, repeated=len(np.unique(rows)) < len(rows))
        except SeqclError as error:
            return error


def _refuse_unequal(batch_size: int, parts: int) -> None:
    world = world_size()
    if world > 1 and batch_size % (world * parts):
        each = f", each in {parts} parts (training.accumulate)" if parts > 1 else ""
        raise UsageError(
            f"training: {world} processes cannot share a batch of {batch_size} records "
            f"equally{each}; make training.batch_size a multiple of {world * parts}, at most the "
            "number of records"
        )


def _as_it_is(item: Any) -> Any:
    return item


def _ignore_interrupt(worker: int) -> None:
    """Leave signals to the main process, which finishes its step and stops the workers.

    A terminal sends SIGINT to all of them; torchrun and SLURM do so with SIGTERM.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def _death(workers: Iterable[BaseProcess]) -> TrainingError | None:
    """Name the workers that are gone; None where all of them live."""
    gone = set(wait([worker.sentinel for worker in workers], timeout=_DEATH_S))
    lost = [worker for worker in workers if worker.sentinel in gone]
    if not lost:
        return None
    for worker in lost:
        worker.join()  # or its exit code may not be known yet
    dead = sorted((worker.pid or 0, worker.exitcode) for worker in lost)
    named = ", ".join(f"{pid} ({_ending(code)})" for pid, code in dead)
    return TrainingError(
        f"loader worker with pid {named} died; continue with --resume, with fewer "
        "training.workers if memory ran out"
    )


def _end(workers: Iterable[BaseProcess]) -> None:
    """Stop the workers that are left: an error's traceback would keep them alive."""
    for worker in workers:
        worker.kill()  # they ignore SIGTERM
    for worker in workers:
        worker.join()


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
