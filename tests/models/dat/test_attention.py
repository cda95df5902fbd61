"""DAT's attentions against loops in numpy."""

import numpy as np
import pytest
import torch

from models.dat.attention import channel_attention, window_attention

LYING = (2, 4)


def features(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def window_of(row, column, height, width, window, shift):
    """Names the window of a position, and its side of the border where shifted windows wrap around."""
    y, x = (row - shift[0]) % height, (column - shift[1]) % width
    return y // window[0], x // window[1], row < shift[0], column < shift[1]


def attended_by_loops(q, k, v, heads, window, shift):
    height, width, channels = q.shape
    size = channels // heads
    out = np.zeros_like(v)
    for row in range(height):
        for column in range(width):
            own = window_of(row, column, height, width, window, shift)
            near = [
                (y, x) for y in range(height) for x in range(width)
                if window_of(y, x, height, width, window, shift) == own
            ]  # fmt: skip
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                logits = np.array([q[row, column, part] @ k[at][part] for at in near]) / np.sqrt(size)
                out[row, column, part] = sum(w * v[at][part] for w, at in zip(softmax(logits), near, strict=True))
    return out


@pytest.mark.parametrize("window", [LYING, LYING[::-1]], ids=["lying", "standing"])
@pytest.mark.parametrize("shifted", [False, True])
def test_each_position_attends_to_its_window_alone(window, shifted):
    shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
    qkv = [features((2, 8, 8, 6), seed) for seed in range(3)]
    found = window_attention(qkv, 2, window, shift)
    for index in range(2):
        expected = attended_by_loops(*(x[index].double().numpy() for x in qkv), 2, window, shift)
        np.testing.assert_allclose(found[index].numpy(), expected, atol=1e-5)


def test_each_channel_attends_to_those_of_its_head_by_their_cosine():
    q, k, v = (features((2, 3, 5, 6), seed) for seed in range(3))
    temperature = torch.tensor([0.5, 4.0]).view(2, 1, 1)
    found = channel_attention(q, k, v, temperature)
    for index in range(2):
        queries, keys, values = (x[index].double().numpy().reshape(15, 6) for x in (q, k, v))
        expected = np.zeros((15, 6))
        for channel in range(6):
            head = channel // 3
            of_head = range(3 * head, 3 * head + 3)
            cosines = np.array([
                queries[:, channel] @ keys[:, other] / np.linalg.norm(queries[:, channel])
                / np.linalg.norm(keys[:, other]) for other in of_head
            ])  # fmt: skip
            weights = softmax(cosines * float(temperature[head]))
            expected[:, channel] = sum(w * values[:, other] for w, other in zip(weights, of_head, strict=True))
        np.testing.assert_allclose(found[index].numpy().reshape(15, 6), expected, atol=1e-5)


def test_large_sums_stay_finite_in_half_precision():
    """The products of 256 x 256 positions of value 3 sum to 590,000, and half precision ends at 65,504."""
    x = torch.full((1, 256, 256, 4), 3.0, dtype=torch.bfloat16).half()
    assert torch.isfinite(channel_attention(x, x, x, torch.ones(2, 1, 1).half())).all()
