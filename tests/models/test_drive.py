"""The loop with a hand-written restorer: the batches, their order, and the results."""

import pytest
import torch
from fakes import FakeImage, FakeRestorer

from models.drive import Progress, restore_all, restore_one
from models.restorer import Request


def requests(count):
    return [Request(image=torch.full((3, 2, 2), 10.0 * index)) for index in range(count)]


def run(*images, **options):
    restorer = FakeRestorer(images, result=lambda image: image.request.image + image.pass_index)
    return restorer, restore_all(restorer, requests(len(images)), **options)


def test_results_are_in_the_order_of_the_requests():
    _, results = run(
        FakeImage(passes=3), FakeImage(passes=0), FakeImage(passes=1, tiles=5), FakeImage(passes=2, steps=7)
    )
    assert [result.image[0, 0, 0].item() for result in results] == [3, 10, 21, 32]


def test_no_requests_give_no_results():
    assert run()[1] == []


def test_a_few_tiles_at_a_time_run_to_their_end_in_order():
    restorer, _ = run(FakeImage(tiles=5, passes=2), together=2)
    first = [[(0, 0, 0), (0, 0, 1)], [(0, 0, 2), (0, 0, 3)], [(0, 0, 4)]]
    assert restorer.finished == first + [[(image, 1, tile) for image, _, tile in batch] for batch in first]


@pytest.mark.parametrize("together", [1, 2, 3])
def test_at_most_the_allowed_number_of_tracks_is_in_progress(together):
    restorer, _ = run(*[FakeImage(tiles=4, passes=2, steps=3) for _ in range(3)], together=together)
    assert restorer.most_in_progress == together


def test_a_started_image_is_finished_before_another_starts():
    restorer, _ = run(FakeImage(passes=2, tiles=2), FakeImage(passes=2, tiles=2), together=1)
    assert [image for batch in restorer.finished for image, _, _ in batch] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_images_of_one_shape_share_a_batch_and_others_wait():
    wide = (8, 16)
    restorer, _ = run(FakeImage(), FakeImage(shape=wide), FakeImage(), FakeImage(shape=wide))
    assert restorer.finished == [[(0, 0, 0), (2, 0, 0)], [(1, 0, 0), (3, 0, 0)]]


def test_images_that_continue_keep_their_order():
    restorer, _ = run(*[FakeImage(passes=2) for _ in range(3)])
    assert restorer.finished == [[(0, 0, 0), (1, 0, 0), (2, 0, 0)], [(0, 1, 0), (1, 1, 0), (2, 1, 0)]]


def test_tracks_with_fewer_steps_wait_for_the_others():
    restorer, results = run(FakeImage(steps=1), FakeImage(steps=4))
    assert restorer.finished == [[(0, 0, 0), (1, 0, 0)]]
    assert len(results) == 2


def test_progress_names_the_image_the_pass_the_tile_and_the_step():
    seen = []
    images = [FakeImage(passes=2, tiles=2, steps=2)]
    restore_one(FakeRestorer(images), requests(1)[0], seen.append)
    places = [(at.pass_index, at.tile, at.step) for at in seen]
    # the two tiles share a batch, and progress is that of the first
    assert places == [(0, 0, 1), (0, 0, 2), (1, 0, 1), (1, 0, 2)]
    assert {(at.passes, at.tiles, at.steps) for at in seen} == {(2, 2, 2)}


@pytest.mark.parametrize("together", [1, 2, 3])
def test_progress_never_decreases_within_a_pass(together):
    seen = []
    restorer = FakeRestorer([FakeImage(tiles=3, steps=4)])
    restore_all(restorer, requests(1), lambda _, at: seen.append(at.fraction), together=together)
    assert seen == sorted(seen)
    assert len(seen) >= 4
    if together == 1:
        assert seen == pytest.approx([step / 12 for step in range(1, 13)])


def test_a_fraction_counts_tiles_and_steps():
    assert Progress(0, 7, tile=1, tiles=4, step=5, steps=10).fraction == pytest.approx((1 + 0.5) / 4)


def test_progress_belongs_to_its_request():
    seen = set()
    restore_all(
        FakeRestorer([FakeImage(steps=1), FakeImage(steps=3)]), requests(2), lambda i, at: seen.add((i, at.steps))
    )
    assert seen == {(0, 1), (1, 3)}
