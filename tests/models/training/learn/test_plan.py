"""What `undegrade learn` refuses before it computes, and how it divides the pairs."""

from dataclasses import replace

import pytest

from models.errors import ModelsError
from models.training.learn.plan import LearnPlan, check_plan, open_work, split_pairs


@pytest.fixture
def plan(own, tiny_bundle, tmp_path):
    return LearnPlan(folder=own, name="stripes", bundle=tiny_bundle, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Old Photo"}, "a plain word"),
        ({"name": "x" * 31}, "a plain word"),
        ({"name": ""}, "a plain word"),
        ({"name": "-x"}, "a plain word"),
        ({"name": "noise"}, "already"),
        ({"name": "grain"}, "already"),
        ({"name": "fog"}, "another word for 'haze'"),
        ({"name": "hazzy"}, "Did you mean 'haze'"),
        ({"name": "clean"}, "already"),
        ({"name": "detail"}, "name of a specialist"),
        ({"start": "weather"}, "expected one of detail, scratch"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_option_that_cannot_be_used_is_refused(plan, change, message):
    with pytest.raises(ModelsError) as caught:
        check_plan(replace(plan, **change))
    assert message in str(caught.value)


def test_a_known_degradation_that_the_bundle_lacks_can_be_taught(plan):
    check_plan(replace(plan, name="shadow"))


def test_a_bundle_that_exists_is_not_overwritten(plan):
    plan.out.mkdir()
    with pytest.raises(ModelsError, match="exists"):
        check_plan(plan)


def test_too_few_pairs_are_refused(plan, write_pairs, tmp_path):
    with pytest.raises(ModelsError, match="has 3 pairs, expected at least 4"):
        split_pairs(replace(plan, folder=write_pairs(tmp_path / "three", 3)))


@pytest.mark.parametrize(("count", "parts"), [(4, (2, 1, 1)), (8, (5, 1, 2)), (30, (20, 4, 6))])
def test_pairs_are_divided_into_three_parts_without_overlap(plan, write_pairs, tmp_path, count, parts):
    split = split_pairs(replace(plan, folder=write_pairs(tmp_path / "some", count)))
    groups = split.fit.train, split.fit.held_out, split.test.held_out
    assert tuple(map(len, groups)) == parts
    assert len({pair.file for group in groups for pair in group}) == count


def test_pairs_of_a_test_folder_leave_all_others_for_training(plan, write_pairs, tmp_path):
    split = split_pairs(replace(plan, test=write_pairs(tmp_path / "test", 5)))
    assert (split.count, len(split.test.held_out)) == (8, 5)


def test_a_half_done_run_is_continued_by_the_same_plan_alone(plan, write_pairs, tmp_path):
    assert not open_work(plan)
    assert open_work(plan)
    assert open_work(replace(plan, minutes=99.0))
    with pytest.raises(ModelsError, match="another name"):
        open_work(replace(plan, name="dots"))
