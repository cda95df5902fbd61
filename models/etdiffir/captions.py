"""The caption's feature, with and without a caption.

ETDiffIR wants a caption of the clean picture, which its authors let MiniGPT-4 write, at test time too.  Here it is the
user's prompt.  Without one there are three fallbacks, all in CLIP's joint space:

    content   DA-CLIP's content embedding, which was trained to match the clean picture's caption
    word      the most probable degradation's word
    neutral   "a photo"

Shapes:  B pictures, D joint width.
"""

from torch import Tensor

from models.daclip.controller import DaCLIP
from models.etdiffir.config import Fallback

NEUTRAL = "a photo"


def caption_feature(controller: DaCLIP, prompt: str | None, fallback: Fallback, content: Tensor, word: str) -> Tensor:
    """What stands for the caption, (B, D), not normalized; `content` is the picture's own embedding (B, D)."""
    if prompt is not None:
        return controller.words([prompt])
    if fallback == "content":
        return content
    return controller.words([word if fallback == "word" else NEUTRAL])
