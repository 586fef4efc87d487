"""What the documents say is run: components, commands, Python blocks, examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from command_line import SMALL, run_command
from PIL import Image

from seqcl.config.preset import resolve_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.registry import registry
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

SMALL_IMAGES = ("--set", "encoder.width=4", "--set", "training.batch_size=8")
ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture
def contributed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the three components of CONTRIBUTING.md, as their authors would."""
    names = (("losses", "Alignment"), ("augmentations", "Invert"), ("encoders", "Shallow"))
    for (kind, name), source in zip(names, BLOCKS, strict=True):
        module = ModuleType(f"contributed_{kind}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, f"CONTRIBUTING.md ({kind})", "exec"), module.__dict__)
        monkeypatch.setitem(registry(kind)._local, name.lower(), getattr(module, name))


def test_the_components_of_contributing_are_short_and_train(contributed: None) -> None:
    assert all(block.count("\n") <= 32 for block in BLOCKS)
    preset = resolve_preset(
        {
            "modality": "sequence",
            "views": {"independent": {"before": ["invert", "jitter"]}},
            "encoder": {"shallow": {"width": 16}},
            "method": {"simclr": {"loss": {"alignment": {"weight": 2.0}}}},
            "training": {"steps": 3, "batch_size": 8},
        },
        "contributing",
    )
    values = np.random.default_rng(0).normal(size=(16, 2, 40)).astype(np.float32)
    dataset = dataset_from_arrays(values)
    parts = assemble(preset, dataset, seed=0, device=torch.device("cpu"))
    before = parts.model.encoder.conv.weight.detach().clone()
    result = fit(parts)
    assert result is not None
    assert result.steps == 3
    assert not torch.equal(before, parts.model.encoder.conv.weight)
    assert embed(parts.model, dataset).values.shape == (16, 64)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_an_example_runs_and_is_short(path: Path, tmp_path: Path) -> None:
    assert path.read_text().count("\n") <= 80
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True)


def commands(page: Path) -> list[tuple[str, ...]]:
    """Return the `seqcl` commands of a page's sh blocks, without comments and redirections."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.split(" >")[0] for block in blocks for line in block.splitlines()]
    return [
        tuple(shlex.split(line, comments=True)[1:]) for line in lines if line.startswith("seqcl ")
    ]


QUICK_DETECTOR = ("--set", "detector.scorers=[mean_shift, forecast]")


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Write the files that the documents speak of."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        values = rng.normal(size=(16, 2, 32)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", X=values, y=np.arange(16) % 2)
    tags = np.array(["leak|noise", "noise", "leak", "|"])[np.arange(16) % 4]
    np.savez(tmp_path / "tags.npz", X=values, y=tags)
    rows = rng.normal(size=(4096, 2))
    for name in ("pump", "a", "b"):
        lines = [
            f"{step},{a:.3f},{b:.3f},mode{step // 256 % 2}" for step, (a, b) in enumerate(rows)
        ]
        (tmp_path / f"{name}.csv").write_text("time,flow,pressure,regime\n" + "\n".join(lines))
    write_photos(tmp_path / "photos", rng)
    write_sounds(tmp_path / "clips", rng, "label,split", ("train", "test"))
    write_sounds(tmp_path / "birds", rng, "species,fold", ("1", "2", "3"))
    return tmp_path


def write_sounds(
    folder: Path, rng: np.random.Generator, columns: str, splits: Sequence[str]
) -> None:
    """Write sounds of a second in two classes, as many in each split."""
    folder.mkdir()
    rows = [f"file,{columns}"]
    for number in range(8 * len(splits)):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 16_000), 16_000)
        rows.append(f"{number}.wav,{('owl', 'wren')[number % 2]},{splits[number // 8]}")
    (folder / "labels.csv").write_text("\n".join(rows))


def write_photos(folder: Path, rng: np.random.Generator) -> None:
    """Write images of two classes, half of them for training."""
    folder.mkdir()
    rows = ["file,label,split"]
    for number in range(48):
        pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "train" if number < 32 else "test"
        rows.append(f"{number}.png,{('cat', 'dog')[number % 2]},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_work(page: Path, workplace: Path) -> None:
    """Run them in order; training is cut short, and a run that other pages made is made first."""
    quick = ("--set", "training.steps=3", *SMALL)
    quick_images = ("--set", "training.steps=3", *SMALL_IMAGES)
    made = set()
    for command in commands(page):
        for place, name in enumerate(re.findall(r"runs/\w+", " ".join(command))):
            is_written = command[0] == "finetune" and place == 1
            if name not in made and command[0] != "pretrain" and not is_written:
                source = "pump.csv" if name == "runs/pump" else "train.npz"
                window = ("--set", "data.window=256", "--set", "data.columns=[flow, pressure]")
                more = window if source == "pump.csv" else ()
                done = run_command(
                    ("pretrain", "series", "--data", source, "--out", name, *quick, *more),
                    workplace,
                )
                assert done.returncode == 0, done.stderr
            made.add(name)
        without = ("series-instant", "audio-instant", "audio-fingerprint", "sensor-anomaly")
        trains = command[0] == "pretrain" and command[1] not in without
        is_image = command[1].startswith("image-")
        extra = (quick_images if is_image else quick) if trains else ()
        extra = QUICK_DETECTOR if command[1] == "sensor-anomaly" else extra
        extra = quick[:2] if command[0] == "finetune" else extra
        done = run_command((*command, *extra), workplace)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(
    page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    for source in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(source, page.name, "exec"), {})


def test_the_table_of_known_mistakes_is_what_its_snippet_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/guide/distributed.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(source, "distributed.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("\n") == 4
    assert printed in page


def test_the_guide_names_the_methods_that_take_any_loss() -> None:
    page = (ROOT / "docs/guide/methods.md").read_text()
    told = page.split("by a loss of\nchoice:")[1].split("The other methods")[0]
    methods = registry("methods")
    takes = {name for name in methods if "loss" in signature(methods[name]).parameters}
    assert takes == set(re.findall("`([a-z0-9_]+)`", told))
