"""Decides the next repair of an image, and whether it helped: the policy, the user's controls, the bundle's limits."""

from torch import Tensor

from models.autodir.config import AutoDIRConfig
from models.autodir.policy import Choice, choose, choose_published, improved
from models.autodir.track import ImageRun
from models.pixels import newly_black_share
from models.presets import SURE
from models.restorer import ENLARGING_REPAIR
from models.vocabulary import names

COMPRESSION = "jpeg"
FALLING = ("rain", "snow", "raindrop")
"""What the fine patterns of a small photo look like: of photos without damage, one had rain at 0.91."""
OWN_SIZE_FLOOR = 0.7
"""Least probability of repairs before a network enlarges.  The assessor found noise with 0.72 and more where there was
some, and with up to 0.49 in the patterns of clean small photos (docs/decisions/0047)."""

VEIL = "haze"
"""The repair that may remove too much: it subtracts light."""
BLUR, BLURRED = "blur", 0.15
"""A photo that is this probably blurred is not dehazed.  Blur, too, takes contrast from details: two blurred photos had
haze at 0.5 with blur at 0.2 to 0.4, and lost 10 dB; of 35 hazy ones, one had blur above 0.1 (docs/decisions/0060)."""


def max_passes(run: ImageRun, config: AutoDIRConfig) -> int:
    """Returns the largest number of passes."""
    limit = run.controls.max_passes
    if run.free_prompt:
        return 1
    if run.plan is not None and run.plan.action == "repairs":
        wanted = len(run.plan.repairs) + (run.controls.scale > 1)
        return wanted if limit is None else min(limit, wanted)
    return limit or config.loop.max_passes


def next_repair(run: ImageRun, config: AutoDIRConfig) -> tuple[Choice, str]:
    """Returns the next repair and its source, or the reason to stop.

    A photo that was enlarged gets a repair of low resolution: by the assessor's choice, or else as its last pass.  One
    that a network will enlarge gets it as its last pass always, and first a repair of compression where the file shows
    that there is some.
    """
    left = max_passes(run, config) - len(run.passes)
    if run.asked is not None:
        return _next_asked(run, config, left)
    if left <= 0:
        return Choice(probabilities=run.before, stop="max-passes"), "auto"
    remaining = _choices(run)
    if run.controls.strict:
        choice = choose_published(run.before, remaining)
    else:
        floors = {name: _shared(floor, run) for name, floor in _floors(run, config).items()}
        choice = choose(run.before, remaining, _shared(config.loop.floor, run), floors, names(run.controls.only))
    if left > 1 and _hides_compression(run):
        return Choice(probabilities={COMPRESSION: 1.0}, label=COMPRESSION), "scale"
    if owes_enlarging_repair(run, config) and (left == 1 or choice.label is None):
        return Choice(probabilities={ENLARGING_REPAIR: 1.0}, label=ENLARGING_REPAIR), "scale"
    return choice, "auto"


def _shared(floor: float, run: ImageRun) -> float:
    """Returns the least probability that the preset makes of a floor."""
    return min(floor * run.controls.floor_share, max(floor, SURE))


def _next_asked(run: ImageRun, config: AutoDIRConfig, left: int) -> tuple[Choice, str]:
    """Returns the next repair that the prompt asks for; a photo that was enlarged gets its own repair after them."""
    asked, owes = run.asked or (), owes_enlarging_repair(run, config)
    if left <= 0 and (asked or (run.controls.scale > 1 and ENLARGING_REPAIR in run.remaining)):
        return Choice(probabilities=run.before, stop="max-passes"), "user"
    if asked:
        return Choice(probabilities={asked[0]: 1.0}, label=asked[0]), "user"
    if owes:
        return Choice(probabilities={ENLARGING_REPAIR: 1.0}, label=ENLARGING_REPAIR), "scale"
    return Choice(probabilities=run.before, stop="prompt-done"), "user"


def owes_enlarging_repair(run: ImageRun, config: AutoDIRConfig) -> bool:
    """Returns whether the photo was enlarged, its repair of low resolution is still to come, and a pass is left."""
    left = max_passes(run, config) - len(run.passes)
    return left > 0 and run.controls.scale > 1 and ENLARGING_REPAIR in run.remaining


def _hides_compression(run: ImageRun) -> bool:
    """Returns whether a network will enlarge traces of compression, which may be too faint for the assessor to find.

    The network takes them for details, and the assessor takes them for rain (docs/decisions/0047).
    """
    return run.factor > 1 and run.compressed and not run.passes and COMPRESSION in run.remaining


def _choices(run: ImageRun) -> tuple[str, ...]:
    """Returns what the assessor may choose; what is left out needs the user's word (`only`), or strict mode."""
    unlikely: set[str] = set()
    if run.before.get(BLUR, 0.0) >= BLURRED and not run.controls.strict:
        unlikely |= {VEIL} - {*names(run.controls.only)}
    if run.factor > 1:
        unlikely |= {ENLARGING_REPAIR, *FALLING} - ({*names(run.controls.only)} - {ENLARGING_REPAIR})
    return tuple(name for name in run.remaining if name not in unlikely)


def _floors(run: ImageRun, config: AutoDIRConfig) -> dict[str, float]:
    """Returns the least probability of each repair in this pass, where it is above the loop's floor."""
    loop, floors = config.loop, config.floors
    if run.factor > 1:
        floors = {name: max(floors.get(name, 0.0), OWN_SIZE_FLOOR) for name in run.remaining}
    if not run.passes:
        return floors
    later = {name: loop.later_floor for name in run.remaining if run.first[name] < loop.glimpsed}
    return {name: max(floors.get(name, 0.0), later.get(name, 0.0)) for name in run.remaining}


def helped(run: ImageRun, result: Tensor, after: dict[str, float], config: AutoDIRConfig) -> bool:
    """Returns whether to keep the result (3, H, W) of a pass, of which `after` is the assessment."""
    # Only dehazing can remove too much light.  Denoising may turn pixels black: noise over black is bright
    spoiled = run.label == VEIL and newly_black_share(run.image, result) > config.loop.blackening
    return improved(run.label, run.reference or run.before, after) and not spoiled
