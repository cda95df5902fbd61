"""The lens effect of a raindrop."""

import numpy as np

from models.training.data.degradations.raindrop import refract


def test_a_drop_shows_the_scene_upside_down():
    scene = np.zeros((128, 128, 3), np.float32)
    scene[:64] = 1  # a bright sky over a dark ground
    drop = np.array([[64.0, 64.0, 12.0, 12.0]])
    shown = np.mean([refract(scene, drop, 1.0, np.random.default_rng(seed)) for seed in range(20)], axis=0)
    assert shown[54:60, 60:68].mean() < shown[68:74, 60:68].mean()
