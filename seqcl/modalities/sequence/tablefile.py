"""TableFile: what a table's reader needs of a file format, and the roles of its columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from seqcl.data.reader import Columns
from seqcl.errors import DataError, did_you_mean

__all__ = ["Kind", "Roles", "TableFile", "choose_roles"]

Kind = Literal["number", "flag", "text", "time", "mixed"]
"""`flag` is true and false; `mixed` is numbers with something else between them."""

TIME_NAMES = ("timestamp", "datetime", "date", "time")
LABEL_NAME = "label"
NO_TIME = "none"


class TableFile(ABC):
    """A file of rows and named columns that is read in blocks.

    Attributes:
        names: the columns, in the file's order; an unnamed one (a saved index) is ``""``.
        named: whether the names are the file's own.
        kinds: what each column holds, as far as its beginning shows.
    """

    path: Path
    names: tuple[str, ...]
    named: bool
    kinds: Mapping[str, Kind]

    @abstractmethod
    def blocks(self, roles: Roles) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order with the columns of `roles`.

        Channels are numbers with null or NaN where missing, the label and the group text.
        Raises DataError with the place of the first row that is not what it should be.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """Return ``path:line`` of a row, or what this format has instead."""

    @abstractmethod
    def fault(self, column: str) -> DataError:
        """Return what is wrong with a channel that is not all numbers."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column is what; no column has two roles."""

    channels: tuple[str, ...]
    time: str | None = None
    label: str | None = None
    group: str | None = None
    sensor: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that are read as text, but for time."""
        return tuple(name for name in (self.label, self.group, self.sensor) if name)


def choose_roles(file: TableFile, columns: Columns) -> Roles:
    """Give the columns of `file` their roles, as asked for or by their names.

    Raises DataError for a column that is not there, and for a channel that is not numbers.
    """
    wanted = columns.values
    if columns.sensor is not None:
        wanted = None if columns.value is None else (columns.value,)
    for asked, option in (
        (columns.sensor, "sensor"),
        (None if columns.time == NO_TIME else columns.time, "time"),
        (columns.label, "label"),
        (columns.group, "group"),
        *((name, "value" if columns.sensor else "columns") for name in wanted or ()),
    ):
        if asked is not None and asked not in file.names:
            raise DataError(
                f"{file.path}: has no column {asked!r}, asked for by data.{option}."
                f"{did_you_mean(asked, file.names)}"
            )
    taken = {*(wanted or ()), columns.label, columns.group, columns.sensor}
    usual = _time(file, taken)
    time = usual if columns.time is None else columns.time
    label = columns.label or _named(file, LABEL_NAME, taken | {time})
    taken |= {usual, time, label}
    channels = wanted or tuple(
        name for name in file.names if name and name not in taken and file.kinds[name] in _CHANNELS
    )
    for name in channels:
        if file.kinds[name] not in ("number", "flag"):
            raise file.fault(name)
    if not channels:
        found = ", ".join(f"{name} ({kind})" for name, kind in file.kinds.items())
        raise DataError(f"{file.path}: has no numeric column to be a channel; found: {found}")
    roles = Roles(channels, None if time == NO_TIME else time, label, columns.group, columns.sensor)
    if roles.sensor is not None:
        _check_long(file, roles)
    return roles


def _check_long(file: TableFile, roles: Roles) -> None:
    if len(roles.channels) > 1:
        raise DataError(
            f"{file.path}: beside data.sensor={roles.sensor} one column holds values, and "
            f"{', '.join(roles.channels)} hold numbers; name it with data.value"
        )
    if roles.time is None:
        raise DataError(
            f"{file.path}: long form (data.sensor={roles.sensor}) needs time stamps; name their "
            f"column with data.time. Columns: {', '.join(filter(None, file.names))}"
        )


_CHANNELS = ("number", "flag", "mixed")


def _time(file: TableFile, taken: set[str | None]) -> str | None:
    """Return the column with a usual name for time that holds time, if there is one."""
    names = [_named(file, name, taken) for name in TIME_NAMES]
    return next((name for name in names if name and file.kinds[name] in ("time", "number")), None)


def _named(file: TableFile, wanted: str, taken: set[str | None]) -> str | None:
    found = (name for name in file.names if name.lower() == wanted and name not in taken)
    return next(found, None)
