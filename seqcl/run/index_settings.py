"""What an index is made with: options of data, of which some change no vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from seqcl.config.preset import changed_data, data_options
from seqcl.data.options import DataOptions
from seqcl.errors import UsageError
from seqcl.retrieval.folder import IndexSettings, Manifest
from seqcl.retrieval.neighbours import Quantise
from seqcl.retrieval.shards import Precision
from seqcl.run.embedder import RunEmbedder, fingerprint
from seqcl.run.folder import Run

__all__ = ["lasting", "merged", "refuse_other_data", "settings_of"]

_DESCRIBES = ("label", "group", "pair", "split", "delimiter", "max_skipped", "cache")
"""Options that change no vector, so that each call may have its own."""


def settings_of(
    embedder: RunEmbedder,
    before: Manifest | None,
    precision: Precision | None,
    quantise: Quantise | None,
    speed: float | None,
) -> IndexSettings:
    """Return what is asked for; what is not said is as it was."""
    options = _options(embedder.run, embedder.overrides)
    old = before.settings if before else None
    return IndexSettings(
        run=fingerprint(embedder.run),
        overrides=embedder.overrides,
        window=options.window,
        hop=options.hop or options.window,
        precision=precision or (old.precision if old else "float32"),
        quantise=quantise or (old.quantise if old else "none"),
        speed=speed if speed is not None else (old.speed if old else 0.0),
    )


def _options(run: Run, overrides: Sequence[str]) -> DataOptions:
    return data_options(changed_data(run.preset.tree()["data"], overrides))


def _option(text: str) -> str:
    """Return the name in ``data.KEY=VALUE``."""
    return text.partition("=")[0].strip()


def lasting(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return those that are kept with an index: a cache is the caller's."""
    return tuple(text for text in overrides if _option(text) != "data.cache")


def merged(kept: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Return what an index was made with, as changed by what is asked for now."""
    return tuple({_option(text): text for text in (*kept, *asked)}.values())


def refuse_other_data(out: Path, run: Run, was: Sequence[str], now: Sequence[str]) -> None:
    """Raise UsageError where vectors of these options cannot stand beside those of before."""
    old, new = asdict(_options(run, was)), asdict(_options(run, now))
    for name in old:
        if old[name] != new[name] and name not in _DESCRIBES:
            raise UsageError(
                f"{out}: was made with data.{name}={old[name]}, asked for is {new[name]}; leave it "
                "out, or take another --out"
            )
