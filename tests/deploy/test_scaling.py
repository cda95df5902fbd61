"""KEDA scales on work that is queued and running, slowly down, and routes outlast long polls and event streams."""

import re

import pytest
from manifests import Object, find, mutated, of_kind, rendered

from service.negotiation import MAX_WAIT_S
from service.settings import ServiceSettings

METRIC = "undegrade_backlog_device_seconds"


def scaler(objects: list[Object]) -> Object:
    return of_kind(objects, "ScaledObject")[0]["spec"]


def check_scaling(objects: list[Object]) -> list[str]:
    spec, findings = scaler(objects), []
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    for policy in down["policies"]:
        if policy["type"] != "Pods" or policy["value"] / policy["periodSeconds"] > 1 / 120:
            findings.append("removes more than one pod in 120 s")
    if down["stabilizationWindowSeconds"] < 600:
        findings.append("removes workers in a short pause")
    fallback = spec.get("fallback", {})
    if fallback.get("replicas", 0) < spec["minReplicaCount"] or fallback.get("behavior") != "currentReplicasIfHigher":
        findings.append("without Prometheus, busy workers are removed")
    for trigger in spec["triggers"]:
        query = trigger["metadata"]["query"]
        namespace = find(objects, "Deployment", "undegrade-worker")["metadata"]["namespace"]
        # Every replica of the API reports the whole queue: a sum counts it several times
        if query != f'max({METRIC}{{namespace="{namespace}"}})':
            findings.append(f"the query {query}")
        if trigger["metricType"] != "AverageValue":
            findings.append("the fallback knows only AverageValue")
        if trigger["metadata"].get("ignoreNullValues") != "false":
            findings.append("no data looks like an empty queue")
    return findings


def seconds(text: str) -> float:
    """A duration of the Gateway API; 0 is no limit."""
    value = sum(float(number) * {"ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]
                for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))  # fmt: skip
    return value or float("inf")


def check_routes(objects: list[Object]) -> list[str]:
    """Timeouts fit uploads, polls and streams; bodies fit uploads."""
    findings = []
    for rule in of_kind(objects, "HTTPRoute")[0]["spec"]["rules"]:
        path = rule["matches"][0]["path"]["value"]
        limit_s = min(seconds(value) for value in rule["timeouts"].values())
        # The stream of a job lasts as long as the job; an upload at 100 kB/s comes before the longest poll
        upload_s = ServiceSettings.max_bytes / 100e3
        if limit_s < (float("inf") if path == "/jobs" else MAX_WAIT_S + upload_s):
            findings.append(f"{path} ends after {limit_s} s")
    if "/jobs" not in str(of_kind(objects, "HTTPRoute")[0]["spec"]["rules"][0]["matches"]):
        findings.append("events have no rule")
    nginx = {key.rpartition("/")[2]: value
             for key, value in of_kind(objects, "Ingress")[0]["metadata"]["annotations"].items()}  # fmt: skip
    if int(nginx["proxy-read-timeout"]) < max(MAX_WAIT_S, ServiceSettings.keepalive_s) + 15:
        findings.append("nginx cuts long polls")
    if int(nginx["proxy-body-size"].removesuffix("m")) * 2**20 < ServiceSettings.max_bytes + 1e6:
        findings.append("nginx refuses uploads")
    if nginx["proxy-buffering"] != "off":
        findings.append("nginx holds events back")
    return findings


def test_workers_follow_the_work():
    assert check_scaling(rendered("keda")) == check_scaling(rendered("large")) == []


def test_the_metric_is_one_of_ours():
    table = pytest.importorskip("jobs.metric_table", reason="the table of metrics is not merged yet")
    assert table.BY_NAME[METRIC].labels == ()


def test_the_job_labels_of_the_rules_are_the_names_of_the_monitors():
    """Rules know a scrape by `job`: the name of the Service, or NAMESPACE/NAME of a PodMonitor."""
    objects = rendered("observe")
    made = {"undegrade-api"} & {one["metadata"]["name"] for one in of_kind(objects, "Service")}
    made |= {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in of_kind(objects, "PodMonitor")}
    for rule in [rule for one in of_kind(objects, "PrometheusRule") for group in one["spec"]["groups"]
                 for rule in group["rules"]]:  # fmt: skip
        for regex in re.findall(r'job=~"([^"]+)"', rule["expr"]):
            assert any(re.fullmatch(regex, job) for job in made), rule["expr"]


def test_the_api_scales_between_two_and_ten_by_its_processor():
    spec = of_kind(rendered("base"), "HorizontalPodAutoscaler")[0]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
    budget = find(rendered("base"), "PodDisruptionBudget", "undegrade-api")["spec"]
    assert budget["maxUnavailable"] < spec["minReplicas"], "a drained node must leave an API"


def test_the_examples_let_long_answers_through():
    assert check_routes(rendered("examples")) == []


def down(objects: list[Object]) -> Object:
    return scaler(objects)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]


def trigger(objects: list[Object]) -> Object:
    return scaler(objects)["triggers"][0]["metadata"]


def nginx(objects: list[Object], name: str, value: str) -> None:
    of_kind(objects, "Ingress")[0]["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/{name}"] = value


MISTAKES = {
    "two at a time": ("keda", check_scaling, lambda all_: down(all_)["policies"][0].update(value=2)),
    "all at once": ("keda", check_scaling, lambda all_: down(all_)["policies"][0].update(type="Percent", value=100)),
    "a hasty one": ("keda", check_scaling, lambda all_: down(all_).update(stabilizationWindowSeconds=60)),
    "no fallback": ("keda", check_scaling, lambda all_: scaler(all_).pop("fallback")),
    "a sum": ("keda", check_scaling, lambda all_: trigger(all_).update(query=f"sum({METRIC})")),
    "the queue alone": ("keda", check_scaling, lambda all_: trigger(all_).update(query="sum(undegrade_jobs_queued)")),
    "silence is zero": ("keda", check_scaling, lambda all_: trigger(all_).pop("ignoreNullValues")),
    "events with an end": ("examples", check_routes, lambda all_: of_kind(all_, "HTTPRoute")[0]["spec"]["rules"][0][
        "timeouts"].update(request="600s")),
    "polls that are cut": ("examples", check_routes, lambda all_: of_kind(all_, "HTTPRoute")[0]["spec"]["rules"][1][
        "timeouts"].update(request="60s")),
    "nginx cuts polls": ("examples", check_routes, lambda all_: nginx(all_, "proxy-read-timeout", "60")),
    "nginx refuses photos": ("examples", check_routes, lambda all_: nginx(all_, "proxy-body-size", "8m")),
    "nginx buffers": ("examples", check_routes, lambda all_: nginx(all_, "proxy-buffering", "on")),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake):
    name, check, change = MISTAKES[mistake]
    assert check(mutated(name, change))
