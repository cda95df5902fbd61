"""Reads deploy/observe/: the alerts and recording rules, and where the programs are that check them."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OBSERVE = ROOT / "deploy" / "observe"
RULES = OBSERVE / "prometheus" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"
DURATION = re.compile(r"\b(\d+)([smhd])\b")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Rule:
    """A recording rule (`record`) or an alert (`alert`)."""

    name: str
    expr: str
    alert: bool
    fields: dict


def rules() -> list[Rule]:
    """Returns all rules of all files."""
    found = []
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for fields in group["rules"]:
                name = fields.get("alert") or fields["record"]
                found.append(Rule(name, fields["expr"], "alert" in fields, fields))
    return found


ALERTS = sorted({rule.name for rule in rules() if rule.alert})


def program(*names: str) -> str:
    """Returns the path of the first of these programs that is installed; skips the test where none is."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{names[0]} is not installed; `make observe-tools` installs it")


def scaled(text: str, factor: int) -> str:
    """Returns a file of rules with ranges and `for:` that are shorter by `factor`; the expressions stay otherwise."""

    def shorter(match: re.Match) -> str:
        seconds = int(match[1]) * UNIT_S[match[2]] / factor
        return f"{max(1, round(seconds))}s"

    lines = []
    for line in text.splitlines():
        if re.match(r"\s*for: ", line):
            line = DURATION.sub(shorter, line)
        elif not re.match(r"\s*(- record|- alert|labels|summary|description|runbook_url|#)", line):
            line = re.sub(r"\[\d+[smhd]\]", lambda found: DURATION.sub(shorter, found[0]), line)
        lines.append(line)
    return "\n".join(lines) + "\n"
