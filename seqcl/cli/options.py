"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

__all__ = [
    "FiniteRange",
    "data",
    "data_overrides",
    "device",
    "excerpt",
    "heavy",
    "index_folder",
    "qdrant",
    "queries",
    "run_folder",
    "world_size",
]

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers without NaN, which every range holds for click, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; usage errors are click's."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


def heavy(command: F) -> F:
    """Add --batch-size, --threads and --device."""
    for option in (
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Records a step. [default: the preset's, or 256 to embed]",
        ),
        click.option(
            "--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]"
        ),
        device,
    ):
        command = option(command)
    return command


def device(command: F) -> F:
    """Add --device."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes a GPU if there is one.",
    )(command)


def data(name: str, *, required: bool = True, text: str) -> Callable[[F], F]:
    """Add an option that names data: a file, a folder, a glob or scheme:name; may be repeated."""
    return click.option(
        f"--{name}",
        f"{name.replace('-', '_')}_sources",
        metavar="SRC",
        multiple=True,
        required=required,
        help=text,
    )


def run_folder(command: F) -> F:
    """Add the argument RUN."""
    return click.argument("run", metavar="RUN", type=click.Path(path_type=Path))(command)


def data_overrides(command: F) -> F:
    """Add --set for the `data:` section of a finished run."""
    return click.option(
        "--set",
        "overrides",
        metavar="data.KEY=VALUE",
        multiple=True,
        help="Change how the data is read, e.g. --set data.label=activity.",
    )(command)


def centre(command: F) -> F:
    """Add --centre."""
    return click.option(
        "--centre",
        type=click.Choice(["group"]),
        help="Take from each embedding the mean of its group (a speaker, a machine) in these data.",
    )(command)


def index_folder(command: F) -> F:
    """Add the argument INDEX."""
    return click.argument("index", metavar="INDEX", type=click.Path(path_type=Path))(command)


def queries(command: F) -> F:
    """Add the arguments QUERY."""
    return click.argument("queries", metavar="QUERY...", nargs=-1, required=True)(command)


def qdrant(text: str) -> Callable[[F], F]:
    """Add --qdrant."""
    return click.option(
        "--qdrant",
        metavar="PLACE",
        help=f"{text} PLACE is the address of a server (http://...; its key in QDRANT_API_KEY), "
        "or a folder for the client's local mode. [default: faiss alone]",
    )


def excerpt(command: F) -> F:
    """Add --at and --for."""
    for option in (
        click.option(
            "--for",
            "length",
            metavar="S",
            type=FiniteRange(min=0, min_open=True),
            help="Length of the part: seconds, or steps. [default: to the end]",
        ),
        click.option(
            "--at",
            metavar="S",
            type=FiniteRange(min=0),
            help="Look for a part of each query only, from here on: seconds, or steps where the "
            "file tells no rate.",
        ),
    ):
        command = option(command)
    return command


def world_size(command: F) -> F:
    """Add --world-size."""
    return click.option(
        "--world-size",
        type=click.IntRange(min=1),
        help="Processes that must run; another number is refused. [default: torchrun's, or 1]",
    )(command)
