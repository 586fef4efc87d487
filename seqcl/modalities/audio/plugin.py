"""AUDIO: recordings of any length, as waveforms of one sampling rate."""

from __future__ import annotations

from seqcl.modalities.base import Modality

__all__ = ["AUDIO"]

AUDIO = Modality(
    name="audio",
    layout="CT",
    frontend="log_mel",
    views={"multi_crop": {"global_views": 2, "global_fraction": 0.5, "local_views": 0}},
    encoder="conv2d",
    data={"rate_hz": 16_000, "max_steps": 1_920_000},
    scaler="none",
    baselines=("log_mel_statistics", "log_mel_segments", "mfcc_statistics"),
)
