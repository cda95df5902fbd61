"""The rules and dashboards of deploy/k8s are those of deploy/observe."""

import importlib.util
import json

import pytest
import yaml
from manifests import K8S, of_kind, rendered

FOLDER = K8S / "components" / "observe"


def generator():
    spec = importlib.util.spec_from_file_location("generate_observe", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def observe(tmp_path):
    """Two files of rules, a test of promtool, and a dashboard."""
    rules, dashboards = tmp_path / "prometheus" / "rules", tmp_path / "grafana" / "dashboards"
    rules.mkdir(parents=True)
    dashboards.mkdir(parents=True)
    for name in ("alerts", "slo"):
        group = {"name": name, "rules": [{"alert": "Down", "expr": "up == 0\nor absent(up)\n", "for": "1m"}]}
        (rules / f"{name}.yml").write_text(yaml.safe_dump({"groups": [group]}))
    (rules / "alerts_test.yml").write_text("tests: []\n")
    (dashboards / "service.json").write_text('{"title": "größer", "panels": []}')
    return tmp_path


def test_what_is_committed_is_what_the_sources_make():
    committed = {path.name: path.read_text() for path in (FOLDER / "generated").iterdir()}
    assert committed == generator().generated(), "run `make manifests-observe`"


def test_every_group_of_every_rule_file_is_in_the_rule_and_nothing_changes(observe):
    rule = yaml.safe_load(generator().generated(observe)["rules.yaml"])
    groups = [group for path in sorted((observe / "prometheus" / "rules").glob("*s*.yml"))
              for group in yaml.safe_load(path.read_text()).get("groups", [])]  # fmt: skip
    assert rule["spec"]["groups"] == groups and len(groups) == 2


def test_a_dashboard_is_a_map_with_the_label_of_grafanas_sidecar(observe):
    one = yaml.safe_load(generator().generated(observe)["dashboard-service.yaml"])
    assert json.loads(one["data"]["service.json"]) == {"title": "größer", "panels": []}
    assert one["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_two_groups_of_one_name_and_a_dashboard_that_cannot_be_applied_are_refused(observe):
    make = generator().generated
    (observe / "grafana" / "dashboards" / "large.json").write_text(json.dumps({"title": "x" * 300_000}))
    with pytest.raises(ValueError, match=r"large\.json has"):
        make(observe)
    (observe / "prometheus" / "rules" / "slo.yml").write_text((observe / "prometheus/rules/alerts.yml").read_text())
    with pytest.raises(ValueError, match="more than one group named alerts"):
        make(observe)


def test_without_rules_there_is_nothing_to_apply(tmp_path):
    assert list(generator().generated(tmp_path)) == ["kustomization.yaml"]


def test_the_overlay_brings_what_was_made():
    objects = rendered("observe")
    made = [yaml.safe_load(path.read_text()) for path in (FOLDER / "generated").iterdir()]
    names = {one["metadata"]["name"] for one in made if "metadata" in one}
    assert names <= {one["metadata"]["name"] for one in of_kind(objects, "PrometheusRule", "ConfigMap")}
