"""The line that `restore` prints about a photo: what was found, what was repaired, and what became of it."""

from typing import TYPE_CHECKING

import numpy as np

from models.photo.write import to_eight_bits
from models.restoration_report import is_visible

if TYPE_CHECKING:
    from models.photo.read import Samples
    from models.restoration_report import Report, Understood

SMALLEST_SHARE = 0.05
"""Less probable degradations are not listed."""
NO_VISIBLE_CHANGE = "(no visible change)"
STOP_REASONS = {
    "clean": "now clean",
    "still-degraded": "not clean: what is still found was repaired already, or is excluded",
    "uncertain": "stopped: the assessor is not sure",
    "did-not-help": "the last pass did not help and was undone",
    "max-passes": "reached the maximum number of passes",
    "prompt-done": "prompt applied",
    "nothing-asked": "the prompt asks for no repair",
    "nothing-left": "no degradation left to consider",
    "strength-zero": "strength 0 returns the input",
    "not-a-photograph": "not a photograph (one color, graphics, a page of text or stars); --only repairs it anyway",
    "out-of-bounds": "the last pass changed more than such a repair may and was undone",
}


def summary(report: "Report", *, changed: bool) -> str:
    """Returns one line: the degradations found, the repairs made, and why the loop stopped."""
    probable = list(report.degradations.items())[:3]
    listed = ", ".join(f"{name} {probability:.0%}" for name, probability in probable if probability >= SMALLEST_SHARE)
    found = f"found {listed}" if probable else "not looked at"
    if report.understood is not None:
        found = f"{understood_words(report.understood)}; {found}"
    repaired = ", ".join(report.labels) or "nothing"
    note = "" if changed else f" {NO_VISIBLE_CHANGE}"
    reason = STOP_REASONS.get(report.stop_reason, report.stop_reason)
    if report.stop_reason == "clean" and not report.labels:  # a pass that nobody sees has cleaned nothing
        reason = "already clean"
    return f"{found}; repaired {repaired}{note}; {reason}"


def understood_words(understood: "Understood") -> str:
    """Returns how a prompt was understood: `understood as noise, rain, but not low-light (de), without "bitte"`.

    Of a free prompt, which reaches the network itself, it is what the text encoder finds most similar.
    """
    ignored = f', without "{" ".join(understood.ignored)}"' if understood.ignored else ""
    answers = {"nothing": "do nothing", "auto": "repair what is found"}
    words = answers.get(understood.answer) or ", ".join(understood.repairs)
    if understood.used == "text" or not words:
        return f"understood as {understood.label} ({understood.score:.0%}){ignored}"
    if understood.kept:
        words += f", but not {', '.join(understood.kept)}"
    if understood.language:
        words += f" ({understood.language})"
    return f"understood as {words}{ignored}"


def changed_visibly(before: "Samples", after: "Samples") -> bool:
    """Returns whether one can see the difference (`is_visible`); both (H, W, 3), uint8 or uint16."""
    if before.shape != after.shape:
        return True
    difference = np.abs(to_eight_bits(before).astype(np.int16) - to_eight_bits(after).astype(np.int16))
    return is_visible(float(difference.max(initial=0)), float(difference.mean()) if difference.size else 0.0)
