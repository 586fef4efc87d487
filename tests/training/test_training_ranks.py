"""Two processes over gloo: a fault of one stops both, at the same step."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import in_processes
from torch import distributed
from toy_training import CHANNELS, RECORDS, STEPS, Collecting, Toy, same_bits

from seqcl.distributed import from_first, largest, rank
from seqcl.errors import DataError, SeqclError, UsageError
from seqcl.methods.simclr import SimCLR


def toy(*poisoned: int) -> Toy:
    """Return a training in which some records are infinite."""
    values = np.random.default_rng(7).standard_normal((RECORDS, CHANNELS, STEPS))
    made = Toy(values=values, method=SimCLR)
    gather = made.dataset.gather

    def poison(rows: Any) -> Any:
        found = gather(rows)
        found.values[np.isin(rows, poisoned)] = math.inf
        return found

    made.dataset.gather = poison  # type: ignore[method-assign]
    return made


def outcome(run: Any) -> tuple[str, str]:
    """Return what came of a training: its result, or the kind of its error, and the message."""
    try:
        return run().stopped, ""
    except SeqclError as error:
        return type(error).__name__, str(error)


def refuse() -> None:
    raise DataError("only rank 0 looked")


def work(number: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2
    )
    found: dict[str, Any] = {"largest": largest([number, 5 - number])}
    try:
        from_first(refuse)
    except DataError as error:
        found["refused"] = str(error)

    own = next(toy().loader.batches()).ids[-1].item()
    (poisoned,) = largest([own if rank() == 1 else 0])
    sink = Collecting()
    found["poison"] = outcome(lambda: toy(poisoned).train(sinks=[sink]))
    found["told"] = len(sink.events)
    late = None if rank() else 1e-9
    found["late"] = outcome(lambda: toy().train(max_minutes=late))

    class Cramped(SimCLR):
        def encode(self, views: Any) -> Any:
            if rank() and torch.is_grad_enabled() and len(views[0]) > 2:
                raise torch.OutOfMemoryError
            return super().encode(views)

    states, notes = [], []
    for method, chunk in ((Cramped, None), (SimCLR, 2)):
        trained, sink = Toy(method=method), Collecting()
        trained.train(chunk=chunk, sinks=[sink])
        states.append(trained.state())
        notes.append(sink.notes)
    found["cramped"] = same_bits(*states), notes[0]

    class Broken(SimCLR):
        def after_backward(self, progress: Any) -> None:
            if rank() and progress.step == 2:
                raise UsageError("rank 1 gives up")

    try:
        Toy(method=Broken).train()
    except (SeqclError, RuntimeError) as error:
        found["broken"] = f"{type(error).__name__}: {error}"
    torch.save(found, f"{folder}/{number}.pt")
    os._exit(0)  # threads of the broken group may abort an interpreter that ends


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    in_processes(2, work, str(folder))
    return [torch.load(folder / f"{number}.pt") for number in range(2)]


def test_numbers_and_errors_of_one_are_those_of_all(found: list[dict[str, Any]]) -> None:
    for own in found:
        assert own["largest"] == [1, 5]
        assert own["refused"] == "only rank 0 looked"


def test_a_loss_that_is_not_finite_on_one_stops_both_with_all_records(
    found: list[dict[str, Any]],
) -> None:
    (kind, message), other = (own["poison"] for own in found)
    assert (kind, message) == other
    assert kind == "TrainingError"
    assert "the loss or its gradient is not finite" in message
    records = message.partition("on records ")[2].partition(";")[0]
    assert records.count(",") == 7  # of both processes


def test_the_time_of_one_stops_both_and_one_tells(found: list[dict[str, Any]]) -> None:
    assert [own["late"] for own in found] == [("max_minutes", "")] * 2
    assert found[1]["told"] == 0 < found[0]["told"]


def test_all_chunk_where_one_is_short_of_memory(found: list[dict[str, Any]]) -> None:
    (same, told), (other, quiet) = (own["cramped"] for own in found)
    assert same
    assert other
    assert quiet == []
    (note,) = told
    assert "step 1: out of memory with 4 records at once" in note


def test_an_error_of_one_ends_the_other(found: list[dict[str, Any]]) -> None:
    assert found[1]["broken"] == "UsageError: rank 1 gives up"
    assert "gloo" in found[0]["broken"]
