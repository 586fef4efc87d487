"""Average precision against scikit-learn's, with ties."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from seqcl.metrics.average_precision import average_precision


@pytest.mark.parametrize("levels", [2, 5, 1_000])
def test_equals_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    labels, scores = rng.random(300) < 0.1, rng.integers(0, levels, 300)
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_without_anything_to_find_there_is_none() -> None:
    with pytest.raises(ValueError, match="a true label"):
        average_precision([0, 0], [1, 2])
