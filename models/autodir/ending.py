"""The end of a pass: its result, and whether it is kept."""

from torch import Tensor

from models.autodir.config import AutoDIRConfig
from models.autodir.next_repair import helped
from models.autodir.tone import follow
from models.autodir.track import ImageRun
from models.optional import not_none
from models.pixels import mix
from models.safety.envelope import DID_NOT_HELP, Envelope


def result_of(run: ImageRun, config: AutoDIRConfig, envelope: Envelope) -> Tensor:
    """Returns the result of a pass, (3, H, W) float32 in [-1, 1], from all of its tiles; beyond 1 in strict mode."""
    if run.restored is not None:  # a canvas gives its image once
        run.blended, run.restored = run.restored.image(), None
        if run.tone is not None:
            run.blended = follow(run.blended, run.tone.to(run.blended.device))
    if run.diffused is not None:
        run.carried, run.diffused = run.diffused.image(), None
    blended = not_none(run.blended)
    if run.controls.strict:
        return blended
    result = mix(run.image, blended.clamp_(-1, 1), config.strength.get(run.label, 1.0))
    return envelope.shaped(run.controls, run.label, run.image, result)


def refusal_of(
    run: ImageRun, result: Tensor, after: dict[str, float], config: AutoDIRConfig, envelope: Envelope
) -> str | None:
    """Returns why the pass is taken back; None if its result, of which `after` is the assessment, is kept."""
    if run.controls.strict or run.source in ("user", "scale"):
        return None
    if not helped(run, result, after, config):
        return DID_NOT_HELP
    return envelope.refusal(run.label, run.image, result, later=any(entry.kept for entry in run.passes))
