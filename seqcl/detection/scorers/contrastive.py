"""A small encoder trained to tell a window from anomalies put into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.detection.scorers.base import WindowScorer
from seqcl.detection.self_test import KINDS
from seqcl.detection.windows import Windows
from seqcl.losses.exclusion import Exclusion
from seqcl.losses.info_nce import info_nce
from seqcl.registry import registry
from seqcl.rng import Rng
from seqcl.views.injection import Injection

__all__ = ["Contrastive"]

Score = Literal["injected", "learnt", "nearest", "prototype"]

_CHANNEL_SHARE = 0.3
"""Of the channels, those that an injected anomaly is in."""
_EACH = 12
"""Windows of a batch for each kind of injection."""
_RATE, _DECAY = 2e-3, 1e-3
_TEMPERATURE, _MARGIN = 0.1, 0.5
_NEIGHBOURS = 3
_FLOOR = 0.05
"""Deviations of the channel, so that a flat window stays flat when its shape is taken."""
_SAMPLE = 4_096
"""Training windows that the distance is measured from."""
_LEAST_VARIANCE = 1e-6
_BLOCK = 512
"""Windows that are encoded at once: what they become stays in the cache of a core."""
_SMALLEST = 1e-3


class Contrastive(WindowScorer):
    """Train an encoder of windows by contrast, with anomalies of our own as negatives.

    The positive of a window is one that begins up to an eighth of a window later; negatives are
    windows elsewhere in the recordings and windows with an anomaly injected (CARLA, arXiv
    2308.09296), by InfoNCE. A second head is taught by cross-entropy whether something was
    injected. Scores of a window are

    - `injected`: what that head says;
    - `learnt`: Mahalanobis distance of the features from those of training (Ledoit-Wolf);
    - `nearest`: mean cosine distance of the projection from the three nearest of a memory bank;
    - `prototype`: cosine distance of the projection from the nearest of some prototypes, the
      centres of its clusters in training.

    With ``objective="triplet", inject=False, scores=("nearest",)`` it is the recipe of PaAno (ICLR
    2026): the negative of each anchor is the farthest positive of the batch.

    Args:
        channels: C.
        window: rows of the detector's window.
        scale: rows of this scorer's windows, in the detector's.
        view: `shape`: each window's channels are brought to mean 0 and deviation 1; `raw`: not.
        objective: `info_nce` or `triplet`.
        inject: whether anomalies are injected; without them there is no score `injected`.
        scores: which of them it gives.
        steps: of gradient.
        width: channels of the first layer.
        bank: share of the training windows in the memory bank, spread out by farthest points.
        prototypes: how many at most.
        hops: windows that begin within one window's length, offline.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        scale: Annotated[float, Gt(0)] = 1.0,
        view: Literal["shape", "raw"] = "shape",
        objective: Literal["info_nce", "triplet"] = "info_nce",
        inject: bool = True,
        scores: tuple[Score, ...] = ("injected", "learnt"),
        steps: Annotated[int, Ge(1)] = 150,
        width: Annotated[int, Ge(4)] = 32,
        bank: Annotated[float, Gt(0), Le(1)] = 0.1,
        prototypes: Annotated[int, Ge(1)] = 16,
        hops: Annotated[int, Ge(1)] = 8,
    ) -> None:
        rows = max(8, round(window * scale))
        super().__init__(channels, window, rows, hops)
        if (
            not scores
            or (not inject and "injected" in scores)
            or (inject and objective == "triplet")
        ):
            raise ValueError(
                f"contrastive: objective={objective}, inject={inject}, scores={list(scores)} "
                "do not go together; `injected` needs inject, triplets take no injections"
            )
        self.scale = scale
        self.view, self.steps = view, steps
        self.bank, self.prototypes = bank, prototypes
        self.objective, self.inject, self.scores = objective, inject, scores
        self.encoder = _Encoder(channels, width, stride=2 if rows >= 24 else 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that were asked for, with the scale where it is not 1."""
        return tuple(name if self.scale == 1 else f"{name} x{self.scale:g}" for name in self.scores)

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Train the encoder, then take what the scores measure from."""
        self.encoder.start(rng.fork(0))
        self._train(Windows(parts, self.rows), rng.fork(1))
        count = sum(len(part) - self.rows + 1 for part in parts)
        hop = max(1, count // _SAMPLE)
        sample = torch.cat([self._features(part, hop)[0] for part in parts])
        found = LedoitWolf().fit(sample.double().numpy())
        variance, axes = np.linalg.eigh(found.covariance_)
        root = axes / np.sqrt(np.maximum(variance, 0) + _LEAST_VARIANCE)
        self.state = {f"encoder.{name}": value for name, value in self._weights().items()}
        self.state |= {
            "centre": torch.from_numpy(found.location_).float(),
            "root": torch.from_numpy(root).float(),
        }
        if "nearest" in self.scores:
            self.state["bank"] = _spread(self._projected(sample), self.bank)
        if "prototype" in self.scores:
            self.state["prototypes"] = self._centres(self._projected(sample), rng.fork(2))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back a `state` that was saved, and the encoder's weights in it."""
        self.state = state
        own = {name: state[f"encoder.{name}"] for name in self._weights()}
        self.encoder.load_state_dict(own)

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score windows as the base says."""
        features, logits = self._features(values, hop)
        return torch.stack([getattr(self, f"_{name}")(features, logits) for name in self.scores], 1)

    def _injected(self, features: Tensor, logits: Tensor) -> Tensor:
        return F.softplus(logits) + _SMALLEST

    def _learnt(self, features: Tensor, logits: Tensor) -> Tensor:
        away = (features - self.state["centre"]) @ self.state["root"]
        return away.square().sum(1).sqrt()

    def _nearest(self, features: Tensor, logits: Tensor) -> Tensor:
        cosines = self._projected(features) @ self.state["bank"].T
        near = cosines.topk(min(_NEIGHBOURS, cosines.shape[1]), 1).values
        return (1 - near.mean(1)).clamp(min=0) + _SMALLEST

    def _prototype(self, features: Tensor, logits: Tensor) -> Tensor:
        cosines = self._projected(features) @ self.state["prototypes"].T
        return (1 - cosines.amax(1)).clamp(min=0) + _SMALLEST

    def _centres(self, rows: Tensor, rng: Rng) -> Tensor:
        """Return the centres (k, D) of unit rows (N, D), of length 1 too."""
        count, seed = min(self.prototypes, len(rows)), int(rng.host.integers(2**31))
        found = KMeans(count, n_init=1, random_state=seed).fit(rows.double().numpy())
        return F.normalize(torch.from_numpy(found.cluster_centers_).float(), dim=1)

    @torch.no_grad()
    def _projected(self, features: Tensor) -> Tensor:
        return F.normalize(self.encoder.head(features), dim=1)

    @torch.no_grad()
    def _features(self, values: Tensor, hop: int) -> tuple[Tensor, Tensor]:
        """Return features (N, E) and logits (N,) of every `hop`-th window of values (T, C)."""
        windows = values.unfold(0, self.rows, hop)
        found = [self.encoder(self._seen(block)) for block in torch.split(windows, _BLOCK)]
        features, logits = zip(*found, strict=True)
        return torch.cat(features), torch.cat(logits)

    def _seen(self, windows: Tensor) -> Tensor:
        """Return windows (B, C, T) as the encoder sees them."""
        if self.view == "raw":
            return windows
        centred = windows - windows.mean(2, keepdim=True)
        return centred / (centred.square().mean(2, keepdim=True).sqrt() + _FLOOR)

    def _train(self, windows: Windows, rng: Rng) -> None:
        encoder = self.encoder.train()
        optimiser = torch.optim.AdamW(encoder.parameters(), _RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=self.steps)
        for step in range(self.steps):
            optimiser.zero_grad()
            self._loss(windows, rng.fork(step)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        encoder.eval()

    def _loss(self, windows: Windows, rng: Rng) -> Tensor:
        """Draw a batch and return its loss."""
        count, near = _EACH * len(KINDS), max(2, self.rows // 8)
        place, start, recording = windows.draw(count, near, rng)
        later = torch.from_numpy(rng.host.integers(1, near + 1, count))
        anchors, positives = windows.at(place), windows.at(place + later)
        changed = list(_broken(anchors, rng)) if self.inject else []
        features, logits = self.encoder(self._seen(torch.cat([anchors, positives, *changed])))
        a, p, *negatives = self.encoder.head(features).split(count)
        if self.objective == "triplet":
            return _farthest_triplet(a, p)
        unknown = torch.full((count * len(negatives),), -1)
        exclusion = Exclusion(
            recordings=torch.cat([recording, unknown]), start=torch.cat([start, unknown]),
            steps=self.rows,
        )  # fmt: skip
        contrast = info_nce(
            torch.cat([a, *negatives]), torch.cat([p, *negatives]), _TEMPERATURE,
            symmetric=False, exclusion=exclusion, anchors=slice(0, count),
        )  # fmt: skip
        if not self.inject:
            return contrast
        truth = torch.cat([torch.zeros(2 * count), torch.ones(count)])
        # Normal windows count as much as injected ones.
        return contrast + F.binary_cross_entropy_with_logits(
            logits, truth, pos_weight=torch.tensor(2.0)
        )

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.encoder.state_dict())


def _broken(windows: Tensor, rng: Rng) -> Iterator[Tensor]:
    """Yield windows with an anomaly, as many of each kind."""
    for number, (kind, part) in enumerate(zip(KINDS, torch.split(windows, _EACH), strict=True)):
        options: dict[str, Any] = {"channel_share": _CHANNEL_SHARE, "floor": 1.0}
        injection: Injection = registry("augmentations")[kind](**options)
        batch = Batch(part.contiguous(), torch.arange(len(part)))
        yield injection.apply(batch, injection.sample(batch, rng.fork(number))).values


def _farthest_triplet(a: Tensor, p: Tensor) -> Tensor:
    """Return the mean hinge of cosine distances, to the positive and to the farthest other one."""
    cosines = F.normalize(a, dim=1) @ F.normalize(p, dim=1).T
    return F.relu(_MARGIN - cosines.diagonal() + cosines.amin(1)).mean()


def _spread(rows: Tensor, share: float) -> Tensor:
    """Choose a share of unit rows (N, D), each next one the farthest from those before it."""
    chosen = [0]
    closest = rows @ rows[0]
    for _ in range(max(1, round(share * len(rows))) - 1):
        chosen.append(int(closest.argmin()))
        closest = torch.maximum(closest, rows @ rows[chosen[-1]])
    return rows[chosen]


class _Encoder(nn.Module):
    """Three strided convolutions, mean and maximum over time; a projection and a logit."""

    def __init__(self, channels: int, width: int, stride: int, dim: int = 64) -> None:
        super().__init__()
        wide = 2 * width
        self.body = nn.Sequential(
            nn.Conv1d(channels, width, 7, stride, padding=3), nn.GroupNorm(4, width), nn.GELU(),
            nn.Conv1d(width, wide, 5, 2, padding=2), nn.GroupNorm(4, wide), nn.GELU(),
            nn.Conv1d(wide, wide, 3, 2, padding=1), nn.GELU(),
        )  # fmt: skip
        self.head = nn.Linear(2 * wide, dim)
        self.logit = nn.Linear(2 * wide, 1)

    def start(self, rng: Rng) -> None:
        """Draw all weights anew, the same for the same key."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.host.integers(2**31)))
            for module in self.modules():
                if isinstance(module, nn.Conv1d | nn.Linear | nn.GroupNorm):
                    module.reset_parameters()

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, E) and logits (B,) of windows (B, C, T)."""
        steps = self.body(windows)
        features = torch.cat([steps.mean(2), steps.amax(2)], 1)
        return features, self.logit(features).squeeze(1)
