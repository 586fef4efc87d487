"""A device that runs out of memory, simulated: the batch is encoded in chunks, to the last bit."""

from __future__ import annotations

import pytest
import torch
from toy_training import BATCH, CHANNELS, Collecting, Student, Toy, same_bits

from seqcl.encoders.conv1d import Conv1d
from seqcl.errors import TrainingError
from seqcl.methods.simclr import SimCLR
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.training.chunks import Chunks
from seqcl.training.options import TrainingOptions
from seqcl.views.frontend import IdentityFrontend


class Cramped(Student):
    """Runs out of memory with more than `fits` records that keep activations."""

    fits = 3

    def encode(self, views):
        if torch.is_grad_enabled() and len(views[0]) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().encode(views)


class Tiny(Cramped):
    fits = 0


def test_a_run_that_is_short_of_memory_trains_what_chunks_train() -> None:
    log, cramped, chunked, whole = Collecting(), Toy(method=Cramped), Toy(), Toy()
    cramped.train(sinks=[log])
    chunked.train(chunk=2)
    whole.train()
    assert same_bits(cramped.state(), chunked.state())
    assert not same_bits(cramped.state(), whole.state())
    assert log.notes == [
        f"step 1: out of memory with {now} records at once; from here on they are encoded "
        f"{now // 2} at a time, with the loss of the whole batch (training.chunk={now // 2})"
        for now in (BATCH, BATCH // 2)
    ]


def test_a_resumed_run_finds_the_same_chunks_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole = Toy(method=Cramped)
    whole.train()
    Toy(method=Cramped).train(folder=tmp_path, max_minutes=1e-9)
    rest = Toy(method=Cramped)
    rest.train(folder=tmp_path, resume=True)
    assert same_bits(whole.state(), rest.state())


def test_parts_are_chunked_by_their_own_records() -> None:
    log, cramped, chunked = Collecting(), Toy(method=Cramped), Toy()
    cramped.train(sinks=[log], accumulate=2)
    chunked.train(accumulate=2, chunk=2)
    assert same_bits(cramped.state(), chunked.state())
    assert len(log.notes) == 1


def test_a_single_record_that_does_not_fit_ends_the_run() -> None:
    with pytest.raises(TrainingError, match="step 1: out of memory with a single record at once"):
        Toy(method=Tiny).train()


def test_batch_norm_counts_a_step_that_failed_once_and_is_told() -> None:
    given = Toy()
    views = given.views(given.watched, IdentityFrontend(CHANNELS), Rng(0))

    class Late(SimCLR):
        """Runs out of memory in the loss, after batch norm has seen the views."""

        def objective(self, encoded):
            if torch.is_grad_enabled() and not self.failed:
                self.failed = True
                raise torch.OutOfMemoryError
            return super().objective(encoded)

    found = {}
    for kind in (Late, SimCLR):
        torch.manual_seed(0)
        encoder = Conv1d(2, widths=(4,))
        method = kind({"main": encoder}, head=Spec("heads", "mlp"))
        method.failed = False
        notes: list[str] = []
        options = TrainingOptions(chunk=None if kind is Late else 11)
        loss = Chunks(options, notes.append).backward(method, views, (0,), 4)
        found[kind] = {**method.state_dict(), "loss": loss.total}
        if kind is Late:
            assert notes[0].startswith("step 5: out of memory with 22 records at once")
            assert notes[0].endswith("batch norm in the encoder takes the statistics of a chunk")
    assert same_bits(found[Late], found[SimCLR])
