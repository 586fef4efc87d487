"""Presets: YAML in, checked components out; schemas come from constructor signatures."""

from seqcl.config.preset import Preset, load_preset, preset_names

__all__ = ["Preset", "load_preset", "preset_names"]
