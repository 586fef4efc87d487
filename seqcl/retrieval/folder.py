"""The folder of an index: its manifest, and the parts that the manifest vouches for."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seqcl.errors import ArtefactError, MissingInputError, UsageError
from seqcl.files import atomic_write, check_sha256, sha256
from seqcl.retrieval.neighbours import NeighboursFacts, Quantise
from seqcl.retrieval.shards import Precision

__all__ = ["CATALOGUE", "NEIGHBOURS", "VECTORS", "IndexSettings", "Manifest"]

FORMAT = 1
"""Version of the folder's form; a newer one is refused."""
CATALOGUE, NEIGHBOURS, VECTORS = "catalogue.sqlite", "neighbours.faiss", "vectors"

_MANIFEST, _KIND = "manifest.json", "seqcl index"


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """What makes the entries of an index comparable, and how they are kept."""

    run: str
    """Fingerprint of the run."""
    overrides: tuple[str, ...] = ()
    """Changes of the run's ``data:`` section."""
    window: int | None = None
    """Steps of an entry; None = whole recordings."""
    hop: int | None = None
    """Steps from one entry to the next."""
    precision: Precision = "float32"
    quantise: Quantise = "none"
    speed: float = 0.0
    """Share by which a query to identify may be faster or slower than what it was taken from."""


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says; one of an index that is being built vouches for no file."""

    settings: IndexSettings
    is_complete: bool = False
    entries: int = 0
    neighbours: NeighboursFacts | None = None
    calibration: Mapping[str, Any] | None = None
    """How scores become probabilities, see `seqcl.retrieval.calibration`."""
    recognition: Mapping[str, Any] | None = None
    """How alignments become verdicts, see `seqcl.retrieval.recognition`."""
    files: Mapping[str, str] | None = None
    """Sha256 by name."""
    collection: str | None = None
    """What Qdrant calls the vectors that were last uploaded."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files that it vouches for; the vectors are vouched for by the catalogue."""
        return (CATALOGUE,) if self.settings.quantise == "stored" else (CATALOGUE, NEIGHBOURS)

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        facts = {
            "kind": _KIND,
            "format": FORMAT,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": {"seqcl": version("seqcl")},
            **asdict(self),
        }
        atomic_write(folder / _MANIFEST, json.dumps(facts, indent=2) + "\n")

    def noted(self, folder: Path) -> Manifest:
        """Return it as complete, vouching for the files as they are."""
        sums = {name: sha256(folder / name) for name in self.names}
        return replace(self, is_complete=True, files=sums)

    def check(self, path: Path) -> None:
        """Raise ArtefactError where a file of the folder is not the one that it vouches for."""
        noted = (self.files or {}).get(path.name)
        again = "which makes it again" if path.name == NEIGHBOURS else "into a new --out"
        check_sha256(path, noted, f"repeat 'seqcl index', {again}")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read the manifest of a folder; None where there is none.

        Raises ArtefactError where it is not that of an index, damaged, or too new.
        """
        path = folder / _MANIFEST
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["kind"] != _KIND:
                raise ValueError(f"kind is {facts['kind']!r}")
            form = int(facts["format"])
            if form <= FORMAT:
                return _from_facts(facts)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{path}: is no manifest of an index ({type(error).__name__}: {error}); restore "
                "it, or index into a new --out"
            ) from None
        raise ArtefactError(
            f"{path}: format {form} is newer than this seqcl knows ({FORMAT}); upgrade seqcl"
        )

    @classmethod
    def of_complete(cls, folder: Path) -> Manifest:
        """Read the manifest of an index that can be searched; raises as `read` does."""
        if not folder.is_dir():
            raise MissingInputError(f"{folder}: no such index; 'seqcl index' makes one")
        manifest = cls.read(folder)
        if manifest is None:
            raise ArtefactError(f"{folder}: has no {_MANIFEST}; it is not an index")
        if not manifest.is_complete:
            raise ArtefactError(
                f"{folder}: its build was interrupted or is going on; repeat 'seqcl index', which "
                "goes on where it stopped"
            )
        return manifest

    def refuse_other(self, folder: Path, asked: IndexSettings) -> None:
        """Raise UsageError where an index was made with other settings than are asked for.

        How the faiss part is quantised may change: it is made again from the stored vectors; of
        the overrides, those that change no vector.
        """
        if asked.run != self.settings.run:
            raise UsageError(
                f"{folder}: was made with another run, whose vectors cannot be compared with this "
                "one's; give that run, or another --out"
            )
        for item in fields(IndexSettings):
            was, now = (getattr(part, item.name) for part in (self.settings, asked))
            if was != now and item.name not in ("quantise", "overrides"):
                raise UsageError(
                    f"{folder}: was made with {item.name}={was}, asked for is {now}; leave it out, "
                    "or take another --out"
                )


def _from_facts(facts: Mapping[str, Any]) -> Manifest:
    settings = dict(facts["settings"])
    settings["overrides"] = tuple(settings["overrides"])
    near = facts["neighbours"]
    return Manifest(
        IndexSettings(**settings),
        bool(facts["is_complete"]),
        int(facts["entries"]),
        None if near is None else NeighboursFacts(**near),
        facts["calibration"],
        facts["recognition"],
        facts["files"],
        facts.get("collection"),
    )
