"""Compare the Triton kernels, in Triton's interpreter, with the tiles; run as a script.

Prints, for each case, the largest difference of the values, the relative difference of the
gradients by each input, and what took the log-sum-exps.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from seqcl.losses.dcl import dcl
from seqcl.losses.exclusion import Exclusion
from seqcl.losses.info_nce import info_nce
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.pairs import Differing, Pairs, Same
from seqcl.losses.queue_contrast import queue_contrast
from seqcl.losses.similarity import cross_lse, self_lse, unit_rows
from seqcl.methods.semi_supervised import labelled_supcon
from seqcl.run import checkup

Case = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def draw(rows: int, dim: int = 20, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def own_lse(bound: float | None) -> Callable[[Tensor], Tensor]:
    return lambda x: self_lse(unit_rows(x, 3.0), bound)


def codes(n: int, classes: int = 4) -> Tensor:
    return torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(9))


def candidates(a: Tensor, b: Tensor) -> Tensor:
    torch.manual_seed(3)
    return info_nce(a, b, 0.2, candidates=7, anchors=slice(5, 40))


def first_alone(x: Tensor, y: Tensor) -> Tensor:
    """Let row 0 have no pair, others some."""
    own = torch.ones(len(x), dtype=torch.int64, device=x.device)
    own[0] = 0
    hide = Differing(own, torch.ones(len(y), dtype=torch.int64, device=x.device))
    return cross_lse(x, y, Pairs((1,), (), (hide,)))


def excluding(like: Tensor) -> Exclusion:
    same = tuple(of.to(like.device) for of in (codes(45), codes(45, 20) - 1))
    start = torch.arange(45, device=like.device) * 10
    return Exclusion(same, codes(45, 3).to(like.device), start, 25, above=0.3)


def few_labels(a: Tensor, b: Tensor) -> Tensor:
    return labelled_supcon(a, b, codes(45, 5).to(a.device) - 1, 0.2)


def all_one_code(x: Tensor) -> Tensor:
    code = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return self_lse(x, pairs=Pairs(rules=(Same(code, code),)))


A, B = draw(45), draw(45, seed=1)
CASES: dict[str, Case] = {
    "two rows": (own_lse(9.0), (draw(2, 3),)),
    "more rows than a tile": (own_lse(9.0), (draw(70, 33),)),
    "running maximum": (own_lse(None), (draw(70, 33),)),
    "128 features": (own_lse(9.0), (draw(65, 128),)),
    "scores beyond exp": (lambda x: self_lse(x * 40), (draw(20),)),
    "zero row": (own_lse(9.0), (draw(9).masked_fill(torch.arange(9)[:, None] == 4, 0.0),)),
    "unequal sides": (lambda a, b: cross_lse(a, b, Pairs((3,))), (draw(30), draw(71, seed=2))),
    "one anchor": (lambda a, b: cross_lse(a, b, Pairs((2,))), (draw(1), draw(33, seed=2))),
    "no anchor": (lambda a, b: cross_lse(a, b, Pairs()), (draw(0), draw(33, seed=2))),
    "no column": (lambda a, b: cross_lse(a, b, Pairs()), (draw(3), draw(0, seed=2))),
    "row without pairs": (first_alone, (draw(20), draw(41, seed=2))),
    "all excluded": (all_one_code, (draw(9),)),
    "nt_xent": (lambda a, b: nt_xent(a, b, 0.1), (A, B)),
    "nt_xent, cold": (lambda a, b: nt_xent(a, b, 0.01), (A, B)),
    "nt_xent, excluding": (lambda a, b: nt_xent(a, b, 0.2, exclusion=excluding(a)), (A, B)),
    "nt_xent, some anchors": (
        lambda a, b: nt_xent(a, b, 0.2, exclusion=excluding(a), anchors=slice(7, 30)),
        (A, B),
    ),
    "nt_xent, learnt temperature": (lambda a, b, t: nt_xent(a, b, t), (A, B, torch.tensor(0.3))),
    "info_nce": (lambda a, b: info_nce(a, b, 0.2), (A, B)),
    "info_nce, candidates": (candidates, (A, B)),
    "info_nce, excluding": (lambda a, b: info_nce(a, b, 0.2, exclusion=excluding(a)), (A, B)),
    "dcl": (lambda a, b: dcl(a, b, 0.2), (A, B)),
    "queue": (lambda q, k: queue_contrast(q, k, draw(67, seed=4).to(q.device), 0.2), (A, B)),
    "labels of some": (few_labels, (A, B)),
}


def run(case: Case, kernel: str) -> tuple[Tensor, list[Tensor | None], set[str]]:
    """Return the value, the gradients and what took the log-sum-exps."""
    call, inputs = case
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    with mock.patch.dict(os.environ, {"SEQCL_KERNEL": kernel}):
        value = call(*inputs)
        pull = draw(value.numel(), 1, seed=8).view(value.shape).to(value.device)
        total = (value.masked_fill(value == -math.inf, 0.0) * pull).sum()
        grads = torch.autograd.grad(total, inputs, allow_unused=True)
    return value.detach(), list(grads), nodes(value)


def nodes(value: Tensor) -> set[str]:
    """Return the names of the log-sum-exps in a graph."""
    found, todo = set(), [value.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None:
            found.add(node.name())
            todo += [following for following, _ in node.next_functions]
    return {name for name in found if name.endswith("LseBackward")}


def difference(name: str) -> dict[str, object]:
    value, grads, by = run(CASES[name], "triton")
    expected, expected_grads, by_tiles = run(CASES[name], "torch")
    same = value == expected  # minus infinity, too
    gaps = torch.where(same, 0.0, (value - expected).abs() / expected.abs().clamp(min=1.0))
    errors = [
        (got - grad).norm().item() / max(grad.norm().item(), 1e-30)
        for got, grad in zip(grads, expected_grads, strict=True)
        if got is not None and grad is not None
    ]
    assert [g is None for g in grads] == [g is None for g in expected_grads]
    return {
        "value": gaps.max().item() if gaps.numel() else 0.0,
        "gradient": max(errors, default=0.0),
        "by": sorted(by),
        "by_tiles": sorted(by_tiles),
    }


def others() -> dict[str, object]:
    """Return what is not a comparison in float32."""
    wide, double = draw(8, 130), draw(8).double()
    torch.set_float32_matmul_precision("medium")
    low = difference("nt_xent")
    (lse, _, by_rounded), exact = (
        run(CASES["128 features"], kernel) for kernel in ("triton", "torch")
    )
    rounded = unit_rows(CASES["128 features"][1][0], 3.0).bfloat16().float()
    torch.set_float32_matmul_precision("highest")
    tiles = run((lambda x: self_lse(x, 9.0), (rounded,)), "torch")[0]
    once, twice = (run(CASES["nt_xent, excluding"], "triton") for _ in range(2))
    x = draw(6).requires_grad_()
    os.environ["SEQCL_KERNEL"] = "triton"
    try:
        torch.autograd.grad(own_lse(9.0)(x).sum(), x, create_graph=True)
    except RuntimeError as error:
        refused = str(error)
    return {
        "bfloat16 nt_xent": low,
        "bfloat16 lse": (lse - tiles).abs().max().item(),
        "bfloat16 rounding": (lse - exact[0]).abs().max().item(),
        "bfloat16 by": sorted(by_rounded),
        "wide by": sorted(run((own_lse(9.0), (wide,)), "triton")[2]),
        "float64 by": sorted(run((own_lse(9.0), (double,)), "triton")[2]),
        "same bits": all(map(torch.equal, [once[0], *once[1]], [twice[0], *twice[1]])),
        "refused": refused,
        "doctor": checkup._kernel(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    print(json.dumps({**{name: difference(name) for name in CASES}, "others": others()}))
