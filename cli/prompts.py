"""Refuses a prompt that a bundle cannot do, before its weights are loaded."""

from cli.settings import settings
from models.controls import Controls
from models.errors import PromptNotUnderstood
from models.prompt_plan import plan_prompt, style_of
from models.vocabulary import CLEAN


def check_prompt(bundle: str | None, controls: Controls) -> None:
    """Compare a prompt with what a bundle can do; None takes the bundle of the settings.

    Raises:
        PromptNotUnderstood: it asks for nothing that the bundle can do, or also for something that it cannot do.
        BundleError: the bundle does not exist, or its manifest cannot be read.
    """
    if controls.prompt is None or controls.strict:
        return
    from models.bundle import find_bundle, read_manifest  # loads torch

    manifest = read_manifest(find_bundle(bundle or settings().default_bundle))
    if style_of(manifest.networks, manifest.prompts) == "free":
        return
    known = [entry.name for entry in manifest.degradations if entry.name != CLEAN]
    try:
        plan_prompt(controls.prompt, known, best_effort=controls.best_effort)
    except PromptNotUnderstood as error:
        words = f"{error} --best-effort does what can be done, or else the most similar repair."
        raise PromptNotUnderstood(words, error.can, error.cannot) from error
