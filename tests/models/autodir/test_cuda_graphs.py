"""A faster version of a function for each shape: when it is built, when it is refused, and when it is dropped."""

import pytest
import torch

from models.autodir.cuda_graphs import FastPerShape, graph_maker


def doubling(make, **options):
    """A function that doubles, with a maker of the test's own."""
    return FastPerShape(lambda x: 2 * x, make, **options)


def test_a_shape_is_made_when_it_comes_for_the_third_time_and_only_once():
    made = []

    def make(function, inputs):
        made.append(tuple(inputs[0].shape))
        return lambda x: function(x) + 1e-4  # so that the answer tells which function gave it

    fast = doubling(make)
    answers = [float(fast(torch.ones(2))[0]) for _ in range(5)]
    assert answers == pytest.approx([2, 2, 2, 2.0001, 2.0001], abs=1e-5)
    fast(torch.ones(3))
    assert made == [(2,)]


def test_a_warm_up_makes_a_shape_before_its_first_call():
    made = []
    fast = doubling(lambda function, inputs: made.append(inputs[0].shape) or function)
    warmed = fast.warm_up(torch.ones(2))
    fast.warm_up(torch.ones(2))
    assert made == [(2,)]
    assert warmed.shapes == ((2,),) and warmed.refused is None


def test_a_shape_that_is_not_worth_it_is_never_made():
    made = []
    fast = doubling(
        lambda function, inputs: made.append(inputs[0].shape) or function, plain_calls=0,
        worth=lambda signature: signature[0][0] == (2,),
    )  # fmt: skip
    for size in (2, 3):
        assert torch.equal(fast(torch.ones(size)), torch.full((size,), 2.0))
    assert "frames" in fast.warm_up(torch.ones(3)).refused
    assert made == [(2,)]


def test_a_shape_that_was_dropped_must_come_often_again():
    made = []
    fast = doubling(lambda function, inputs: made.append(len(inputs[0])) or function, plain_calls=1, kept=1)
    for size in (2, 2, 3, 3, 2, 3, 2):
        fast(torch.ones(size))
    assert made == [2, 3, 2]


def test_a_shape_of_another_type_is_another_one():
    made = []
    fast = doubling(lambda function, inputs: made.append(inputs[0].dtype) or function, plain_calls=0)
    fast(torch.ones(2))
    fast(torch.ones(2, dtype=torch.float64))
    assert made == [torch.float32, torch.float64]


def test_a_shape_that_cannot_be_made_is_left_to_the_plain_function_for_good():
    tries = []

    def make(function, inputs):
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")

    fast = doubling(make, plain_calls=0)
    assert all(torch.equal(fast(torch.ones(2)), torch.full((2,), 2.0)) for _ in range(3))
    assert len(tries) == 1
    assert fast.warm_up(torch.ones(2)).refused == "RuntimeError: operation not permitted when stream is capturing"


@pytest.mark.parametrize("hidden", [False, True])
def test_a_shape_for_which_memory_was_short_is_tried_again_when_it_has_come_as_often(hidden):
    """Ending a capture may raise another error, which then hides the first."""
    tries = []

    def make(function, inputs):
        tries.append(1)
        if len(tries) > 1:
            return function
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except torch.OutOfMemoryError:
            if hidden:
                raise RuntimeError("the capture is invalid")  # noqa: B904 - as torch does
            raise

    fast = doubling(make, plain_calls=2)
    tried = []
    for _ in range(7):
        assert torch.equal(fast(torch.ones(2)), torch.full((2,), 2.0))
        tried.append(len(tries))
    assert tried == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("wrong", [2.2, float("nan"), 0.0])
def test_a_version_with_a_different_answer_is_refused(wrong):
    fast = doubling(lambda function, inputs: lambda x: torch.full_like(x, wrong), plain_calls=0)
    assert "got a difference of" in fast.warm_up(torch.ones(2)).refused
    assert torch.equal(fast(torch.ones(2)), torch.full((2,), 2.0))


def test_a_version_with_an_answer_of_another_shape_is_refused():
    fast = doubling(lambda function, inputs: lambda x: function(x)[:1], plain_calls=0)
    assert fast.warm_up(torch.ones(2)).refused == "got shape [1], expected [2]"


def test_the_least_recently_used_shape_is_dropped_first():
    made = []
    fast = doubling(lambda function, inputs: made.append(len(inputs[0])) or function, kept=2, plain_calls=0)
    for size in (1, 2, 1, 3, 1, 2):
        fast(torch.ones(size))
    assert made == [1, 2, 3, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_of_a_function_follows_its_inputs():
    fast = FastPerShape(lambda x, y: x * y + 1, graph_maker())
    x, y = torch.rand(2, 5, device="cuda")
    assert fast.warm_up(x, y).refused is None
    first = fast(x, y)
    second = fast(y, y)
    torch.testing.assert_close(first, x * y + 1)
    torch.testing.assert_close(second, y * y + 1)
