"""The views of SimCLR for images against torchvision and kornia.

    python benchmarks/image_views.py --out benchmarks/results/image_views [--data FOLDER] [--quick]

One view of every image: random resized crop, flip, colour distortion (p 0.8), grayscale (p 0.2), at
96 pixels also Gaussian blur (p 0.5, kernel of 9), then each channel standardised. The images are
decoded beforehand: in memory as the system takes them (PIL images; uint8 tensors; a float batch).
torchvision draws parameters for each image only where images come one by one. CPU time of one
thread, systems interleaved, median of the repeats; `times_pil` is the speed relative to
torchvision's PIL path. Systems that are not installed are left out. FOLDER holds CIFAR-10 (see
docs/guide/images.md); without it the images are smooth noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from measuring import table
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.modalities.image.frontend import Standardise
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.independent import Independent

SETS = {"32 px": (32, 256), "96 px": (96, 64)}
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)

Views = Callable[[int], Tensor]


def seqcl_views(images: Tensor) -> Views:
    """Return the chain of seqcl, over the batch."""
    names = ["resized_crop", "colour_distortion", "grayscale"]
    names += ["gaussian_blur"] if images.shape[-1] > 32 else []
    options = {"gaussian_blur": {"radius": 4}}
    steps = tuple(Spec("augmentations", name, options.get(name, {})) for name in names)
    generator = Independent(views=1, before=steps)
    batch = Batch(images, torch.arange(len(images)))
    frontend = Standardise(3)
    frontend.mean.copy_(torch.tensor(MEAN).view(3, 1, 1))
    frontend.std.copy_(torch.tensor(STD).view(3, 1, 1))
    return lambda step: generator(batch, frontend, Rng(0, step))[0].values


def pil_views(images: Tensor) -> Views:
    """Return torchvision's chain over PIL images, one by one."""
    from torchvision import transforms

    side = images.shape[-1]
    blur = [transforms.RandomApply([transforms.GaussianBlur(9, (0.1, 2.0))], 0.5)]
    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(side, (0.2, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            transforms.RandomGrayscale(0.2),
            *(blur if side > 32 else []),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pictures = [transforms.functional.to_pil_image(image) for image in images]
    return lambda step: torch.stack([chain(picture) for picture in pictures])


def v2_views(images: Tensor) -> Views:
    """Return torchvision's v2 chain over uint8 tensors, one by one."""
    from torchvision.transforms import v2

    side = images.shape[-1]
    blur = [v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], 0.5)]
    chain = v2.Compose(
        [
            v2.RandomResizedCrop(side, (0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            *(blur if side > 32 else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    pixels = (images * 255).round().to(torch.uint8)
    return lambda step: torch.stack([chain(image) for image in pixels])


def kornia_views(images: Tensor) -> Views:
    """Return kornia's chain, over the batch."""
    from kornia import augmentation

    side = images.shape[-1]
    blur = [augmentation.RandomGaussianBlur((9, 9), (0.1, 2.0), p=0.5)]
    chain = torch.nn.Sequential(
        augmentation.RandomResizedCrop((side, side), scale=(0.2, 1.0)),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        *(blur if side > 32 else []),
        augmentation.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    return lambda step: chain(images)


SYSTEMS = {
    "seqcl": seqcl_views,
    "torchvision PIL": pil_views,
    "torchvision v2": v2_views,
    "kornia": kornia_views,
}


def make_images(data: Path | None, side: int, count: int) -> Tensor:
    """Return (count, 3, side, side) in [0, 1]."""
    if data is None:
        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        images = F.interpolate(coarse, size=(side, side), mode="bicubic")
        return images.clamp(0, 1)
    source = f"{data / 'cifar10_60k_jpeg.npz.xz'}:test"
    dataset = open_dataset([source], DataOptions(layout="CHW", size=(side, side)))
    step = len(dataset) // count
    return torch.stack(
        [torch.from_numpy(dataset.record(row * step).values) for row in range(count)]
    )


def measure(name: str, data: Path | None, repeats: int) -> Iterator[dict[str, Any]]:
    """Time every system on one size, in turn."""
    side, count = SETS[name]
    images = make_images(data, side, count)
    runs: dict[str, Views] = {}
    for system, make in SYSTEMS.items():
        try:
            runs[system] = make(images)
        except ImportError as error:
            print(f"{system}: left out, {error}")
    times: dict[str, list[float]] = {system: [] for system in runs}
    for step in range(repeats + 1):
        for system, run in runs.items():
            start = time.thread_time()
            assert run(step).shape == images.shape
            times[system].append(time.thread_time() - start)
    spent = {system: statistics.median(found[1:]) / count for system, found in times.items()}
    for system, seconds in spent.items():
        row = {"set": name, "system": system, "images_per_s": round(1 / seconds)}
        for peer, label in (("torchvision PIL", "times_pil"), ("kornia", "times_kornia")):
            row[label] = round(spent[peer] / seconds, 2) if peer in spent else "–"
        yield row


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="stem of the .md and .json to write")
    parser.add_argument("--data", type=Path, help="folder of cifar10_60k_jpeg.npz.xz")
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 15")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.zeros(2**22)  # freed at once, so that the allocator keeps its pages, as in training
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module="kornia|torchvision")
    repeats = 3 if options.quick else 15
    rows = [row for name in SETS for row in measure(name, options.data, repeats)]
    print(table(rows))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".md").write_text(table(rows) + "\n")
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
