"""The Triton kernels: equal to the tiles in Triton's interpreter, compiled, and, on CUDA, run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from interpreted import CASES, run

from seqcl.errors import UsageError
from seqcl.losses import kernel_choice, pairs
from seqcl.losses.kernel_choice import kernel_of
from seqcl.losses.pairs import Pairs
from seqcl.losses.triton_pairs import flatten

HERE = Path(__file__).parent
TILES = {"_SelfLseBackward", "_CrossLseBackward"}
TRITON = {"_TritonSelfLseBackward", "_TritonCrossLseBackward"}
needs_triton = pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def script(name: str, folder: Path) -> Any:
    """Return what a script prints; Triton reads its settings when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    if name == "compiled.py":
        del environment["TRITON_INTERPRET"]
        environment["TRITON_CACHE_DIR"] = str(folder)
    command = [sys.executable, "-W", "ignore", str(HERE / name)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return script("interpreted.py", tmp_path_factory.mktemp("triton"))


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_the_kernels_give_what_the_tiles_give(name: str, found: Any) -> None:
    case = found[name]
    assert case["by"]
    assert set(case["by"]) <= TRITON
    assert set(case["by_tiles"]) <= TILES
    # float32 in another order of summation. It keeps 6e-8 of a score, 100 at temperature 0.01 and
    # some 10,000 beyond exp, whose exponential has that as its relative error.
    assert case["value"] < 3e-6
    assert case["gradient"] < {"nt_xent, cold": 3e-5, "scores beyond exp": 3e-3}.get(name, 3e-6)


@needs_triton
def test_medium_precision_rounds_rows_to_bfloat16_and_sums_in_float32(found: Any) -> None:
    others = found["others"]
    assert set(others["bfloat16 by"]) <= TRITON
    assert others["bfloat16 lse"] < 3e-6  # that of the rounded rows
    assert 1e-5 < others["bfloat16 rounding"] < 0.02  # 8 bits of rows of norm 3
    assert others["bfloat16 nt_xent"]["gradient"] < 0.02
    assert set(others["bfloat16 nt_xent"]["by"]) <= TRITON


@needs_triton
def test_float64_and_wide_rows_are_left_to_the_tiles(found: Any) -> None:
    assert set(found["others"]["wide by"]) <= TILES
    assert set(found["others"]["float64 by"]) <= TILES


@needs_triton
def test_the_same_call_gives_the_same_bits(found: Any) -> None:
    assert found["others"]["same bits"]


@needs_triton
def test_a_second_derivative_is_refused(found: Any) -> None:
    assert "the tiled losses have no second derivative" in found["others"]["refused"]


@needs_triton
def test_the_doctor_compares_the_kernel_with_the_tiles(found: Any) -> None:
    detail = found["others"]["doctor"]
    assert re.fullmatch(r"similarities by triton \(.+\), within \de-0[6-9] of the tiles", detail)


@needs_triton
def test_the_kernels_compile_for_a_device(tmp_path: Path) -> None:
    """Its products of bfloat16 are what the interpreter cannot check."""
    for name, facts in script("compiled.py", tmp_path).items():
        assert facts["instructions"] > 0, name  # on tensor cores
        assert facts["shared"] <= 99 * 1024, name  # what the smallest of them has


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", [name for name in CASES if "candidates" not in name])
def test_a_device_gives_what_the_tiles_give_on_the_host(name: str) -> None:
    call, inputs = CASES[name]
    value, grads, _ = run((call, inputs), "torch")
    on_device, device_grads, by = run((call, tuple(x.cuda() for x in inputs)), "triton")
    assert set(by) <= TRITON
    torch.testing.assert_close(on_device.cpu(), value, rtol=1e-5, atol=1e-5)
    for got, grad in zip(device_grads, grads, strict=True):
        assert got is not None
        assert grad is not None
        # Three TF32 products keep 2e-7 of a score, of which there are some 10,000 beyond exp.
        tolerance = 3e-2 if "beyond" in name else 1e-4
        assert (got.cpu() - grad).norm() <= tolerance * grad.norm()


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Play a CUDA device of capability 9.0; what was chosen is forgotten."""
    monkeypatch.delenv("SEQCL_KERNEL", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    kernel_choice._chosen.cache_clear()
    yield monkeypatch
    kernel_choice._chosen.cache_clear()


def test_the_tiles_serve_on_the_host() -> None:
    assert kernel_of(torch.device("cpu")) == ("torch", "on cpu")


@needs_triton
def test_triton_serves_on_cuda(chosen: pytest.MonkeyPatch) -> None:
    assert kernel_of(torch.device("cuda")) == ("triton", "on CUDA")


def test_where_triton_cannot_be_imported_the_tiles_serve(chosen: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("no triton")

    chosen.setattr(kernel_choice, "import_module", fail)
    expected = ("torch", "triton cannot be imported: no triton")
    assert kernel_of(torch.device("cuda")) == expected
    chosen.setenv("SEQCL_KERNEL", "triton")
    with pytest.raises(ImportError):  # asked for, so never replaced without a word
        kernel_of(torch.device("cuda"))


def test_an_old_device_keeps_the_tiles(chosen: pytest.MonkeyPatch) -> None:
    chosen.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    found = kernel_of(torch.device("cuda"))
    assert found == ("torch", "compute capability 7.5 is below 8.0")


def test_the_environment_asks_for_the_tiles(chosen: pytest.MonkeyPatch) -> None:
    chosen.setenv("SEQCL_KERNEL", "torch")
    assert kernel_of(torch.device("cuda")) == ("torch", "SEQCL_KERNEL=torch")
    chosen.setenv("SEQCL_KERNEL", "tritn")
    with pytest.raises(UsageError, match="SEQCL_KERNEL is 'tritn'; set it to torch or triton"):
        kernel_of(torch.device("cuda"))


def test_a_rule_that_the_kernel_does_not_know_is_left_to_the_tiles() -> None:
    assert flatten(Pairs()) is not None
    assert flatten(Pairs(rules=(lambda tile, rows, columns, unit: tile > 0,))) is None


def test_every_rule_of_the_package_is_known() -> None:
    codes, drawn = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)
    given = {
        "Same": (codes, codes), "Differing": (codes, codes), "Near": (codes, codes, 2),
        "Similar": (codes.float(), codes.float(), 0.5), "Unsampled": (drawn, 0),
    }  # fmt: skip
    assert set(given) == set(pairs.__all__) - {"Pairs", "Rule"}
    for name, arguments in given.items():
        assert flatten(Pairs(rules=(getattr(pairs, name)(*arguments),))) is not None
