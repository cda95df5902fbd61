"""Makes `generated/` from deploy/observe/: a PrometheusRule of all rules, and a ConfigMap for each dashboard.

kustomize reads no file outside its own folder, so the results are committed; `make manifests-observe` makes them again,
and tests/deploy compares.  Test files of promtool (`*_test.yml`) are no rules.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
OBSERVE = HERE.parents[2] / "observe"
NAMESPACE = "undegrade"
LABELS = {"app.kubernetes.io/part-of": "undegrade"}
HEADER = "# Made by `make manifests-observe` from deploy/observe/.  Do not edit.\n"
MAX_BYTES = 250_000
"""`kubectl apply` keeps a copy of each object in an annotation, which may have 262,144 bytes."""


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, without aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dumped(value: Mapping[str, Any]) -> str:
    """Returns an object as YAML."""
    return HEADER + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def rule_groups(folder: Path) -> list[Any]:
    """Returns the groups of all rule files.

    Raises:
        ValueError: two groups have the same name: Prometheus would refuse them.
    """
    files = sorted(path for path in folder.glob("*.y*ml") if not path.stem.endswith(("_test", ".test", "-test")))
    groups = [group for path in files for group in yaml.safe_load(path.read_text()).get("groups", [])]
    names = [group["name"] for group in groups]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"got more than one group named {', '.join(sorted(twice))}; expected each name once")
    return groups


def dashboard_map(path: Path) -> dict[str, Any]:
    """Returns the ConfigMap of a dashboard; Grafana's sidecar finds it by its label.

    Raises:
        ValueError: the dashboard is too large for `kubectl apply`.
    """
    text = json.dumps(json.loads(path.read_text()), indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"{path.name} has {len(text.encode())} bytes, expected at most {MAX_BYTES}: split it")
    labels = {**LABELS, "grafana_dashboard": "1"}
    metadata = {"name": f"undegrade-dashboard-{path.stem}", "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {path.name: text}}


def generated(observe: Path = OBSERVE) -> dict[str, str]:
    """Returns the content of each file of `generated/`, by name."""
    files: dict[str, str] = {}
    if groups := rule_groups(observe / "prometheus" / "rules"):
        files["rules.yaml"] = dumped(
            {
                "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                "metadata": {"name": "undegrade", "namespace": NAMESPACE, "labels": LABELS}, "spec": {"groups": groups},
            }
        )  # fmt: skip
    for path in sorted((observe / "grafana" / "dashboards").glob("*.json")):
        files[f"dashboard-{path.stem}.yaml"] = dumped(dashboard_map(path))
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    files["kustomization.yaml"] = dumped({**kustomization, "resources": sorted(files)})
    return files


def main() -> int:
    """Write the files, and remove those that are no longer made."""
    folder, files = HERE / "generated", generated()
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    sys.stdout.write(f"{folder}: {', '.join(sorted(files))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
