import numpy as np
import pytest

from seqcl.report import (
    Chart,
    Comparison,
    Confusion,
    Estimate,
    Line,
    ReportContent,
    Row,
    Scatter,
    Table,
)


@pytest.fixture
def scatter() -> Scatter:
    rng = np.random.default_rng(0)
    return Scatter(
        points=rng.normal(size=(30, 2)),
        ids=[f"record {row}" for row in range(30)],
        labels=["walk", "run", None] * 10,
        series=rng.normal(size=(30, 4, 100)),
        channels=("x", "y", "z", "w"),
    )


@pytest.fixture
def content(scatter: Scatter) -> ReportContent:
    table = Table(
        title="Linear",
        header=("system", "accuracy", "ARI"),
        rows=(
            Row(name="seqcl", cells=(Estimate(0.865, 0.842, 0.887), 0.451)),
            Row(name="raw", cells=(0.712, None), control=True, note="no clusters"),
        ),
        note="Three seeds.",
    )
    few = Chart(
        title="Accuracy",
        x_label="labels per class",
        log_x=True,
        lines=(Line(name="seqcl", x=[1, 5], y=[0.61, 0.72], low=[0.5, 0.7], high=[0.7, 0.74]),),
    )
    return ReportContent(
        title="A run",
        created="2025-06-01 14:30",
        command="seqcl pretrain series --data train.npz --out runs/first",
        preset="modality: sequence\n",
        facts={"records": 1234, "seconds": 18.25},
        notes=("one file was skipped",),
        comparisons=(Comparison(sentence="Up by 6 points.", difference=Estimate(0.06, 0.02, 0.1)),),
        tables=(table,),
        scatter=scatter,
        confusion=Confusion(classes=("walk", "run"), counts=np.array([[17, 3], [0, 21]])),
        few_labels=few,
        curves=[{"step": step, "loss": 1 / (step + 1), "lr": 1e-3} for step in range(50)],
    )
