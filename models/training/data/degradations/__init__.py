"""Degradation synthesis on the fly: clean crops in, training pairs out (numpy and OpenCV, no torch).

Reading order: image_operations, the nine kinds (listed in synthesizers), pair.
"""

from models.training.data.degradations.image_operations import Image, Synthesizer, quantize
from models.training.data.degradations.synthesizers import PHYSICAL_ORDER, SYNTHESIZERS
from models.training.data.degradations.training_pair import Mixture, Pair, draw_pair

__all__ = ["PHYSICAL_ORDER", "SYNTHESIZERS", "Image", "Mixture", "Pair", "Synthesizer", "draw_pair", "quantize"]
