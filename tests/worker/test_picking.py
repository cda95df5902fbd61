"""Which tracks take the next step."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from worker.picking import BatchLimits, Candidate, pick_batch

SHAPES = st.sampled_from([(64, 64), (96, 64), (64, 96), (1024, 1024), (3, 64, 64)])
CANDIDATES = st.lists(
    st.builds(
        Candidate, lane=st.integers(0, 2), since_s=st.integers(0, 5).map(float), shape=SHAPES,
        left_s=st.integers(0, 3).map(float),
    ),
    max_size=20,
)  # fmt: skip
LIMITS = st.builds(BatchLimits, max_batch=st.integers(1, 8), megapixels=st.floats(0, 5))
ONE = BatchLimits(max_batch=1, megapixels=8.0)


def candidate(since_s: float, left_s: float) -> Candidate:
    return Candidate(lane=0, since_s=since_s, shape=(64, 64), left_s=left_s)


@given(CANDIDATES, LIMITS)
def test_a_batch_holds_one_shape_and_no_track_twice(candidates, limits):
    chosen = pick_batch(candidates, limits)
    assert len({candidates[i].shape for i in chosen}) <= 1
    assert len(set(chosen)) == len(chosen)


@given(CANDIDATES, LIMITS)
def test_a_batch_stays_within_the_limits_unless_it_is_one_image(candidates, limits):
    chosen = pick_batch(candidates, limits)
    assert len(chosen) <= limits.max_batch
    if len(chosen) > 1:
        assert sum(candidates[i].megapixels for i in chosen) <= limits.megapixels * (1 + 1e-9)


@given(CANDIDATES, LIMITS)
def test_a_batch_is_picked_whenever_there_are_candidates(candidates, limits):
    assert bool(pick_batch(candidates, limits)) == bool(candidates)


@given(CANDIDATES, LIMITS)
def test_the_highest_lane_always_goes(candidates, limits):
    if candidates:
        assert candidates[pick_batch(candidates, limits)[0]].lane == min(w.lane for w in candidates)


@given(CANDIDATES, LIMITS)
def test_of_equal_work_the_highest_lanes_oldest_goes(candidates, limits):
    equal = [replace(w, left_s=1.0) for w in candidates]
    if equal:
        first = equal[pick_batch(equal, limits)[0]]
        assert (first.lane, first.since_s) == min((w.lane, w.since_s) for w in equal)


def test_an_image_that_is_nearly_done_goes_before_one_that_arrived_a_little_earlier():
    long, short = candidate(since_s=0.0, left_s=9.0), candidate(since_s=2.0, left_s=0.5)
    assert pick_batch([long, short], ONE) == [1]


def test_no_image_is_overtaken_for_ever():
    """However short later jobs are, those that arrive after the long job's handicap wait for it."""
    long = candidate(since_s=0.0, left_s=9.0)
    for since_s in range(200):
        short = candidate(since_s=float(since_s), left_s=0.001)
        assert pick_batch([short, long], ONE) == ([0] if since_s < 5 * 9 else [1])


@given(CANDIDATES, LIMITS)
def test_no_image_of_the_same_shape_is_overtaken(candidates, limits):
    """The turn decides among images that could have joined the batch."""
    chosen = pick_batch(candidates, limits)
    left = [i for i in range(len(candidates)) if i not in chosen and candidates[i].shape == candidates[chosen[0]].shape]
    for i in chosen:
        for j in left:
            assert candidates[i].turn <= candidates[j].turn


@given(CANDIDATES, LIMITS)
def test_a_batch_is_as_full_as_it_may_be(candidates, limits):
    chosen = pick_batch(candidates, limits)
    if chosen:
        alike = [w for w in candidates if w.shape == candidates[chosen[0]].shape]
        one_more = len(chosen) + 1
        assert (
            len(chosen) == len(alike)
            or one_more > limits.max_batch
            or one_more * alike[0].megapixels > limits.megapixels * (1 - 1e-9)
        )


def test_images_of_the_chosen_shape_join_from_lower_lanes():
    candidates = [
        Candidate(lane=1, since_s=0, shape=(64, 64)),
        Candidate(lane=0, since_s=9, shape=(96, 96)),
        Candidate(lane=2, since_s=0, shape=(96, 96)),
    ]
    assert pick_batch(candidates, BatchLimits(max_batch=8, megapixels=1)) == [1, 2]


def test_an_image_over_the_budget_goes_alone():
    candidates = [Candidate(lane=0, since_s=i, shape=(4096, 4096)) for i in range(3)]
    assert pick_batch(candidates, BatchLimits(max_batch=8, megapixels=0.25)) == [0]
