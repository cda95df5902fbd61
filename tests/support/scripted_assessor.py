"""An assessor with prepared answers, for AutoDIR's loop."""

import torch

from models.controls import Controls
from models.drive import restore_one
from models.restorer import Request
from models.vocabulary import CLEAN

NAMES = ("noise", "haze", "low-resolution", CLEAN)


class Script:
    """An assessor with prepared answers, one an image; the last answer is repeated.  It records the images."""

    def __init__(self, *answers):
        self.answers, self.shown, self.strict = list(answers), [], []

    def assess(self, images, strict=False):
        self.shown += images
        self.strict.append(strict)
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in images]

    def condition(self, probabilities):
        return torch.full((5, 16), sum(probabilities.values()) / len(probabilities))

    def user_states(self, prompts):
        return torch.stack([torch.full((5, 16), len(prompt) / 20) for prompt in prompts])

    def prompt_probabilities(self, prompt):
        return sees(haze=0.9)

    def prompt_scores(self, prompts):
        return [self.prompt_probabilities(prompt) for prompt in prompts]


def sees(**said):
    """Probabilities over NAMES; the other names share the rest equally."""
    said = {name.replace("_", "-"): share for name, share in said.items()}
    rest = (1 - sum(said.values())) / (len(NAMES) - len(said))
    return {name: said.get(name, rest) for name in NAMES}


def picture(height=24, width=32, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restored(model, image, **controls):
    return restore_one(model, Request(image=image, controls=Controls(**controls)))
