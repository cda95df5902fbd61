"""Degradation synthesis on the fly: clean crops in, training pairs out (numpy and OpenCV, no torch).

Reading order: image, the nine kinds (kinds.py lists them), pair, contact_sheet.
"""

from models.training.data.degradations.image import Image, Synthesizer, quantize
from models.training.data.degradations.kinds import PHYSICAL_ORDER, SYNTHESIZERS
from models.training.data.degradations.pair import Mixture, Pair, draw_pair

__all__ = ["PHYSICAL_ORDER", "SYNTHESIZERS", "Image", "Mixture", "Pair", "Synthesizer", "draw_pair", "quantize"]
