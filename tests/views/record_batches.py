"""Batches whose values tell their own step."""

import torch

from seqcl.batch import Batch

HOST = (60, 41, 7, 2, 1, 60)
"""Lengths of the records of `ragged`."""


def ramp(rows: int = 6) -> Batch:
    """Every value tells its own step."""
    return Batch(torch.arange(60.0).expand(rows, 1, 60), torch.arange(rows))


def ragged() -> Batch:
    """Records of unequal length, padded with 0."""
    lengths = torch.tensor(HOST)
    mask = torch.arange(60) < lengths[:, None]
    values = torch.arange(1.0, 61).expand(6, 1, 60) * mask[:, None]
    return Batch(values, torch.arange(6), lengths=lengths, host_lengths=HOST, mask=mask)
