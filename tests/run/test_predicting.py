"""Files of predictions hold one type a column, whatever the classes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from seqcl.finetuning.predictions import Predictions
from seqcl.run.predicting import write_predictions

SHARES = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)


def written(folder: Path, predictions: Predictions) -> list[list[int | str]]:
    """Return the predictions of a .parquet and of an .npz."""
    write_predictions(predictions, folder / "p.parquet")
    write_predictions(predictions, folder / "p.npz")
    table = pq.read_table(folder / "p.parquet").to_pydict()
    return [table["prediction"], np.load(folder / "p.npz")["predictions"].tolist()]


def test_numbers_are_text_where_other_classes_are(tmp_path: Path) -> None:
    for labels in ((1, "walk"), (1, 1)):
        predictions = Predictions(("a", "b"), labels, SHARES, (1, "walk"))
        assert written(tmp_path, predictions) == [[str(label) for label in labels]] * 2


def test_numbers_alone_stay_numbers(tmp_path: Path) -> None:
    assert written(tmp_path, Predictions(("a", "b"), (1, 4), SHARES, (1, 4))) == [[1, 4]] * 2
