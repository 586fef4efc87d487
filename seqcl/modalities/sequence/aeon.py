"""AeonSource: ``aeon:NAME``, the sets of the UCR and UEA archives, by name."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from seqcl.batch import Entry
from seqcl.data.reader import Columns, Reader
from seqcl.data.source import Source
from seqcl.errors import DataError
from seqcl.modalities.sequence.ts import TsReader

__all__ = ["AeonSource"]

_SPLITS = {"": ("TRAIN", "TEST"), "train": ("TRAIN",), "test": ("TEST",)}


class AeonSource(Source):
    """``aeon:GunPoint``, ``aeon:GunPoint:train`` or ``aeon:GunPoint:test``.

    A few sets come with aeon's wheel. Others are taken from the cache, the folder ``aeon`` in
    SEQCL_CACHE (default ~/.cache/seqcl), and downloaded into it where they are not there yet.
    """

    def __init__(self, name: str, columns: Columns) -> None:
        super().__init__(name, columns)
        self._reader = TsReader(columns)

    def entries(self) -> Iterable[tuple[Reader, Entry]]:
        """Yield the records of the split, or of both; raises DataError for an unknown name."""
        name, _, split = self.name.partition(":")
        if split not in _SPLITS:
            raise DataError(
                f"aeon:{self.name}: unknown split {split!r}; write aeon:{name}:train, "
                f"aeon:{name}:test, or aeon:{name} for both"
            )
        for path in _locate(name, _SPLITS[split]):
            for entry in self._reader.scan(path):
                yield self._reader, entry


def _locate(name: str, splits: tuple[str, ...]) -> Iterator[Path]:
    """Yield the file of each split, from the wheel, the cache or the archive."""
    found = [folder / name for folder in (_shipped(), _cache()) if _holds(folder, name)]
    folder = found[0] if found else _download(name)
    return (folder / f"{name}_{split}.ts" for split in splits)


def _shipped() -> Path:
    return Path(str(files("aeon"))) / "datasets" / "data"


def _cache() -> Path:
    return Path(os.environ.get("SEQCL_CACHE") or "~/.cache/seqcl").expanduser() / "aeon"


def _holds(folder: Path, name: str) -> bool:
    is_name = re.fullmatch(r"[A-Za-z0-9][\w-]*", name) is not None
    return is_name and all((folder / name / f"{name}_{s}.ts").is_file() for s in _SPLITS[""])


def _download(name: str) -> Path:
    """Let aeon download a set of the archives; whole or not at all."""
    from aeon.datasets import load_classification, load_regression
    from aeon.datasets.tsc_datasets import tsc_zenodo
    from aeon.datasets.tser_datasets import tsr_zenodo

    if name not in tsc_zenodo and name not in tsr_zenodo:
        raise _unknown(name, [*tsc_zenodo, *tsr_zenodo])
    load = load_classification if name in tsc_zenodo else load_regression
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            load(name, "train", folder, load_equal_length=False, load_no_missing=False)
            (Path(folder) / name).rename(cache / name)
    except Exception as error:  # aeon lets through whatever the network and the disk raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"aeon:{name}: is not on this machine and cannot be downloaded, is there a "
            f"network? ({reason}); or put {name}_TRAIN.ts and {name}_TEST.ts into {cache / name}"
        ) from None
    return cache / name


def _unknown(name: str, archive: list[str]) -> DataError:
    shipped = sorted(path.name for path in _shipped().iterdir() if _holds(_shipped(), path.name))
    close = get_close_matches(name, {*archive, *shipped}, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return DataError(
        f"aeon:{name}: no such set.{guess} Known: {', '.join(shipped)}, and {len(archive)} of the "
        f"archives at timeseriesclassification.com"
    )
