"""seqcl: contrastive representation learning on sequences.

``ContrastiveEncoder(...).fit(X).transform(X)`` trains and embeds arrays with scikit-learn's
conventions; ``load(RUN).embed(X)`` uses what `seqcl pretrain` left, and
``ClipIndex.open(INDEX).search("query.wav")`` what `seqcl index` did. Everything is imported when it
is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqcl.anomaly_detector import AnomalyDetector as AnomalyDetector
    from seqcl.estimator import ContrastiveEncoder as ContrastiveEncoder
    from seqcl.run import load as load
    from seqcl.run.indexing import ClipIndex as ClipIndex

__all__ = ["AnomalyDetector", "ClipIndex", "ContrastiveEncoder", "load"]
__version__ = "0.1.0"

_LAZY = {
    "AnomalyDetector": "seqcl.anomaly_detector",
    "ClipIndex": "seqcl.run.indexing",
    "ContrastiveEncoder": "seqcl.estimator",
    "load": "seqcl.run",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'seqcl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
