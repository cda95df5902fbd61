"""The choices that processes draw for a batch are together those of one process."""

import pytest
import torch

from models.training.data.share import Draws, Share


def drawn(rank, count, own):
    """What one of several processes draws for its `own` rows."""
    draws = Draws(torch.Generator().manual_seed(7), Share(rank, count))
    return [draws.uniform((own,)), draws.normal((own, 3, 4)), draws.integers(0, 1000, own), draws.uniform(())]


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_rows_of_all_processes_are_the_choices_of_one(count):
    alone = drawn(0, 1, 12)
    parts = [drawn(rank, count, 12 // count) for rank in range(count)]
    for whole, *rows in zip(alone[:3], *(part[:3] for part in parts), strict=True):
        assert torch.equal(torch.cat(rows), whole)
    assert {float(part[3]) for part in parts} == {float(alone[3])}, "one choice for the whole batch"


@pytest.mark.parametrize(("limit", "own"), [(0, 4), (3, 4), (6, 4), (8, 4), (5, 3)])
def test_the_first_rows_of_a_batch_are_divided_among_the_processes(limit, own):
    found = [Share(rank, 3).before(limit, own) for rank in range(3)]
    assert sum(found) == limit
    assert found == sorted(found, reverse=True)


def test_a_process_alone_exchanges_nothing():
    rows = torch.rand(3, 2, requires_grad=True)
    assert Share().gather(rows) is rows
    assert Share().sums([1.5, 2.0]) == [1.5, 2.0]
