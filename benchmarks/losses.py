"""The losses against lightly's, pytorch-metric-learning's and three full matrix products.

Two views of N records, D = 128, temperature 0.1, float32, one thread; forward and backward with
normalisation, from projections to their gradients. The floor is what a full M x M matrix (M = 2N)
costs in products alone: one for the similarities, two for the gradient. SupCon has 10 classes;
triplets are semi-hard with a margin of 0.5 in cosine (11 an anchor at N = 256, 39 at 1,024), the
other view is the positive; the masked NT-Xent excludes records of the anchor's class. A system
runs at the sizes that it can bear: pytorch-metric-learning's triplets and SupCon need over 10 GB
beyond 4,096, its NT-Xent 34 GB at 1,024.

Times are CPU-seconds, the systems of one size interleaved, the median of 7 rounds (3 from
N = 4,096, and of what takes over 1 s); a round of a small size runs several steps, 16 at N = 256.
Before that, losses and
gradients of both sides are compared.

Extra memory is measured apart, each figure in a fresh process that has run the system once on a
small batch, so that libraries and thread pools stand: the peak of its resident memory in the
measured step (VmHWM) over what was resident before (VmRSS), gradients included.

    python benchmarks/losses.py --out benchmarks/results/losses
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import in_fresh_process, resident_mb
from torch import Tensor

from seqcl.losses.exclusion import Exclusion
from seqcl.losses.info_nce import info_nce
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.supcon import supcon
from seqcl.losses.triplet import triplet

D, TEMPERATURE, MARGIN, CLASSES = 128, 0.1, 0.5, 10
Step = Callable[[Tensor, Tensor], Tensor | None]
Records = list[dict[str, str | int | float]]


def floor(a: Tensor, b: Tensor) -> None:
    """Run three full products of M x M x D, and nothing else."""
    with torch.no_grad():
        z = torch.cat([a, b])
        s = z @ z.T
        s @ z, s.T @ z


def lightly_nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """Take lightly's NT-Xent."""
    from lightly.loss import NTXentLoss

    loss: Tensor = NTXentLoss(TEMPERATURE, memory_bank_size=0)(a, b)
    return loss


def pml_nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """Take pytorch-metric-learning's NT-Xent: each record is a class of its two views."""
    from pytorch_metric_learning.losses import NTXentLoss

    records = torch.arange(len(a)).repeat(2)
    loss: Tensor = NTXentLoss(TEMPERATURE)(torch.cat([a, b]), records)
    return loss


def pml_supcon(a: Tensor, b: Tensor) -> Tensor:
    """Take pytorch-metric-learning's SupCon."""
    from pytorch_metric_learning.losses import SupConLoss

    loss: Tensor = SupConLoss(TEMPERATURE)(torch.cat([a, b]), classes(a).repeat(2))
    return loss


def pml_triplet(a: Tensor, b: Tensor) -> Tensor:
    """Take pytorch-metric-learning's triplet loss with its semi-hard miner, in cosine."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner

    z, records = torch.cat([a, b]), torch.arange(len(a)).repeat(2)
    miner = TripletMarginMiner(MARGIN, "semihard", distance=CosineSimilarity())
    loss: Tensor = TripletMarginLoss(MARGIN, distance=CosineSimilarity())(
        z, records, miner(z, records)
    )
    return loss


def classes(a: Tensor) -> Tensor:
    """Return the class of each record."""
    return torch.arange(len(a)) % CLASSES


@dataclass(frozen=True)
class System:
    """What is measured, up to which size, and what it is compared with."""

    step: Step
    against: str
    largest: int = 16384
    same: bool = False
    """Whether it is the same loss as the one that it is compared with."""


SYSTEMS: dict[str, System] = {
    "floor": System(floor, "lightly nt_xent"),
    "lightly nt_xent": System(lightly_nt_xent, "lightly nt_xent"),
    "pml nt_xent": System(pml_nt_xent, "lightly nt_xent", 256, same=True),
    "pml supcon": System(pml_supcon, "pml supcon", 4096),
    "pml triplet": System(pml_triplet, "pml triplet", 4096),
    "nt_xent": System(lambda a, b: nt_xent(a, b, TEMPERATURE), "lightly nt_xent", same=True),
    "nt_xent, masked": System(
        lambda a, b: nt_xent(a, b, TEMPERATURE, exclusion=Exclusion((classes(a),))),
        "lightly nt_xent",
    ),
    "info_nce": System(lambda a, b: info_nce(a, b, TEMPERATURE), "lightly nt_xent"),
    "supcon": System(
        lambda a, b: supcon(a, b, TEMPERATURE, labels=classes(a)), "pml supcon", same=True
    ),
    "triplet": System(lambda a, b: triplet(a, b, margin=MARGIN), "pml triplet", same=True),
}


def projections(n: int) -> tuple[Tensor, Tensor]:
    """Return two related views of `n` records, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n, D, generator=generator)
    b = a + torch.randn(n, D, generator=generator)
    return a.requires_grad_(), b.requires_grad_()


