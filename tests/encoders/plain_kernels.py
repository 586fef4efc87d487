"""Records for encoders of random kernels, and their convolution in plain loops."""

import numpy as np
import torch

from seqcl.batch import Batch


def series(rows=6, channels=1, steps=60, seed=0):
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(seed))
    return Batch(values.cumsum(2) / 4, torch.arange(rows))


def respond(x, weights, dilation, channels):
    """Convolve one record (C, T) in plain loops, zeros beyond its ends."""
    out = []
    for t in range(x.shape[1]):
        places = [(t + (tap - 4) * dilation, w) for tap, w in enumerate(weights)]
        out.append(sum(
            w * sum(x[c, at] for c in channels) for at, w in places if 0 <= at < x.shape[1]
        ))  # fmt: skip
    return np.array(out)
