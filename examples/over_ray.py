"""Embed a corpus with Ray Data: on this machine, or on all of a cluster that Ray runs on."""

from pathlib import Path

import numpy as np
import ray
from aeon.datasets import load_classification

from seqcl.ray_data import BatchEmbedder
from seqcl.run import Settings, pretrain

# Outlines of leaves as series; ships with aeon. The run folder is where every worker finds it.
run = Path("runs/leaves").absolute()
pretrain("series-instant", Settings(sources=["aeon:OSULeaf:train"]), run)

# With a corpus of your own: ray.data.read_parquet(FOLDER), or from_items with names of files.
X, y = load_classification("OSULeaf", split="test")
ray.init(num_cpus=2, include_dashboard=False)  # address="auto" joins a cluster
corpus = ray.data.from_items([{"values": x, "label": label} for x, label in zip(X, y, strict=True)])

# Two workers, each with the run in its memory; num_gpus=1 gives each a GPU.
workers = ray.data.ActorPoolStrategy(size=2)
embedded = corpus.map_batches(
    BatchEmbedder, fn_constructor_args=(run,), compute=workers, batch_size=64
)

rows = embedded.take_all()  # or embedded.write_parquet(FOLDER), and nothing passes through here
vectors = np.stack([row["embedding"] for row in rows])
labels = np.array([row["label"] for row in rows])
units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
alike = units @ units.T - 2 * np.eye(len(units))
right = labels == labels[alike.argmax(axis=1)]
print(f"{len(rows)} rows; the nearest of {right.mean():.1%} has their label")
