"""Codes: text cells as small numbers, and the labels that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcl.batch import Label

__all__ = ["Codes", "label_ranks", "labels_of"]

FLAGS = {"true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0, "FALSE": 0}


class Codes:
    """Numbers the different cells of a column in the order in which they appear.

    Attributes:
        texts: the cells by their code.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}

    def encode(self, column: pa.Array) -> npt.NDArray[np.int32]:
        """Return (T,) codes; -1 where a cell is empty."""
        encoded = column.dictionary_encode()
        codes = [self._code(text) for text in encoded.dictionary.to_pylist()]
        places: npt.NDArray[np.int32] = np.asarray(encoded.indices.fill_null(len(codes)))
        return np.array([*codes, -1], dtype=np.int32)[places]

    def _code(self, text: str) -> int:
        if text not in self._codes:
            self._codes[text] = len(self.texts)
            self.texts.append(text)
        return self._codes[text]


def labels_of(texts: Sequence[str]) -> tuple[Label, ...]:
    """Return the label of each text: all int, all float, or all as written.

    ``1.0`` is the int 1 where every number is whole; true and false are 1 and 0.
    """
    flags = [FLAGS.get(text) for text in texts]
    if all(flag is not None for flag in flags):
        return tuple(flag for flag in flags if flag is not None)
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return tuple(texts)
    return tuple(int(number) for number in numbers) if _whole(numbers) else tuple(numbers)


def label_ranks(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the rank of each text by its number, true and false being 1 and 0; words first."""
    order = np.argsort([_number(text) for text in texts], kind="stable")
    ranks = np.empty(len(texts), np.int64)
    ranks[order] = np.arange(len(texts))
    return ranks


def _number(text: str) -> float:
    try:
        return float(FLAGS.get(text, text))
    except ValueError:
        return -np.inf


def _whole(numbers: Iterable[Any]) -> bool:
    return all(number.is_integer() for number in numbers)
