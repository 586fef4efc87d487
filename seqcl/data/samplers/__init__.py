"""Samplers: which records an epoch holds and in which order, one file each."""

from seqcl.data.samplers.balanced import BalancedSampler
from seqcl.data.samplers.base import Sampler
from seqcl.data.samplers.grouped import GroupedSampler
from seqcl.data.samplers.neighbours import NeighbourSampler
from seqcl.data.samplers.order import SequentialSampler, ShuffleSampler
from seqcl.data.samplers.pairs import PairSampler
from seqcl.data.samplers.pk import PkSampler

__all__ = [
    "BalancedSampler",
    "GroupedSampler",
    "NeighbourSampler",
    "PairSampler",
    "PkSampler",
    "Sampler",
    "SequentialSampler",
    "ShuffleSampler",
]
