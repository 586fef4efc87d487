"""Data: sources and readers to a Dataset, its splits, scaler, samplers, batches and loader."""

from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.loader import Loader
from seqcl.data.options import DataOptions
from seqcl.data.reader import Columns, Reader, default_channels, observed_lengths
from seqcl.data.samplers import Sampler
from seqcl.data.scaler import Scaler
from seqcl.data.source import Skipped, Source
from seqcl.data.split import split_by_group, split_by_time

__all__ = [
    "Collate",
    "Columns",
    "DataOptions",
    "Dataset",
    "Loader",
    "Reader",
    "Sampler",
    "Scaler",
    "Skipped",
    "Source",
    "collate_rows",
    "dataset_from_arrays",
    "default_channels",
    "observed_lengths",
    "open_dataset",
    "split_by_group",
    "split_by_time",
]
