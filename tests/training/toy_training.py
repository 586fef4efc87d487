"""A small training with every kind of state: dropout, batch norm, EMA target, queue, moments.

Run as a script it trains in the folder given, printing each step, until it is killed.
"""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.loader import Loader
from seqcl.data.samplers import ShuffleSampler
from seqcl.data.scaler import Scaler
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import StatsPool
from seqcl.heads.base import Head
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.base import Loss, Method
from seqcl.registry import Spec
from seqcl.training.loop import train
from seqcl.training.options import TrainingOptions
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.independent import Independent

RECORDS, CHANNELS, STEPS, BATCH = 22, 2, 20, 8


class Small(Encoder):
    """One strided convolution with dropout."""

    def __init__(self, in_channels):
        super().__init__(in_channels, 4, StatsPool(4), stride=2)
        self.conv = nn.Conv1d(in_channels, 4, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.1)

    def features(self, values, mask, lengths):
        return self.dropout(self.conv(values))


class Normed(Head):
    """A linear layer, then batch norm."""

    def __init__(self, in_dim):
        super().__init__(in_dim, 4)
        self.layers = nn.Sequential(nn.Linear(in_dim, 4), nn.BatchNorm1d(4))

    def forward(self, pooled):
        return self.layers(pooled)


class Student(Method):
    """Contrast dropout's output with an EMA target's, and with a queue of its past outputs."""

    def __init__(self, encoders):
        super().__init__(encoders)
        self.dropout = nn.Dropout(0.3)
        self.head = Normed(self.encoder.out_dim)
        self.target = deepcopy(self.encoder).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(2 * BATCH, 4))

    def objective(self, encoded):
        a, b = (self.head(self.dropout(view.pooled)) for view in encoded)
        with torch.no_grad():
            keys = self.head(self.target(encoded[1].view).pooled)
        contrast = nt_xent(a, b, 0.2)
        away = (a @ self.queue.T).square().mean() * 0.1
        return Loss(contrast + away, {"contrast": contrast, "away": away}, {"keys": keys})

    def after_step(self, progress, loss):
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
            self.queue.copy_(torch.cat([loss.carry["keys"], self.queue])[: len(self.queue)])


class Collecting:
    """A sink that remembers, and may act on a record."""

    def __init__(self, act=lambda record: None):
        self.events, self.records, self.notes, self.act = [], [], [], act

    def on_start(self, total_steps, first_step):
        self.events.append(("start", total_steps, first_step))

    def on_log(self, record):
        self.records.append(dict(record))
        self.act(record)

    def on_note(self, text):
        self.notes.append(text)

    def on_end(self):
        self.events.append(("end",))


class Toy:
    """The parts of one training; equal seeds give equal parts."""

    def __init__(self, seed=0, *, workers=0, values=None, method=Student):
        rng = np.random.default_rng(7)
        x = rng.standard_normal((RECORDS, CHANNELS, STEPS)) if values is None else values
        count = len(x)
        self.dataset = dataset_from_arrays(
            x.astype(np.float32),
            [None if row % 4 == 3 else row % 3 for row in range(count)],
            [f"g{row // 3}" for row in range(count)],
            pairs=[f"{'!' * (row // 2 % 2)}{row // 2}" for row in range(count)],
        )
        scaler = Scaler(CHANNELS)
        scaler.fit(self.dataset)
        collate = Collate(scaler)
        torch.manual_seed(seed)
        self.method = method({"main": Small(CHANNELS)})
        sampler = ShuffleSampler(self.dataset)
        self.loader = Loader(self.dataset, collate, sampler, BATCH, seed=seed, workers=workers)
        self.views = Independent(before=(Spec("augmentations", "jitter"),))
        self.watched = collate_rows(self.dataset, range(len(self.dataset)), collate)
        self.seed = seed

    def train(
        self, *, sinks=(), folder=None, resume=False, max_minutes=None, probed=None, **options
    ):
        defaults = {"steps": 12, "batch_size": BATCH, "log_every": 4, "checkpoint_every": 4}
        return train(
            self.method, self.views, IdentityFrontend(CHANNELS), self.loader,
            TrainingOptions(**{**defaults, **options}),
            seed=self.seed, folder=folder, sinks=sinks, resume=resume,
            max_minutes=max_minutes, watched=self.watched, probed=probed,
        )  # fmt: skip

    def state(self):
        return {name: value.clone() for name, value in self.method.state_dict().items()}


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Toy().train(
        folder=Path(sys.argv[1]), steps=100_000, log_every=1,
        sinks=[Collecting(lambda record: print(record["step"], flush=True))],
    )  # fmt: skip
