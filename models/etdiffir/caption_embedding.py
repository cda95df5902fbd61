"""The caption feature of an image, with and without a caption.

ETDiffIR needs a caption of the clean image; its authors generate one with MiniGPT-4, at test time, too.  Here the
user's prompt is the caption.  Without a prompt there are three fallbacks, all in CLIP's joint space:

    content   DA-CLIP's content embedding, which was trained to match the caption of the clean image
    word      the word of the most probable degradation
    neutral   "a photo"

Shapes:  B images, D joint width.
"""

from torch import Tensor

from models.daclip.controller import DaCLIP
from models.etdiffir.config import Fallback

NEUTRAL = "a photo"


def caption_feature(controller: DaCLIP, prompt: str | None, fallback: Fallback, content: Tensor, word: str) -> Tensor:
    """Returns the caption feature (B, D), not normalized; `content` is the image's content embedding (B, D)."""
    if prompt is not None:
        return controller.word_features([prompt])
    if fallback == "content":
        return content
    return controller.word_features([word if fallback == "word" else NEUTRAL])
