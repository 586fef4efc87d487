"""The errors a user can meet, each with its exit code, and did-you-mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = [
    "ArtefactError",
    "DataError",
    "EmbeddingError",
    "LockedError",
    "MissingInputError",
    "PresetError",
    "SeqclError",
    "TooLongError",
    "TrainingError",
    "UsageError",
    "did_you_mean",
]


class SeqclError(Exception):
    """A fault that the user can mend; the message is one line: where, what, what to do."""

    exit_code = 1


class UsageError(SeqclError):
    """An option or argument that cannot be used as given."""

    exit_code = 2


class PresetError(UsageError):
    """One or more faults of a preset, told all at once, one line each."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class DataError(SeqclError):
    """Data that cannot be used as it is: names the file, the place and the reason."""

    exit_code = 4


class TooLongError(DataError):
    """A recording of more steps than one record may have."""


class TrainingError(SeqclError):
    """Training that had to stop: a non-finite loss, a dead loader worker, a full disk."""

    exit_code = 5


class EmbeddingError(TrainingError):
    """A closed-form embedding that its data cannot determine."""


class MissingInputError(SeqclError):
    """A path that does not exist or may not be read."""

    exit_code = 10


class LockedError(SeqclError):
    """A run folder that another process is writing."""

    exit_code = 11


class ArtefactError(SeqclError):
    """A file of ours that is corrupt, unsafe, or of another format version."""

    exit_code = 12


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'? Known: a, b, x"`` (the guess only where one is close)."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"{guess} Known: {', '.join(names)}" if names else guess
