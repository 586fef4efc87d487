"""The spectral embedding against the eigenproblem written out, and what its options mean."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from seqcl.embeddings.held import _EvenRows
from seqcl.embeddings.spectral import Spectral
from seqcl.embeddings.sums import ViewSums
from seqcl.embeddings.whitening import Whitening

DIM, RECORDS, VIEWS = 12, 80, 5


def views(seed: int = 0, noisy: int = 6):
    """Records that differ in every feature, views that differ in the first `noisy`."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(RECORDS, DIM))
    noise = (
        rng.normal(size=(VIEWS, RECORDS, DIM))
        * np.r_[np.full(noisy, 3.0), np.full(DIM - noisy, 0.1)]
    )
    pooled = torch.from_numpy((centres + noise).reshape(-1, DIM)).float()
    return pooled, torch.arange(RECORDS).repeat(VIEWS)


def fitted(embedding, pooled, record, alike=None):
    for _ in range(embedding.passes):
        embedding.update(pooled, record, alike)
        if embedding.solve():
            break
    return embedding


def covariances(pooled):
    cube = pooled.double().numpy().reshape(VIEWS, RECORDS, DIM)
    means = cube.mean(0)
    inner = (cube - means).reshape(-1, DIM)
    return np.cov(means.T, bias=True), inner.T @ inner / ((VIEWS - 1) * RECORDS), means.mean(0)


@pytest.mark.parametrize("ridge", [0.01, 0.3, 10.0])
def test_it_solves_the_generalised_eigenproblem(ridge):
    pooled, record = views()
    embedding = fitted(Spectral(DIM, ridge=ridge, neighbours=0), pooled, record)
    between, within, mean = covariances(pooled)
    r = ridge * np.trace(within) / DIM
    values, vectors = eigh(between, within + r * np.eye(DIM))
    x = pooled.double().numpy() - mean
    # eigh gives V^T (S_w + r I) V = 1; ours has a mean variance of 1 along its axes.
    expected = x @ vectors / np.sqrt(values.mean())
    ours = embedding(pooled).numpy()
    assert_allclose(ours @ ours.T, expected @ expected.T, rtol=2e-3, atol=1e-2)


def test_a_ridge_without_end_only_turns_the_features():
    pooled, record = views()
    ours = fitted(Spectral(DIM, ridge=1e6, neighbours=0), pooled, record)(pooled)
    turned = fitted(Whitening(DIM, power=0), pooled, record)(pooled)
    torch.testing.assert_close(ours @ ours.T, turned @ turned.T, rtol=1e-3, atol=1e-2)


def test_what_views_change_counts_less_than_what_they_leave():
    pooled, record = views()
    weight = fitted(Spectral(DIM, ridge=0.01, neighbours=0), pooled, record).weight
    assert weight[:6].norm() < 0.1 * weight[6:].norm()


@pytest.mark.parametrize("dim", [2, 4, 7, 12])
def test_the_mean_variance_of_the_kept_axes_is_one_and_all_vary_about_alike(dim):
    pooled, record = views()
    embedding = fitted(Spectral(DIM, dim=dim, ridge=0.01), pooled, record)
    means = embedding(pooled).view(VIEWS, RECORDS, dim).mean(0)
    variance = means.var(0, correction=0)
    assert variance.mean().item() == pytest.approx(1.0, rel=1e-4)
    along = torch.linalg.eigvalsh(means.T.cov(correction=0))
    assert variance.max() / variance.min() < (along.max() / along.min()).sqrt()


def test_few_records_keep_as_many_axes_as_they_span():
    generator = torch.Generator().manual_seed(0)
    pooled, record = torch.randn(3 * 7, 50, generator=generator), torch.arange(7).repeat(3)
    embedding = fitted(Spectral(50), pooled, record)
    assert embedding.out_dim == 6
    assert embedding(pooled).shape == (21, 6)


def test_few_records_lose_nothing_by_the_basis():
    """Distances between records are those of the full features where views change nothing."""
    generator = torch.Generator().manual_seed(0)
    records = torch.randn(20, 3000, generator=generator)
    pooled, record = records.repeat(2, 1), torch.arange(20).repeat(2)
    ours = torch.cdist(*[fitted(Spectral(3000, neighbours=0), pooled, record)(records)] * 2)
    full = torch.cdist(records, records)
    torch.testing.assert_close(ours / ours.mean(), full / full.mean(), rtol=1e-3, atol=1e-4)


def test_shrinkage_is_that_of_ledoit_and_wolf():
    pooled, record = views()
    sums = ViewSums(DIM, torch.device("cpu"))
    sums.add(pooled, record, record)
    cube = pooled.double().numpy().reshape(VIEWS, RECORDS, DIM)
    inner = (cube - cube.mean(0)).reshape(-1, DIM)
    expected = ledoit_wolf_shrinkage(inner, assume_centered=True)
    assert sums.shrinkage() == pytest.approx(expected, rel=1e-6)
    none = fitted(Spectral(DIM, ridge=None), pooled, record)
    same = fitted(Spectral(DIM, ridge=sums.shrinkage() / (1 - sums.shrinkage())), pooled, record)
    torch.testing.assert_close(none(pooled).abs(), same(pooled).abs(), rtol=1e-4, atol=1e-4)


