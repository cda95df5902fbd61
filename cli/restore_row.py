"""The JSON row that `restore --json` prints about a photo: the report, with the field names of the API's jobs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from models.warning_codes import codes_of

if TYPE_CHECKING:
    from models.restoration_report import Report

Written = tuple["Report", Path | None]
"""The report of a result, and where it was written; None stands for stdout."""


def row_of(name: str, variants: Sequence[Written], warnings: Sequence[str], seconds: float) -> dict[str, object]:
    """Returns the row of a photo; `variants` has its results, and the first gives the report.

    Args:
        warnings: all that were printed, with their codes.
    """
    report, written = variants[0]
    row = {"input": name, "output": str(written), "repaired": report.labels, **asdict(report)}
    several = [_variant(number, *variant) for number, variant in enumerate(variants, 1)] if len(variants) > 1 else []
    return {
        **row, "variants": several, "warnings": list(warnings), "warning_codes": codes_of(warnings),
        "seconds": round(seconds, 3),
    }  # fmt: skip


def _variant(number: int, report: "Report", written: Path | None) -> dict[str, object]:
    fields = asdict(report)
    kept = {name: fields[name] for name in ("seed", "passes", "stop_reason", "change")}
    return {"variant": number, "output": str(written), **kept}
