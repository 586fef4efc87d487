"""Modalities: each folder is one plugin with its readers, front end, views and baselines."""

from __future__ import annotations

from seqcl.modalities.base import Baseline, Modality, NotApplicable

__all__ = ["Baseline", "Modality", "NotApplicable"]
