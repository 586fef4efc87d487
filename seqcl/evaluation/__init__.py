"""What embeddings are worth: evaluators, few labels, intervals, and tables of results.

Evaluators (``linear``, ``knn``, ``clustering``, ``retrieval``) are found by name in the registry.
"""

from seqcl.evaluation.base import (
    Difference,
    Evaluator,
    Report,
    Row,
    paired_difference,
    records,
)
from seqcl.evaluation.labels import LabelBudget, draw_labels, evaluate_budget, parse_labels
from seqcl.evaluation.table import ResultTable, markdown, table_of

__all__ = [
    "Difference",
    "Evaluator",
    "LabelBudget",
    "Report",
    "ResultTable",
    "Row",
    "draw_labels",
    "evaluate_budget",
    "markdown",
    "paired_difference",
    "parse_labels",
    "records",
    "table_of",
]
