from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from worker.picking import Limits, Waiting, next_step

SHAPES = st.sampled_from([(64, 64), (96, 64), (64, 96), (1024, 1024), (3, 64, 64)])
WAITING = st.lists(
    st.builds(
        Waiting, lane=st.integers(0, 2), since_s=st.integers(0, 5).map(float), shape=SHAPES,
        left_s=st.integers(0, 3).map(float),
    ),
    max_size=20,
)  # fmt: skip
LIMITS = st.builds(Limits, together=st.integers(1, 8), megapixels=st.floats(0, 5))


ONE = Limits(together=1, megapixels=8.0)


def waiting_for(since_s: float, left_s: float) -> Waiting:
    return Waiting(lane=0, since_s=since_s, shape=(64, 64), left_s=left_s)


@given(WAITING, LIMITS)
def test_a_batch_holds_one_shape_and_no_track_twice(waiting, limits):
    chosen = next_step(waiting, limits)
    assert len({waiting[i].shape for i in chosen}) <= 1
    assert len(set(chosen)) == len(chosen)


@given(WAITING, LIMITS)
def test_a_batch_stays_within_the_limits_unless_it_is_one_image(waiting, limits):
    chosen = next_step(waiting, limits)
    assert len(chosen) <= limits.together
    if len(chosen) > 1:
        assert sum(waiting[i].megapixels for i in chosen) <= limits.megapixels * (1 + 1e-9)


@given(WAITING, LIMITS)
def test_something_goes_whenever_something_waits(waiting, limits):
    assert bool(next_step(waiting, limits)) == bool(waiting)


@given(WAITING, LIMITS)
def test_the_highest_lane_always_goes(waiting, limits):
    if waiting:
        assert waiting[next_step(waiting, limits)[0]].lane == min(w.lane for w in waiting)


@given(WAITING, LIMITS)
def test_of_equal_work_the_highest_lanes_oldest_goes(waiting, limits):
    equal = [replace(w, left_s=1.0) for w in waiting]
    if equal:
        first = equal[next_step(equal, limits)[0]]
        assert (first.lane, first.since_s) == min((w.lane, w.since_s) for w in equal)


def test_what_is_nearly_done_goes_before_what_came_a_little_earlier():
    long, short = waiting_for(since_s=0.0, left_s=9.0), waiting_for(since_s=2.0, left_s=0.5)
    assert next_step([long, short], ONE) == [1]


def test_nobody_is_overtaken_for_ever():
    """However short the later jobs are, those that come after its handicap wait for the long one."""
    long = waiting_for(since_s=0.0, left_s=9.0)
    for since_s in range(200):
        short = waiting_for(since_s=float(since_s), left_s=0.001)
        assert next_step([short, long], ONE) == ([0] if since_s < 5 * 9 else [1])


@given(WAITING, LIMITS)
def test_nobody_of_the_same_shape_is_overtaken(waiting, limits):
    """The turn decides among those that could have ridden along."""
    chosen = next_step(waiting, limits)
    left = [i for i in range(len(waiting)) if i not in chosen and waiting[i].shape == waiting[chosen[0]].shape]
    for i in chosen:
        for j in left:
            assert waiting[i].turn <= waiting[j].turn


@given(WAITING, LIMITS)
def test_a_batch_is_as_full_as_it_may_be(waiting, limits):
    chosen = next_step(waiting, limits)
    if chosen:
        alike = [w for w in waiting if w.shape == waiting[chosen[0]].shape]
        one_more = len(chosen) + 1
        assert (
            len(chosen) == len(alike)
            or one_more > limits.together
            or one_more * alike[0].megapixels > limits.megapixels * (1 - 1e-9)
        )


def test_others_ride_along_though_a_lane_below_would_start_another_shape():
    waiting = [
        Waiting(lane=1, since_s=0, shape=(64, 64)),
        Waiting(lane=0, since_s=9, shape=(96, 96)),
        Waiting(lane=2, since_s=0, shape=(96, 96)),
    ]
    assert next_step(waiting, Limits(together=8, megapixels=1)) == [1, 2]


def test_an_image_over_the_budget_goes_alone():
    waiting = [Waiting(lane=0, since_s=i, shape=(4096, 4096)) for i in range(3)]
    assert next_step(waiting, Limits(together=8, megapixels=0.25)) == [0]
