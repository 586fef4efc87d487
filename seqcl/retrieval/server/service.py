"""What the API answers, as plain values."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from seqcl.data.sources import reader_suffixes
from seqcl.errors import DataError, MissingInputError, SeqclError, TooLongError, UsageError
from seqcl.retrieval.matches import Place, as_json
from seqcl.retrieval.searcher import Searcher
from seqcl.retrieval.server.guard import Limits
from seqcl.retrieval.server.media import is_sound, picture, wav

__all__ = ["Service"]


class Service:
    """Answers from an index that is open; may be called from several threads."""

    def __init__(self, searcher: Searcher, limits: Limits) -> None:
        self.searcher = searcher
        self.limits = limits
        self._embedding = Lock()  # one query at a time uses all threads better than many at once

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of files that can be queries: of series and sounds, or of images."""
        return tuple(reader_suffixes(self.searcher.embedder.layout))

    def info(self) -> dict[str, Any]:
        """Return what the page needs before the first query."""
        entries, manifest = self.searcher.entries, self.searcher.manifest
        rates = [recording.rate_hz for recording in entries.recordings]
        return {
            "entries": len(entries),
            "recordings": len(entries.recordings),
            "labels": list(entries.label_texts),
            "sound": is_sound(rates[0]),
            "suffixes": list(self.suffixes),
            "upload_bytes": self.limits.upload_bytes,
            "calibrated": manifest.calibration is not None,
            "identifies": entries.window is not None,
        }

    def answer(
        self, path: Path, k: int, label: str, at: float | None, length: float | None
    ) -> dict[str, Any]:
        """Search and identify the first recording of a file."""
        labels = (label,) if label else ()
        searcher = self.searcher
        try:
            query = searcher.embedder.open(str(path), self._most_steps())
            if (count := len(query.recordings.lengths)) > 1:
                raise UsageError(f"{path.name}: holds {count} recordings; give one at a time")
            with self._embedding:
                found = searcher.search(query, k, at=at, length=length, labels=labels)[0]
                identified = searcher.identify(query, at=at, length=length)[0]
        except TooLongError:
            raise DataError(f"{path.name}: is too long; {self._most_told} are taken") from None
        except SeqclError as error:
            raise type(error)(str(error).replace(f"{path.parent}/", "")) from None
        steps = min(int(query.recordings.lengths[0]), self._longest(query.recordings.rate(0)))
        shown = query.excerpt(0, 0, steps)
        answer = _public(as_json(identified))
        return {
            "matches": [_public(match) for match in as_json(found)["matches"]],
            "identified": answer,
            "picture": picture(shown.values, shown.rate_hz),
        }

    def map(self) -> dict[str, Any]:
        """Return the entries of the map: numbers, coordinates, labels and names."""
        ids, points = self.searcher.map
        places = [self.searcher.place_of(entry) for entry in ids.tolist()]
        return {
            "entries": ids.tolist(),
            "points": np.round(points, 5).tolist(),
            "labels": ["" if p.label is None else str(p.label) for p in places],
            "names": [_name(place) for place in places],
        }

    def picture(self, entry: int) -> dict[str, Any]:
        """Return an entry in its surroundings, and where in the picture it lies."""
        recording, start, length = self._span(entry)
        known = self.searcher.entries.recordings[recording]
        room = min(length // 2, self._longest(known.rate_hz) // 2)
        first, stop = max(0, start - room), min(known.steps, start + length + room)
        found = self._read(recording, first, stop)
        width = stop - first
        span = [(start - first) / width, (start + length - first) / width]
        return {**picture(found.values, known.rate_hz), "span": span}

    def sound(self, entry: int) -> bytes:
        """Return what an entry sounds like and what follows, as WAV."""
        recording, start, length = self._span(entry)
        known = self.searcher.entries.recordings[recording]
        if not is_sound(known.rate_hz):
            raise UsageError("this recording has no rate at which it could be heard")
        assert known.rate_hz is not None
        stop = min(known.steps, start + max(length, self._longest(known.rate_hz)))
        return wav(self._read(recording, start, stop).values, known.rate_hz)

    def _span(self, entry: int) -> tuple[int, int, int]:
        """Return recording, first step and length of an entry; UsageError where there is none."""
        entries, ids = self.searcher.entries, np.array([entry])
        if not 0 <= entry < 1 << 62 or not entries.are_live(ids)[0]:
            raise UsageError(f"there is no entry {entry}")
        recording = int(entries.recording_of(ids)[0])
        return recording, int(entries.start_of(ids)[0]), entries.length_of(recording)

    def _read(self, recording: int, first: int, stop: int) -> Any:
        name = self.searcher.entries.recordings[recording].name
        try:
            return self.searcher.excerpt(recording, first, stop)
        except (SeqclError, OSError):
            raise MissingInputError(
                f"{name}: its file is gone or is no longer what was indexed; repeat 'seqcl index'"
            ) from None

    def _most_steps(self) -> int:
        """Return the steps of the longest query that is taken."""
        rate = _sound_rate(self.searcher.entries.recordings[0].rate_hz)
        return int(self.limits.query_s * rate) if rate else self.limits.query_steps

    @property
    def _most_told(self) -> str:
        if is_sound(self.searcher.entries.recordings[0].rate_hz):
            return f"at most {self.limits.query_s:g} seconds"
        return f"at most {self.limits.query_steps:,} steps"

    def _longest(self, rate_hz: float | None) -> int:
        """Return the steps that are read for one answer."""
        rate = _sound_rate(rate_hz)
        return int(self.limits.play_s * rate) if rate else 1 << 16


def _sound_rate(rate_hz: float | None) -> float | None:
    """Return a rate at which values can be heard: limits in seconds are for these."""
    return rate_hz if is_sound(rate_hz) else None


def _public(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out where files lie on this machine."""
    return {name: value for name, value in facts.items() if name != "file"}


def _name(place: Place) -> str:
    at = f"{place.start:.0f}" if place.start_s is None else f"{place.start_s:.2f} s"
    return f"{place.recording} @ {at}"
