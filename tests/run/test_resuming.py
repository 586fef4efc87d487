"""Which folder a run may go on in, and what must be as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqcl.config.yaml import dump_yaml, read_yaml
from seqcl.errors import PresetError, UsageError
from seqcl.run.pretraining import Settings, pretrain

OPTIONS = (
    "method={swav: {prototypes: 4}}", "encoder.widths=[8]", "training.steps=30",
    "training.batch_size=8", "training.diagnose_every=0",
)  # fmt: skip


def test_an_option_that_is_newer_than_a_run_does_not_end_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", X=np.random.default_rng(0).normal(size=(16, 1, 32)))
    source = [str(tmp_path / "some.npz")]
    given, out = Settings(sources=source, overrides=OPTIONS), tmp_path / "run"
    pretrain("series", given, out, max_minutes=1e-4)
    tree = read_yaml(out / "preset.yaml")
    for name in ("neighbours", "past", "settled"):
        del tree["method"]["swav"][name]
    (out / "preset.yaml").write_text(dump_yaml(tree))
    other = Settings(sources=source, overrides=(*OPTIONS, "method.swav.settled=0.1"))
    with pytest.raises(PresetError, match=r"method\.swav\.settled was 0\.3, now 0\.1"):
        pretrain("series", other, out, resume=True)
    assert pretrain("series", given, out, resume=True).train.stopped == "done"


@pytest.mark.parametrize("name", ["preset.yaml", "initial.safetensors", "manifest.json"])
def test_a_run_that_was_killed_while_its_first_files_were_written_starts_again(
    name: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "some.npz", X=np.random.default_rng(0).normal(size=(16, 1, 32)))
    given, out = Settings(sources=[str(tmp_path / "some.npz")], overrides=OPTIONS), tmp_path / "run"
    out.mkdir()
    (out / "lock").touch()
    (out / f"{name}.15161.tmp").touch()
    assert pretrain("series", given, out, resume=True).train.stopped == "done"
    assert not list(out.glob("*.tmp"))


def test_temporaries_of_somebody_else_stay(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", X=np.random.default_rng(0).normal(size=(16, 1, 32)))
    given, out = Settings(sources=[str(tmp_path / "some.npz")], overrides=OPTIONS), tmp_path / "run"
    out.mkdir()
    (out / "thesis.tmp").touch()
    with pytest.raises(UsageError, match="holds other files"):
        pretrain("series", given, out)
    assert (out / "thesis.tmp").exists()
