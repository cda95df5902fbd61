"""How many jobs a worker holds: enough that some share a step, and never many large images."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from worker.held_jobs import MOST_AHEAD_MP, HeldJobs


def filled(sizes_mp, batch, ahead):
    """Returns the number of jobs held once a queue of jobs of these sizes leaves no more room."""
    held, waiting = HeldJobs(), list(enumerate(sizes_mp))
    while waiting and (room := held.room(batch, ahead)) > 0:
        for number, size_mp in waiting[:room]:
            spec = SimpleNamespace(id=str(number), held_megapixels=size_mp)
            held.add(SimpleNamespace(spec=spec))
        del waiting[:room]
    return len(held)


@given(st.integers(1, 16), st.integers(0, 8))
def test_small_images_fill_three_batches_or_one_and_those_ahead(batch, ahead):
    assert filled([0.5] * 100, batch, ahead) == max(batch + ahead, 3 * batch)


@given(st.lists(st.floats(0.1, 50), min_size=60, max_size=60), st.integers(1, 16), st.integers(0, 8))
def test_beyond_one_batch_and_those_ahead_images_are_bounded(sizes_mp, batch, ahead):
    count = filled(sizes_mp, batch, ahead)
    needed = batch + ahead
    assert needed <= count <= max(needed, 3 * batch)
    # At most one more batch after the bound was reached
    assert sum(sizes_mp[: max(0, count - batch)]) < MOST_AHEAD_MP or count == needed


def test_jobs_without_an_image_count_as_jobs():
    held = HeldJobs()
    held.add(SimpleNamespace(spec=SimpleNamespace(id="a", held_megapixels=0.0)))
    assert held.room(1, 4) == 4