def test_labels_make_it_linear_discriminant_analysis():
    rng = np.random.default_rng(0)
    label = np.arange(90) % 3
    x = rng.normal(size=(90, DIM)) * np.r_[np.full(DIM - 2, 4.0), 0.5, 0.5]
    x[:, -2:] += np.array([[0, 0], [3, 0], [0, 3]])[label]
    pooled, codes = torch.from_numpy(x).float(), torch.from_numpy(label)
    ours = fitted(Spectral(DIM, ridge=1e-6, dim=2, neighbours=0), pooled, torch.arange(90), codes)(
        pooled
    )
    lda = LinearDiscriminantAnalysis(solver="eigen", n_components=2).fit_transform(x, label)
    basis = np.linalg.qr(lda - lda.mean(0))[0]
    share = np.linalg.norm(basis.T @ (ours.numpy() - ours.numpy().mean(0))) / ours.norm()
    assert share > 0.98  # one plane, though records beside classes steer ours


def test_what_is_known_of_labels_is_used_and_unknown_ones_stand_alone():
    pooled, record = views()
    alone = fitted(Spectral(DIM), pooled, record, record)
    torch.testing.assert_close(alone.weight, fitted(Spectral(DIM), pooled, record).weight)
    some = torch.where(record < 40, record // 20, record + 100)
    assert not torch.allclose(fitted(Spectral(DIM), pooled, record, some).weight, alone.weight)


def test_what_tells_mutual_neighbours_apart_counts_less():
    """Pairs of records that differ along one axis alone; views change nothing."""
    generator = torch.Generator().manual_seed(0)
    records = torch.randn(40, DIM, generator=generator).repeat(2, 1)
    records[40:, 0] += 1.0
    pooled, record = records.repeat(2, 1), torch.arange(80).repeat(2)
    shares = []
    for neighbours in (0, 1):
        weight = fitted(Spectral(DIM, neighbours=neighbours), pooled, record).weight
        shares.append((weight[0].norm() / weight[1:].norm(dim=1).mean()).item())
    assert shares[0] == pytest.approx(1.0, rel=1e-3)
    assert shares[1] < 0.5


def test_rows_beyond_the_budget_are_thinned_and_a_second_pass_is_asked_for(monkeypatch):
    monkeypatch.setattr("seqcl.embeddings.held._BYTES", 4 * DIM * 100)
    pooled, record = views()
    embedding = Spectral(DIM, neighbours=0)
    for first in range(0, RECORDS, 20):
        rows = (record >= first) & (record < first + 20)
        embedding.update(pooled[rows], record[rows])
    assert len(embedding._held.means) + len(embedding._held.inner) <= 100
    assert not embedding.solve()
    embedding.update(pooled, record)
    assert embedding.solve()
    whole = fitted(Spectral(DIM, neighbours=0), pooled, record)
    # The basis holds all 12 dimensions all the same, so the second pass has the exact moments.
    torch.testing.assert_close(
        embedding(pooled) @ embedding(pooled).T, whole(pooled) @ whole(pooled).T,
        rtol=1e-3, atol=2e-3,
    )  # fmt: skip


_PEAK = """
import re, torch
from pathlib import Path
from seqcl.embeddings.spectral import Spectral

torch.set_num_threads(1)

def resident(field):
    status = Path("/proc/self/status").read_text()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1024

def fit(features, records, alike):
    embedding = Spectral(features)
    for number in range(2):
        for first in range(0, records, 50):
            record = torch.arange(first, first + 50).repeat(5)
            embedding.update(torch.randn(250, features), record, record % 7 if alike else None)
        if embedding.solve():
            break

fit(64, 100, False)
before = resident("VmRSS")
fit(4096, 1000, False)
print(resident("VmHWM") - before)
fit(4096, 3000, True)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_the_records():
    done = subprocess.run([sys.executable, "-c", _PEAK], check=True, capture_output=True, text=True)
    first, second = (float(line) for line in done.stdout.split())
    # Held rows take 34 MB, the basis 17, and making it some times that; all 15,000 rows take 246.
    assert first < 180
    assert second < 1.1 * first


@pytest.mark.parametrize("sample", [False, True])
def test_what_is_alike_may_be_shown_in_parts(sample):
    pooled, record = views()
    thing = record % 4
    drift = torch.linspace(-3, 3, RECORDS)[record][:, None] * torch.eye(DIM)[:1]
    pooled = pooled + drift  # within a thing; parts of a few records do not see all of it
    maps = []
    for size in (RECORDS, 5):
        embedding = Spectral(DIM, neighbours=0, alike="label")
        for _ in range(2):
            order = thing.argsort(stable=True)
            kept = [order[record[order] // size == part] for part in range(RECORDS // size)]
            for rows in kept:
                embedding.update(pooled[rows], record[rows], thing[rows])
            if embedding.solve(whole=not sample):
                break
        maps.append(embedding(pooled) @ embedding(pooled).T)
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-3, atol=2e-3)


def test_rows_are_kept_evenly_however_they_come():
    for sizes in ([100], [7] * 14, [1] * 100, [40, 3, 57]):
        rows = _EvenRows(1, 12)
        start = 0
        for size in sizes:
            rows.add(torch.arange(start, start + size, dtype=torch.float32)[:, None])
            start += size
        assert rows.kept.flatten().tolist() == list(range(0, start, rows.every))
        assert 6 <= len(rows.kept) <= 12


def test_the_kept_dimensions_come_back_from_a_file():
    pooled, record = views()
    embedding = fitted(Spectral(DIM, dim=5), pooled, record)
    other = Spectral(DIM)
    other.load_state_dict(embedding.state_dict())
    assert other.out_dim == 5
    assert torch.equal(other(pooled), embedding(pooled))


def test_whitening_gives_every_axis_the_same_variance():
    pooled, record = views()
    means = fitted(Whitening(DIM), pooled, record)(pooled).view(VIEWS, RECORDS, DIM).mean(0)
    covariance = means.T @ means / RECORDS
    torch.testing.assert_close(covariance, torch.eye(DIM), rtol=1e-3, atol=1e-3)
