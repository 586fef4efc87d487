"""A batch of 4,096 series at once, in parts, and in chunks: memory, time and what is learnt.

One training step (forward and backward) of SimCLR with the encoder of the `series` preset on 4,096
series of 256 steps, two views, float32, one thread. `whole` encodes all at once; `accumulate`
contrasts within parts; `chunk` contrasts the whole batch and encodes a chunk at a time
(GradCache). Times are CPU-seconds, the systems interleaved, the median of 3 rounds.

`loss` is what the step minimises, `gradient` how far its gradient is from that of `whole`
(relative norm). With batch norm an encoder that sees a chunk is another function than one that
sees the batch; with layer norm it is the same, and so is the gradient.

Extra memory is measured apart, each figure in a fresh process that has run the system once on a
small batch: the peak of its resident memory in the measured step (VmHWM) over what was resident
before (VmRSS), gradients included.

    python benchmarks/gradcache.py --out benchmarks/results/gradcache
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from measuring import in_fresh_process, resident_mb, table
from torch import Tensor

from seqcl.batch import Batch
from seqcl.config.preset import load_preset
from seqcl.methods.base import Method
from seqcl.training.step import backward

STEPS = 256
Records = list[dict[str, str | int | float]]
SYSTEMS: dict[str, tuple[str, int]] = {
    "whole": ("whole", 0),
    "accumulate 256": ("accumulate", 256),
    "accumulate 64": ("accumulate", 64),
    "chunk 256": ("chunk", 256),
    "chunk 64": ("chunk", 64),
}


def build(norm: str) -> Method:
    """Return the method of the `series` preset, the same at every call."""
    preset = load_preset("series", [f"encoder.norm={norm}"])
    assert preset.method is not None
    torch.manual_seed(0)
    return preset.method.build({"main": preset.encoder.build(1)}).train()


def views(n: int) -> tuple[Batch, Batch]:
    """Return two noisy views of `n` waves, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    rates = 1 + 20 * torch.rand(n, 1, 1, generator=generator)
    waves = torch.sin(rates * torch.linspace(0, 6.28, STEPS))
    a, b = (waves + 0.3 * torch.randn(waves.shape, generator=generator) for _ in range(2))
    return Batch(a, torch.arange(n)), Batch(b, torch.arange(n))


def step(method: Method, system: str, given: tuple[Batch, Batch]) -> Tensor:
    """Run one step; returns its loss."""
    kind, size = SYSTEMS[system]
    method.zero_grad()
    parts = max(1, len(given[0]) // size) if kind == "accumulate" else 1
    return backward(method, given, parts, (0,), size if kind == "chunk" else None).total


def gradient(method: Method) -> Tensor:
    """Return the whole gradient as one vector."""
    return torch.cat([w.grad.flatten() for w in method.parameters() if w.grad is not None])


def measure(norm: str, n: int, rounds: int) -> Records:
    """Return one record per system."""
    given, method = views(n), build(norm)
    taken: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    losses: dict[str, float] = {}
    grads: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, values in taken.items():
            start = time.process_time()
            losses[name] = float(step(method, name, given))
            values.append(time.process_time() - start)
            grads[name] = gradient(method)
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    reference = grads["whole"]
    return [
        {
            "norm": norm,
            "system": name,
            "n": n,
            "s": round(seconds[name], 2),
            "time": round(seconds[name] / seconds["whole"], 2),
            "extra_mb": round(extra_mb(norm, name, n)),
            "loss": round(losses[name], 6),
            "gradient": float(f"{float((grads[name] - reference).norm() / reference.norm()):.1e}"),
        }
        for name in SYSTEMS
    ]


def extra_mb(norm: str, name: str, n: int) -> float:
    """Return the extra peak memory of one step, measured in a fresh process."""
    return in_fresh_process(__file__, norm, name, str(n))


def print_memory(norm: str, name: str, n: int) -> None:
    """Measure one step in this process."""
    method = build(norm)
    step(method, name, views(64))
    given = views(n)
    before = resident_mb("VmRSS")
    step(method, name, given)
    print(resident_mb("VmHWM") - before)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write STEM.md and STEM.json")
    parser.add_argument("--quick", action="store_true", help="512 series, one round")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        norm, name, n = options.memory_of
        print_memory(norm, name, int(n))
        return
    if options.out is None:
        parser.error("--out STEM is needed")
    n, rounds = (512, 1) if options.quick else (4096, 3)
    records = [record for norm in ("batch", "layer") for record in measure(norm, n, rounds)]
    title = f"One step of SimCLR on {n:,} series of {STEPS} steps, two views, float32, one thread"
    note = (
        "`norm`: of the encoder; `time`: CPU-seconds `s` over those of `whole`; `gradient`: "
        "relative distance to the gradient of `whole`."
    )
    text = f"# {title}\n\n{table(records)}\n\n{note}\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
