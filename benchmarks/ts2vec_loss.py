"""The hierarchical loss of TS2Vec against its original form, time and memory.

The original form is written from the paper's equations with the matrices that the authors' code
builds: at every scale one of 2T x 2T for each record and one of 2B x 2B for each step, their
diagonal removed by joining the two triangles, log-softmax, the positives' means. Forward and
backward from features (B, T, 320) to their gradients, one thread. Times are CPU-seconds, the
systems interleaved, the median of the rounds. `seqcl-256` draws 256 anchors at every scale.

Extra memory is measured apart, each figure in a fresh process that has run the system once on a
small input: the peak of its resident memory in the measured step (VmHWM) over what was resident
before (VmRSS), gradients included.

    python benchmarks/ts2vec_loss.py --out benchmarks/results/ts2vec_loss
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measuring import in_fresh_process, resident_mb
from torch import Tensor
from torch.nn import functional as F

from seqcl.losses.hierarchical import hierarchical

D = 320
CASES = {
    "16x512-float32": (16, 512, torch.float32, 5),
    "8x3000-bfloat16": (8, 3000, torch.bfloat16, 3),
}
QUICK = {"4x128-float32": (4, 128, torch.float32, 3)}
Records = list[dict[str, str | int | float]]


def original(first: Tensor, second: Tensor, instance: float = 0.5) -> Tensor:
    """Take the loss as the authors' code does."""
    total, scales = torch.zeros(()), 0
    while first.shape[1] > 1:
        total = total + instance * _between_records(first, second)
        total = total + (1 - instance) * _between_steps(first, second)
        first, second = (
            F.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2) for z in (first, second)
        )
        scales += 1
    return (total + instance * _between_records(first, second)) / (scales + 1)


def _halved(z: Tensor) -> Tensor:
    return F.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2)


def _between_records(first: Tensor, second: Tensor) -> Tensor:
    return _positives(torch.cat((first, second)).transpose(0, 1))  # (T, 2B, D)


def _between_steps(first: Tensor, second: Tensor) -> Tensor:
    return _positives(torch.cat((first, second), dim=1))  # (B, 2T, D)


def _positives(z: Tensor) -> Tensor:
    """Return the mean of -log softmax of the positives, half the rows apart."""
    half = z.shape[1] // 2
    products = z @ z.transpose(1, 2)
    logits = torch.tril(products, diagonal=-1)[..., :-1]
    logits = logits + torch.triu(products, diagonal=1)[..., 1:]
    losses, at = -F.log_softmax(logits, dim=-1), torch.arange(half)
    return (losses[:, at, half + at - 1].mean() + losses[:, half + at, at].mean()) / 2


SYSTEMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "original": original,
    "seqcl": hierarchical,
    "seqcl-256": partial(hierarchical, anchors=256),
}


def features(rows: int, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return two related views, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    first = 0.1 * torch.randn(rows, steps, D, generator=generator)
    second = first + 0.03 * torch.randn(rows, steps, D, generator=generator)
    return first.to(dtype).requires_grad_(), second.to(dtype).requires_grad_()


def step(name: str, first: Tensor, second: Tensor) -> Tensor:
    """Run forward and backward once."""
    first.grad = second.grad = None
    loss = SYSTEMS[name](first, second)
    loss.backward()
    return loss.detach()


def agree() -> None:
    """Stop where the two forms differ in float64, or their gradients do."""
    first, second = features(5, 77, torch.float64)
    found = []
    for name in ("original", "seqcl"):
        loss = step(name, first, second)
        assert first.grad is not None
        found.append((loss, first.grad))
    (loss, grad), (ours, our_grad) = found
    assert abs(loss - ours) < 1e-12, (loss, ours)
    assert (grad - our_grad).norm() < 1e-12 * grad.norm()


def times(case: str) -> dict[str, float]:
    """Return the median CPU milliseconds of one step of each system."""
    rows, steps, dtype, rounds = (CASES | QUICK)[case]
    first, second = features(rows, steps, dtype)
    taken: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for _ in range(rounds + 1):
        for name, values in taken.items():
            start = time.process_time()
            step(name, first, second)
            values.append(1000 * (time.process_time() - start))
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def extra_mb(name: str, case: str) -> float:
    """Return the extra peak memory of one step, measured in a fresh process."""
    return in_fresh_process(__file__, name, case)


def print_memory(name: str, case: str) -> None:
    """Measure one step in this process."""
    rows, steps, dtype, _ = (CASES | QUICK)[case]
    step(name, *features(2, 64, dtype))
    first, second = features(rows, steps, dtype)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of making the input
    before = resident_mb("VmRSS")
    step(name, first, second)
    print(resident_mb("VmHWM") - before)


def measure(cases: list[str]) -> Records:
    """Return one record per system and case; `ratio` is the original's time over the system's."""
    agree()
    records: Records = []
    for case in cases:
        ms = times(case)
        records += [
            {
                "system": name,
                "case": case,
                "ms": round(ms[name], 1),
                "extra_mb": round(extra_mb(name, case), 1),
                "ratio": round(ms["original"] / ms[name], 2),
            }
            for name in SYSTEMS
        ]
        print(table(records[-len(SYSTEMS) :]), file=sys.stderr)
    return records


def table(records: Records) -> str:
    """Return the records as a Markdown table."""
    heads = ("system", "case", "ms", "extra_mb", "ratio")
    rows = [heads, tuple("---" for _ in heads), *(tuple(r[h] for h in heads) for r in records)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write STEM.md and STEM.json")
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--memory-of", nargs=2, metavar=("SYSTEM", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        print_memory(*options.memory_of)
        return
    if options.out is None:
        parser.error("--out STEM is needed")
    records = measure(list(QUICK if options.quick else CASES))
    title = f"TS2Vec's loss, forward and backward, D = {D}, one thread"
    note = "`case`: records x steps; `ratio`: the original form's ms over the system's."
    text = f"# {title}\n\n{table(records)}\n\n{note}\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
