"""Compile the Triton kernels for compute capability 8.6, without such a device; run as a script.

Prints the shared memory in bytes and the tensor core instructions of each.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from triton import compiler
from triton.backends.compiler import GPUTarget

from seqcl.losses import triton_kernels, triton_lse
from seqcl.losses.pairs import Near, Pairs, Same, Similar, Unsampled
from seqcl.losses.triton_pairs import FlatPairs, flatten

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.bool: "*i1"}


def of(kernel: Any, arguments: dict[str, Any]) -> dict[str, int]:
    """Compile a kernel for arguments as a call would pass them."""
    signature: dict[str, str] = {}
    constants: dict[tuple[int], Any] = {}
    for place, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        if parameter.is_constexpr or value is None:
            signature[parameter.name] = "constexpr"
            constants[(place,)] = value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = TYPES[value.dtype]
        else:
            signature[parameter.name] = "i32" if isinstance(value, int) else "fp32"
    options = {name: arguments[name] for name in ("num_warps", "num_stages")}
    done = compiler.compile(
        compiler.ASTSource(kernel, signature, constants),
        target=GPUTarget("cuda", 86, 32),
        options=options,
    )
    return {"shared": done.metadata.shared, "instructions": done.asm["ptx"].count("mma.sync")}


def every_rule() -> FlatPairs:
    codes, norms = torch.zeros(40, dtype=torch.int64), torch.ones(40)
    rules = (Same(codes, codes), Near(codes, codes, 7), Similar(norms, norms, 0.5))
    pairs = Pairs((0, 5, -5), (1,), (*rules, Unsampled(norms > 0, 0)))
    found = flatten(pairs)
    assert found is not None
    return found


def main() -> None:
    """Compile both kernels."""
    rows, lse = torch.zeros(40, 32, dtype=torch.bfloat16), torch.zeros(40)
    shape = triton_lse.launch_shape(rows, rows)
    plain = flatten(Pairs())
    assert plain is not None
    sums = {"rows": rows, "columns": rows, "out": lse, "BOUNDED": False, **shape}
    of_rows = {"lse_i": lse, "grad_i": lse, "lse_j": None, "grad_j": None}
    found = {
        "sums": of(triton_kernels.log_sums, {**sums, **every_rule().arguments()}),
        "pull": of(triton_kernels.pull, {**sums, **of_rows, **plain.arguments()}),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