def step(name: str, a: Tensor, b: Tensor) -> Tensor | None:
    """Run forward and backward once."""
    a.grad = b.grad = None
    loss = SYSTEMS[name].step(a, b)
    if loss is not None:
        loss.backward()
    return loss


def at(n: int) -> list[str]:
    """Return the systems that bear `n` records."""
    return [name for name, system in SYSTEMS.items() if n <= system.largest]


def agree(n: int) -> None:
    """Stop where two systems that are the same loss, or their gradients, differ."""
    for name in at(n):
        other = SYSTEMS[name].against
        if not SYSTEMS[name].same or n > SYSTEMS[other].largest:
            continue
        a, b = projections(n)
        found = []
        for system in (other, name):
            loss = step(system, a, b)
            assert loss is not None
            assert a.grad is not None
            found.append((loss.detach(), a.grad))
        (loss, grad), (ours, our_grad) = found
        assert abs(loss - ours) < 1e-5, (name, n, loss, ours)
        # Which triplet is semi-hard may hang on the last digit of a cosine.
        tolerance = 1e-3 if "triplet" in name else 1e-5
        assert (grad - our_grad).norm() < tolerance * grad.norm(), (name, n)


def times(n: int, rounds: int) -> dict[str, float]:
    """Return the median CPU milliseconds of one step of each system."""
    a, b = projections(n)
    first = {name: timed(name, a, b, 1) for name in at(n)}
    steps = max(1, (1024 // n) ** 2)
    taken: dict[str, list[float]] = {name: [] for name in first}
    for turn in range(rounds):
        for name, values in taken.items():
            slow = first[name] > 1000
            if not slow or turn < 3:
                values.append(timed(name, a, b, 1 if slow else steps))
    return {name: statistics.median(values) for name, values in taken.items()}


def timed(name: str, a: Tensor, b: Tensor, steps: int) -> float:
    """Return the CPU milliseconds of one step, over several."""
    start = time.process_time()
    for _ in range(steps):
        step(name, a, b)
    return 1000 * (time.process_time() - start) / steps


def extra_mb(name: str, n: int) -> float:
    """Return the extra peak memory of one step, measured in a fresh process."""
    return in_fresh_process(__file__, name, str(n))


def print_memory(name: str, n: int) -> None:
    """Measure one step in this process."""
    step(name, *projections(64))
    a, b = projections(n)
    before = resident_mb("VmRSS")
    step(name, a, b)
    print(resident_mb("VmHWM") - before)


def measure(sizes: list[int]) -> Records:
    """Return one record per system and size."""
    records: Records = []
    for n in sizes:
        agree(n)
        ms = times(n, 7 if n < 4096 else 3)
        rows = [record(name, n, ms) for name in at(n)]
        print(table(rows), file=sys.stderr, flush=True)
        records += rows
    return records


def record(name: str, n: int, ms: dict[str, float]) -> dict[str, str | int | float]:
    """Return the figures of one system, without a `ratio` where its counterpart does not run."""
    against = SYSTEMS[name].against
    ratio = {"ratio": ms[against] / ms[name]} if against in ms else {}
    floors = {"of_floor": ms[name] / ms["floor"], "of_nt_xent": ms[name] / ms["nt_xent"]}
    return {
        "system": name,
        "n": n,
        "ms": round(ms[name], 3),
        "extra_mb": round(extra_mb(name, n), 1),
        "against": against,
        **{key: float(f"{value:.3g}") for key, value in {**ratio, **floors}.items()},
    }


def table(records: Records) -> str:
    """Return the records as a Markdown table."""
    heads = ("system", "n", "ms", "extra_mb", "against", "ratio", "of_floor", "of_nt_xent")
    rows = [
        heads,
        tuple("---" for _ in heads),
        *(tuple(r.get(h, "–") for h in heads) for r in records),
    ]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def write(records: Records, out: Path) -> None:
    """Write the table and the records, and print the table."""
    title = "Losses, forward and backward, D = 128, temperature 0.1, float32, one thread"
    note = (
        "`ratio`: ms of the system named in `against` over the system's (– where that does not "
        "run); `of_floor`, `of_nt_xent`: ms over that of three full products, of `nt_xent`. pml: "
        "pytorch-metric-learning."
    )
    text = f"# {title}\n\n{table(records)}\n\n{note}\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(text)
    out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    print(text)


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
        for library in ("lightly.loss", "pytorch_metric_learning.losses"):
            importlib.import_module(library)
    except ImportError as error:
        sys.exit(f"a library cannot be imported ({error}); pip install 'seqcl[bench]'")
    records = measure([256, 1024] + [4096, 8192] * (not options.quick) + [16384] * options.large)
    write(records, options.out)


if __name__ == "__main__":
    main()
