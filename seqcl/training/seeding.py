"""Torch's generators as a function of (seed, step, …): no state to save, none left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["own_random_state", "seed_torch"]

_HOST = torch.device("cpu")


def seed_torch(*key: int, device: torch.device = _HOST) -> None:
    """Seed torch's generators of the host and of `device` from (seed, …): no state to save.

    Not ``torch.manual_seed``: that seeds every GPU, those that others work on too.
    """
    sequence = np.random.SeedSequence(key[0], spawn_key=key[1:])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Leave the generators that `seed_torch` seeds as they were; deterministic convolutions."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.backends.cudnn.deterministic = before
