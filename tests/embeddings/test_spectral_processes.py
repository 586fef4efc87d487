"""The closed form over several processes is that of one process with all records."""

import pytest
import torch
from forked import in_processes
from torch import Tensor, distributed

from seqcl.distributed import gather_rows
from seqcl.embeddings.spectral import Spectral

DIM, RECORDS, VIEWS = 10, 30, 3
CASES = [(True, False), (False, False), (True, True), (False, True)]
"""Whether all is shown in one pass, and whether labels, shared by processes, say what is alike."""


def views() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(RECORDS, DIM, generator=generator).repeat(VIEWS, 1)
    noise = torch.randn(VIEWS * RECORDS, DIM, generator=generator)
    return centres + 0.4 * noise, torch.arange(RECORDS).repeat(VIEWS)


def fit(rows: Tensor, whole: bool, labels: bool = False) -> Spectral:
    """Fit to some rows in one pass, or in two where the first is told to be a sample."""
    pooled, record = views()
    embedding = Spectral(DIM)
    for _ in range(embedding.passes):
        embedding.update(pooled[rows], record[rows], record[rows] % 3 if labels else None)
        if embedding.solve(whole=whole):
            break
    return embedding


def work(number: int, world: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=world
    )
    record = views()[1]
    own = record >= 12 if number else record < 12  # unequal numbers
    found = {case: fit(own, *case)(views()[0]) for case in CASES}
    joined = gather_rows(torch.full((number + 1, 2), float(number)))
    torch.save((found, joined), f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[dict[tuple[bool, bool], Tensor], Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    in_processes(2, work, 2, str(folder))
    return [torch.load(folder / f"{number}.pt") for number in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_solve_what_one_does(case, found) -> None:
    pooled, record = views()
    expected = fit(record >= 0, *case)(pooled)
    for maps, _ in found:
        torch.testing.assert_close(
            maps[case] @ maps[case].T, expected @ expected.T, rtol=1e-4, atol=1e-3
        )
    assert torch.equal(found[0][0][case], found[1][0][case])


def test_rows_of_unequal_number_are_gathered_in_order_of_rank(found) -> None:
    for _, joined in found:
        assert joined[:, 0].tolist() == [0.0, 1.0, 1.0]
