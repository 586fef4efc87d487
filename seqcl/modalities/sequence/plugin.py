"""SEQUENCE: time series and sensor recordings of any number of channels."""

from __future__ import annotations

from seqcl.modalities.base import Modality

__all__ = ["SEQUENCE"]

SEQUENCE = Modality(
    name="sequence",
    layout="CT",
    frontend="identity",
    encoder="tcn",
    scaler="channel",
    baselines=("raw", "minirocket"),
)
