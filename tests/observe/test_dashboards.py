"""The dashboards as Grafana needs them, and their queries as Prometheus parses them."""

import re

import promql_parser
import pytest
import yaml
from dashboard_panels import DASHBOARDS, filled, load, queries
from observe_files import OBSERVE, rules

from jobs.metric_table import BY_NAME

UNITS = {"none", "s", "bytes", "percentunit", "reqps", "ops"}
"""Ids of Grafana's own units."""
every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
PROVISIONING = OBSERVE / "grafana" / "provisioning"


def test_there_are_three_dashboards_with_uids_of_their_own():
    assert [path.stem for path in DASHBOARDS] == ["queue", "service", "workers"]
    assert len({load(path)["uid"] for path in DASHBOARDS}) == 3


@every_dashboard
def test_a_dashboard_has_what_grafana_needs(path):
    board = load(path)
    assert board["schemaVersion"] >= 36 and re.fullmatch(r"[a-z-]{1,40}", board["uid"])
    assert "id" not in board, "a number of one Grafana"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["targets"] and panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@every_dashboard
def test_no_panels_overlap_or_leave_the_grid(path):
    taken = set()
    for panel in load(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken
        taken |= cells


@every_dashboard
def test_every_query_parses_and_names_metrics_and_labels_that_exist(path):
    recorded = {rule.name for rule in rules() if not rule.alert}
    variables = {variable["name"] for variable in load(path)["templating"]["list"]}
    for title, expression in queries(path):
        promql_parser.parse(filled(expression))
        assert set(re.findall(r"\$(\w+)", expression)) <= variables | {"__rate_interval"}
        assert set(re.findall(r"\bundegrade:[a-z0-9_:]+", expression)) <= recorded, title
        for name in re.findall(r"(?<![:\w])undegrade_[a-z_]+", expression):
            spec = BY_NAME.get(name) or BY_NAME[re.sub(r"_(bucket|sum|count)$", "", name)]
            if "bundle=~" in expression and "and" not in expression:
                assert "bundle" in spec.labels, (title, name)


def test_a_query_with_an_error_does_not_parse():
    with pytest.raises(ValueError):
        promql_parser.parse("sum by (lane (rate(undegrade_job_seconds_count[1m])))")


def test_grafana_finds_the_data_source_and_the_dashboards():
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    scrape = yaml.safe_load((OBSERVE / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "undegrade.yml").read_text())["providers"]
    assert provider["type"] == "file" and provider["options"]["path"].startswith("/")


def test_the_collector_passes_what_it_receives_to_an_exporter():
    config = yaml.safe_load((OBSERVE / "otel" / "collector.yml").read_text())
    traces = config["service"]["pipelines"]["traces"]
    assert set(traces["receivers"]) <= set(config["receivers"])
    assert set(traces["processors"]) <= set(config["processors"])
    assert traces["exporters"] == ["${env:TRACES_EXPORTER}"] and {"debug", "otlphttp"} <= set(config["exporters"])
