"""NT-Xent against lightly's and against the floor of three full matrix products.

Two views of N records, D = 128, temperature 0.1, float32, one thread; forward and backward with
normalisation, from projections to their gradients. The floor is what a full M x M matrix (M = 2N)
costs in products alone: one for the similarities, two for the gradient. Times are CPU-seconds,
the systems of one size interleaved, the median of 7 rounds (3 from N = 4,096); a round of a small
size runs several steps, 16 at N = 256.

Extra memory is measured apart, each figure in a fresh process that has run the system once on a
small batch, so that libraries and thread pools stand: the peak of its resident memory in the
measured step (VmHWM) over what was resident before (VmRSS), gradients included.

    python benchmarks/losses.py --out benchmarks/results/losses
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from seqcl.losses.nt_xent import nt_xent

D, TEMPERATURE = 128, 0.1
Step = Callable[[Tensor, Tensor], Tensor | None]
Records = list[dict[str, str | int | float]]


def floor(a: Tensor, b: Tensor) -> None:
    """Run three full products of M x M x D, and nothing else."""
    with torch.no_grad():
        z = torch.cat([a, b])
        s = z @ z.T
        s @ z, s.T @ z


def seqcl(a: Tensor, b: Tensor) -> Tensor:
    """Take our loss."""
    return nt_xent(a, b, TEMPERATURE)


def lightly(a: Tensor, b: Tensor) -> Tensor:
    """Take lightly's loss."""
    from lightly.loss import NTXentLoss

    loss: Tensor = NTXentLoss(TEMPERATURE, memory_bank_size=0)(a, b)
    return loss


SYSTEMS: dict[str, Step] = {"floor": floor, "lightly": lightly, "seqcl": seqcl}


def projections(n: int) -> tuple[Tensor, Tensor]:
    """Return two related views of `n` records, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n, D, generator=generator)
    b = a + torch.randn(n, D, generator=generator)
    return a.requires_grad_(), b.requires_grad_()


def step(name: str, a: Tensor, b: Tensor) -> Tensor | None:
    """Run forward and backward once."""
    a.grad = b.grad = None
    loss = SYSTEMS[name](a, b)
    if loss is not None:
        loss.backward()
    return loss


def agree(n: int) -> None:
    """Stop where the two losses or their gradients differ."""
    a, b = projections(n)
    found = []
    for name in ("lightly", "seqcl"):
        loss = step(name, a, b)
        assert loss is not None
        assert a.grad is not None
        found.append((loss.detach(), a.grad))
    (loss, grad), (ours, our_grad) = found
    assert abs(loss - ours) < 1e-5, (n, loss, ours)
    assert (grad - our_grad).norm() < 1e-5 * grad.norm(), n


def times(n: int, rounds: int) -> dict[str, float]:
    """Return the median CPU milliseconds of one step of each system."""
    a, b = projections(n)
    steps = max(1, (1024 // n) ** 2)
    taken: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for _ in range(rounds + 1):
        for name, values in taken.items():
            start = time.process_time()
            for _ in range(steps):
                step(name, a, b)
            values.append(1000 * (time.process_time() - start) / steps)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def extra_mb(name: str, n: int) -> float:
    """Return the extra peak memory of one step, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, str(n)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(name: str, n: int) -> None:
    """Measure one step in this process."""
    step(name, *projections(64))
    a, b = projections(n)
    before = _resident("VmRSS")
    step(name, a, b)
    print(_resident("VmHWM") - before)


def _resident(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(sizes: list[int]) -> Records:
    """Return one record per system and size; `ratio` is lightly's time over the system's."""
    records: Records = []
    for n in sizes:
        agree(n)
        ms = times(n, 7 if n < 4096 else 3)
        for name in SYSTEMS:
            records.append(
                {
                    "system": name,
                    "n": n,
                    "ms": round(ms[name], 3),
                    "extra_mb": round(extra_mb(name, n), 1),
                    "ratio": round(ms["lightly"] / ms[name], 2),
                    "of_floor": round(ms[name] / ms["floor"], 2),
                }
            )
        print(table(records[-len(SYSTEMS) :]), file=sys.stderr)
    return records


def table(records: Records) -> str:
    """Return the records as a Markdown table."""
    heads = ("system", "n", "ms", "extra_mb", "ratio", "of_floor")
    rows = [heads, tuple("---" for _ in heads), *(tuple(r[h] for h in heads) for r in records)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write STEM.md and STEM.json")
    parser.add_argument("--quick", action="store_true", help="N = 256 and 1,024 only")
    parser.add_argument("--large", action="store_true", help="N = 16,384 too (20 GB, minutes)")
    parser.add_argument("--memory-of", nargs=2, metavar=("SYSTEM", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        print_memory(options.memory_of[0], int(options.memory_of[1]))
        return
    if options.out is None:
        parser.error("--out STEM is needed")
    try:
        import lightly.loss  # noqa: F401 - only whether it is there
    except ImportError as error:
        sys.exit(f"lightly cannot be imported ({error}); pip install 'seqcl[bench]'")
    records = measure([256, 1024] + [4096, 8192] * (not options.quick) + [16384] * options.large)
    title = "NT-Xent, forward and backward, D = 128, temperature 0.1, float32, one thread"
    note = "`ratio`: lightly's ms over the system's; `of_floor`: ms over three full products."
    text = f"# {title}\n\n{table(records)}\n\n{note}\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
