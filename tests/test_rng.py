import numpy as np
import torch

from seqcl.rng import Rng


def test_draws_are_those_of_the_seed_sequence_whichever_comes_first():
    sequence = np.random.SeedSequence(3, spawn_key=(5, 7))
    state = int(sequence.generate_state(2, np.uint32).view(np.uint64)[0])
    parameters = torch.rand(4, generator=torch.Generator().manual_seed(state))
    decisions = np.random.Generator(np.random.PCG64(sequence)).random(4)
    for host_first in (True, False):
        rng = Rng(3).fork(5, 7)
        if host_first:
            assert (rng.host.random(4) == decisions).all()
        assert torch.equal(rng.uniform(4, 0.0, 1.0), parameters)
        if not host_first:
            assert (rng.host.random(4) == decisions).all()


def test_a_stream_goes_on_where_it_was():
    rng = Rng(1)
    assert not torch.equal(rng.normal(3), rng.normal(3))
    assert rng.host.random() != rng.host.random()


def test_a_fork_makes_only_the_generators_that_are_drawn_from(monkeypatch):
    made = []
    monkeypatch.setattr(torch, "Generator", lambda device: made.append(device))
    Rng(1).fork(2).host.random()
    assert made == []
