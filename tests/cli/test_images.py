"""Images through every command, as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import checked as seqcl
from PIL import Image

QUICK = ("--set", "training.steps=3", "--set", "training.batch_size=16")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of coloured squares in two classes, one of them cut short, and a run on it."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(40):
        label = ("red", "blue")[number % 2]
        pixels = rng.integers(0, 60, (12, 12, 3), dtype=np.uint8)
        pixels[..., 0 if label == "red" else 2] += 150
        (folder / "squares" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "squares" / label / f"{number}.png")
    path = folder / "squares" / "blue" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    seqcl(folder, "pretrain", "image-simclr", "--data", "squares", "--out", "run", *QUICK, code=3)
    return folder


def test_a_run_knows_the_size_and_lists_what_it_skipped(place: Path) -> None:
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    assert manifest["data"]["size"] == [12, 12]
    assert manifest["channels"] == ["red", "green", "blue"]
    skipped = [json.loads(line) for line in (place / "run" / "skipped.jsonl").open()]
    assert [item["path"] for item in skipped] == ["blue/1.png"]


def test_evaluate_prints_the_controls_and_writes_the_page(place: Path) -> None:
    done = seqcl(
        place, "evaluate", "run", "--train", "squares", "--test", "squares",
        "--json", "-", "--report", "page.html", code=3,
    )  # fmt: skip
    rows = {(row["system"], row["task"]): row for row in json.loads(done.stdout)["rows"]}
    assert rows["colour_histogram", "knn"]["metrics"]["accuracy"] == 1
    assert {"seqcl", "untrained encoder", "pixels", "colour_histogram"} == {s for s, _ in rows}
    page = (place / "page.html").read_text()
    assert "size (height x width)" in page
    assert "12 x 12" in page


def test_embed_gives_a_vector_an_image_and_none_a_step(place: Path) -> None:
    seqcl(place, "embed", "run", "--data", "squares", "--out", "vectors.npz", code=3)
    assert np.load(place / "vectors.npz")["embeddings"].shape == (39, 128)
    told = seqcl(
        place, "embed", "run", "--data", "squares", "--out", "no.npz", "--level", "step", code=2
    )
    assert "ResNet2d has no features of single steps; use level instance" in told.stderr


def test_views_are_a_picture_of_the_right_size(place: Path) -> None:
    data = ("views", "image-simclr", "--data", "squares", "--records", "4")
    seqcl(place, *data, "--out", "views.png")
    with Image.open(place / "views.png") as image:
        assert image.size == (6 + 3 * 102, 6 + 4 * 102)
    seqcl(place, *data, "--out", "views.npz")
    assert np.load(place / "views.npz")["view2"].shape == (4, 3, 12, 12)
    told = seqcl(place, *data, "--out", "views.svg", code=2)
    assert "images are drawn as .png" in told.stderr


def test_inspect_proposes_a_preset_that_runs(place: Path) -> None:
    done = seqcl(place, "inspect", "squares", code=3)
    assert "12 x 12 pixels" in done.stderr
    (place / "mine.yaml").write_text(done.stdout)
    told = seqcl(place, "pretrain", "mine.yaml", "--data", "squares", "--dry-run", *QUICK)
    assert "12 x 12 pixels" in told.stdout + told.stderr


def test_what_is_no_series_is_told_where_series_are_needed(place: Path) -> None:
    np.savez(place / "four.npz", X=np.zeros((20, 3, 8, 8), np.uint8))
    told = seqcl(place, "pretrain", "series", "--data", "four.npz", "--out", "no", code=4)
    assert "for images use a preset of modality image" in told.stderr
    told = seqcl(place, "pretrain", "series", "--data", "sklearn:digits", "--out", "no", code=4)
    assert "is an image, and this preset is for a series" in told.stderr
    seqcl(place, "inspect", "four.npz", "--set", "data.layout=CHW")
    file = np.frombuffer((place / "squares" / "red" / "0.png").read_bytes(), np.uint8)
    np.savez(place / "packed.npz", train_blob=file, train_off=[0, len(file)])
    told = seqcl(place, "inspect", "packed.npz", code=4)
    assert "for images use a preset of modality image, or set data.layout=CHW" in told.stderr
    seqcl(place, "inspect", "packed.npz", "--set", "data.layout=CHW")


def test_two_channels_and_default_colours_are_told_before_training(place: Path) -> None:
    np.savez(place / "two.npz", X=np.arange(2560).reshape(20, 2, 8, 8).astype(np.uint8))
    arguments = ("pretrain", "image-simclr", "--data", "two.npz", "--out", "two", *QUICK)
    told = seqcl(place, *arguments, code=2)
    assert "the images have 2 channels; set saturation and hue to 0" in told.stderr


def test_a_text_beside_images_is_no_table(tmp_path: Path, place: Path) -> None:
    shutil.copytree(place / "squares", tmp_path / "mine")
    (tmp_path / "mine" / "notes.txt").write_text("taken in May\n")
    (tmp_path / "mine" / "red" / "readme.csv").write_text("a,b\n")
    done = seqcl(tmp_path, "inspect", "mine", code=3)
    assert "notes.txt" not in done.stderr
    assert "readme.csv" not in done.stderr
    assert "12 x 12 pixels" in done.stderr
    shutil.rmtree(tmp_path / "mine" / "blue")
    for path in (tmp_path / "mine" / "red").iterdir():
        path.rename(tmp_path / "mine" / path.name)
    told = seqcl(tmp_path, "inspect", "mine").stderr
    assert "a folder a class, or add a labels.csv" in " ".join(told.split())
