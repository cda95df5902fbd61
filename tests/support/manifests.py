"""The manifests of deploy/k8s, rendered by kubectl, and what checks of them have in common.

A check is a function from objects to findings, in words.  Each is tried on every rendering, where it must find nothing,
and on manifests with one mistake, where it must find that.
"""

import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())
COMBINATIONS = {
    "large": (
        "gpu", "webhooks", "s3", "weights-pvc", "observe", "tracing", "scale-in", "keda", "external-redis",
    ),
    "pulled": ("weights-pull", "s3", "observe"),
    "webhooks": ("webhooks",),
}  # fmt: skip
"""Components that no overlay has.  s3 and external-redis come after the components that they change."""
RENDERINGS = ["base", *OVERLAYS, *COMBINATIONS]
NAMESPACE = "undegrade"
Object = dict[str, Any]
Check = Callable[[list[Object]], list[str]]
every_rendering = pytest.mark.parametrize("name", RENDERINGS)


def kubectl() -> str:
    """The program of the development environment, or the machine's."""
    own = Path(sys.executable).parent / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    assert found, "no kubectl: install the development tools (pip install '.[dev]')"
    return found


def build(folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def combine(components: tuple[str, ...]) -> list[Object]:
    """The base with these components, as an operator's own overlay has them."""
    with tempfile.TemporaryDirectory() as folder:
        above = os.path.relpath(K8S, Path(folder).resolve())
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"{above}/base"],
            "components": [f"{above}/components/{name}" for name in components],
        }  # fmt: skip
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return build(Path(folder).resolve())


@cache
def _rendered(name: str) -> list[Object]:
    if name in COMBINATIONS:
        return combine(COMBINATIONS[name])
    return build(K8S / name if name in ("base", "examples") else K8S / "overlays" / name)


def rendered(name: str) -> list[Object]:
    """The objects of a rendering; the caller may change them."""
    return copy.deepcopy(_rendered(name))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def name_of(one: Object) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def find(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name; generated names may have a hash at their end."""
    found = [
        one for one in of_kind(objects, kind) if re.fullmatch(f"{name}(-[a-z0-9]{{10}})?", one["metadata"]["name"])
    ]
    assert len(found) == 1, f"{kind} {name}: {len(found)} objects"
    return found[0]


def workloads(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod_of(workload: Object) -> Object:
    """The pod's spec."""
    return workload["spec"]["template"]["spec"]


def labels_of(workload: Object) -> dict[str, str]:
    """The labels of the pods."""
    return workload["spec"]["template"]["metadata"]["labels"]


def component_of(workload: Object) -> str:
    return labels_of(workload)["app.kubernetes.io/component"]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def all_containers(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """A name for messages, the workload and the container, for each container."""
    for workload in workloads(objects):
        for container in containers(pod_of(workload)):
            yield f"{name_of(workload)}, container {container['name']}", workload, container


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector of Kubernetes (matchLabels, matchExpressions) selects these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        present, value = rule["key"] in labels, labels.get(rule["key"])
        fits = {
            "In": value in rule.get("values", ()), "NotIn": value not in rule.get("values", ()), "Exists": present,
            "DoesNotExist": not present,
        }[rule["operator"]]  # fmt: skip
        if not fits:
            return False
    return True


def port_of(container: Object, port: str | int) -> int | None:
    """The number of a container's port, by name or number; None where it has none."""
    for entry in container.get("ports", []):
        if port in (entry.get("name"), entry["containerPort"]):
            return entry["containerPort"]
    return None


def environment(objects: list[Object], container: Object) -> dict[str, str]:
    """The environment of a container, as far as manifests tell; a value from a Secret is `(secret)`."""
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            values |= find(objects, "ConfigMap", re.escape(source["configMapRef"]["name"]))["data"]
    for entry in container.get("env", []):
        values[entry["name"]] = entry["value"] if "value" in entry else f"({next(iter(entry['valueFrom']))})"
    return values


def operators_page() -> str:
    """The text of docs/kubernetes.md."""
    return (ROOT / "docs" / "kubernetes.md").read_text()


def quantity(text: str | int) -> float:
    """A quantity of Kubernetes as a number: 250m, 2, 1536Mi, 2Gi."""
    found = re.fullmatch(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(text))
    assert found, f"no quantity: {text}"
    factor = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(found[1]) * factor.get(found[2], 1)


def mutated(name: str, change: Callable[[list[Object]], object]) -> list[Object]:
    """A rendering with one mistake."""
    objects = rendered(name)
    change(objects)
    assert objects != _rendered(name), "the change changes nothing"
    return objects


def both_tests(
    names: dict[str, Any], mistakes: dict[str, tuple[str, Callable[[list[Object]], object]]], overlay: str = "keda"
) -> tuple[Check, Check]:
    """The two tests of a module's `check_...` functions: they find nothing in any rendering, and each mistake.

    A mistake is the name of the check that must find it, and a change of the objects of `overlay`.
    """
    checks = {name: check for name, check in sorted(names.items()) if name.startswith("check_")}
    assert {check for check, _ in mistakes.values()} == checks.keys(), "a check that finds no mistake is none"

    @every_rendering
    @pytest.mark.parametrize("check", checks)
    def test_nothing_is_found(check: str, name: str) -> None:
        assert checks[check](rendered(name)) == []

    @pytest.mark.parametrize("mistake", mistakes)
    def test_a_mistake_is_found(mistake: str) -> None:
        check, change = mistakes[mistake]
        assert checks[check](mutated(overlay, change))

    return test_nothing_is_found, test_a_mistake_is_found
