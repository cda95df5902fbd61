"""Every object has a valid schema, every reference leads somewhere, and every selector selects something."""

import json
import re
from functools import cache

import jsonschema
import kubernetes_validate
from manifests import (
    NAMESPACE,
    Object,
    all_containers,
    both_tests,
    containers,
    find,
    labels_of,
    name_of,
    of_kind,
    operators_page,
    pod_of,
    port_of,
    rendered,
    selects,
    workloads,
)

KUBERNETES = "1.36"
CLUSTER_SCOPED = ("Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
DURATION = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h)){1,4}$"}
TEXT = {"type": "string"}
SELECTOR = {"type": "object", "minProperties": 1}


def closed(required: str, **properties: object) -> Object:
    """The schema of an object that has nothing but these properties."""
    return {
        "type": "object", "properties": properties, "required": required.split(), "additionalProperties": False,
    }  # fmt: skip


ENDPOINT = closed("port", port=NAME, path={"const": "/metrics"}, interval=DURATION, scrapeTimeout=DURATION)
RULE = closed(
    "expr", alert={"type": "string"}, record={"type": "string"}, expr={"type": "string"}, labels={"type": "object"},
    annotations={"type": "object"}, **{"for": DURATION, "keep_firing_for": DURATION},
)  # fmt: skip
GROUP = closed("name rules", name={"type": "string"}, interval=DURATION, rules={"type": "array", "items": RULE})
TRIGGER = closed(
    "type metadata", type={"const": "prometheus"}, metricType={"enum": ["AverageValue", "Value"]},
    metadata=closed(
        "serverAddress query threshold",
        **{name: TEXT for name in ["serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues"]},
    ),
)  # fmt: skip
COUNT = {"type": "integer", "minimum": 1}
SCALED_OBJECT = closed(
    "scaleTargetRef triggers", scaleTargetRef=closed("name", apiVersion={}, kind={}, name=NAME), minReplicaCount=COUNT,
    maxReplicaCount=COUNT, pollingInterval=COUNT, triggers={"type": "array", "items": TRIGGER, "minItems": 1},
    fallback=closed(
        "failureThreshold replicas", failureThreshold=COUNT, replicas=COUNT,
        behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
    ),
    advanced=closed("horizontalPodAutoscalerConfig", horizontalPodAutoscalerConfig=closed("behavior", behavior={})),
)  # fmt: skip
ROUTE_RULE = closed(
    "matches backendRefs", matches={"type": "array"}, timeouts=closed("", request=DURATION, backendRequest=DURATION),
    backendRefs={"type": "array", "items": closed("name port", name=NAME, port=COUNT)},
)  # fmt: skip
CUSTOM = {
    "keda.sh/v1alpha1 ScaledObject": SCALED_OBJECT,
    "monitoring.coreos.com/v1 ServiceMonitor": closed(
        "selector endpoints", selector=SELECTOR, endpoints={"type": "array", "items": ENDPOINT}
    ),
    "monitoring.coreos.com/v1 PodMonitor": closed(
        "selector podMetricsEndpoints", selector=SELECTOR, podMetricsEndpoints={"type": "array", "items": ENDPOINT}
    ),
    "monitoring.coreos.com/v1 PrometheusRule": closed("groups", groups={"type": "array", "items": GROUP}),
    "gateway.networking.k8s.io/v1 HTTPRoute": closed(
        "parentRefs rules", parentRefs={"type": "array"}, hostnames={"type": "array"},
        rules={"type": "array", "items": ROUTE_RULE},
    ),
}  # fmt: skip
"""The parts of the custom resources that these manifests use."""


@cache
def invalid(text: str) -> str:
    """Why an object, as JSON, is not valid; "" if it is.  Most objects are the same in several renderings."""
    one = json.loads(text)
    custom = CUSTOM.get(f"{one['apiVersion']} {one['kind']}")
    try:
        if custom:
            jsonschema.validate(one["spec"], custom)
        else:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return str(error.message)
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes {KUBERNETES} knows no such kind"
    return ""


def check_schemas(objects: list[Object]) -> list[str]:
    findings = {name_of(one): invalid(json.dumps(one, sort_keys=True)) for one in objects}
    return [f"{name}: {why}" for name, why in findings.items() if why]


def check_namespaces(objects: list[Object]) -> list[str]:
    """Everything lies in our namespace, and each object appears once."""
    findings = [
        f"{name_of(one)} lies in {one['metadata'].get('namespace')}"
        for one in objects
        if one["metadata"].get("namespace") != (None if one["kind"] in CLUSTER_SCOPED else NAMESPACE)
    ]
    names = [name_of(one) for one in objects]
    return findings + [f"{name} appears twice" for name in set(names) if names.count(name) > 1]


def check_selectors(objects: list[Object]) -> list[str]:
    pods = [labels_of(workload) for workload in workloads(objects)]
    findings = []

    def must_select(place: str, selector: Object, labels: list[dict[str, str]]) -> None:
        if not any(selects(selector, one) for one in labels):
            findings.append(f"{place} selects nothing")

    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        must_select(name_of(workload), workload["spec"]["selector"], [labels_of(workload)])
        others = [labels_of(one) for one in workloads(objects) if one is not workload]
        if any(selects(workload["spec"]["selector"], one) for one in others):
            findings.append(f"{name_of(workload)} selects the pods of another workload")
        for spread in pod_of(workload).get("topologySpreadConstraints", []):
            must_select(f"{name_of(workload)}: the spread", spread["labelSelector"], [labels_of(workload)])
    for service in of_kind(objects, "Service"):
        must_select(name_of(service), {"matchLabels": service["spec"]["selector"]}, pods)
    for one in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        must_select(name_of(one), one["spec"]["selector"], pods)
    for one in of_kind(objects, "ServiceMonitor"):
        must_select(
            name_of(one), one["spec"]["selector"], [s["metadata"]["labels"] for s in of_kind(objects, "Service")]
        )
    for policy in of_kind(objects, "NetworkPolicy"):
        must_select(name_of(policy), policy["spec"]["podSelector"], pods)
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    must_select(f"{name_of(policy)}: a peer", peer["podSelector"], pods)
    return findings


def check_ports(objects: list[Object]) -> list[str]:
    """Every port that is named somewhere is a port of a container there."""
    findings = []

    def must_have(place: str, port: str | int, selector: Object) -> None:
        found = [one for one in workloads(objects) if selects(selector, labels_of(one))]
        for workload in found:
            if not any(port_of(one, port) for one in containers(pod_of(workload))):
                findings.append(f"{place}: {name_of(workload)} has no port {port}")

    for service in of_kind(objects, "Service"):
        for entry in service["spec"]["ports"]:
            must_have(name_of(service), entry["targetPort"], {"matchLabels": service["spec"]["selector"]})
    for monitor in of_kind(objects, "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            must_have(name_of(monitor), endpoint["port"], monitor["spec"]["selector"])
    for monitor in of_kind(objects, "ServiceMonitor"):
        for service in of_kind(objects, "Service"):
            names = {entry["name"] for entry in service["spec"]["ports"]}
            wanted = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"]) and not wanted <= names:
                findings.append(f"{name_of(monitor)}: {name_of(service)} has no port {wanted - names}")
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            for entry in rule["ports"]:
                must_have(name_of(policy), entry["port"], policy["spec"]["podSelector"])
    for place, _, container in all_containers(objects):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            action = container.get(probe, {})
            for kind in ("httpGet", "tcpSocket"):
                if kind in action and not port_of(container, action[kind]["port"]):
                    findings.append(f"{place}: {probe} asks the port {action[kind]['port']}, which it has not")
    return findings


def operators_objects() -> set[str]:
    """The objects that docs/kubernetes.md asks the operator to make: rows `| Secret `name` | ...`."""
    rows = re.findall(r"^\| (Secret|ConfigMap) `([a-z0-9-]+)`", operators_page(), re.MULTILINE)
    return {f"{kind} {name}" for kind, name in rows}


def references(objects: list[Object]) -> list[tuple[str, str]]:
    """Who refers to which object, as `Kind name`."""
    found = []
    for workload in workloads(objects):
        place, pod = name_of(workload), pod_of(workload)
        found.append((place, f"ServiceAccount {pod.get('serviceAccountName', 'default')}"))
        found += [(place, f"Secret {one['name']}") for one in pod.get("imagePullSecrets", [])]
        if workload["kind"] == "StatefulSet":
            found.append((place, f"Service {workload['spec']['serviceName']}"))
        for volume in pod.get("volumes", []):
            for key, kind, name in (
                ("configMap", "ConfigMap", "name"),
                ("secret", "Secret", "secretName"),
                ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
            ):
                found += [(place, f"{kind} {volume[key][name]}")] if key in volume else []
        for container in containers(pod):
            sources = [*container.get("envFrom", [])]
            sources += [entry["valueFrom"] for entry in container.get("env", []) if "valueFrom" in entry]
            for source in sources:
                for key, value in source.items():
                    kind = {"configMap": "ConfigMap", "secret": "Secret"}.get(re.sub("(Key)?Ref$", "", key))
                    found += [(place, f"{kind} {value['name']}")] if kind else []
    for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        found.append((name_of(one), f"{target['kind']} {target['name']}"))
    for one in of_kind(objects, "RoleBinding"):
        found.append((name_of(one), f"{one['roleRef']['kind']} {one['roleRef']['name']}"))
        found += [(name_of(one), f"{subject['kind']} {subject['name']}") for subject in one["subjects"]]
    for one in of_kind(objects, "ValidatingAdmissionPolicyBinding"):
        found.append((name_of(one), f"ValidatingAdmissionPolicy {one['spec']['policyName']}"))
    return found


def check_references(objects: list[Object]) -> list[str]:
    known = {name_of(one) for one in objects} | operators_objects()
    return [
        f"{place} refers to {what}, which does not exist" for place, what in references(objects) if what not in known
    ]


def check_mounts(objects: list[Object]) -> list[str]:
    """Every volume that is mounted exists, and every volume is mounted."""
    findings = []
    for workload in workloads(objects):
        pod = pod_of(workload)
        volumes = [one["name"] for one in pod.get("volumes", [])]
        volumes += [one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])]
        mounted = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])}
        findings += [f"{name_of(workload)}: volume {name}" for name in set(volumes) ^ mounted]
    return findings


def test_examples_are_valid_and_lead_to_the_api():
    objects = rendered("examples")
    assert check_schemas(objects) == check_namespaces(objects) == []
    service = find(rendered("base"), "Service", "undegrade-api")
    ports = {entry["port"] for entry in service["spec"]["ports"]} | {p["name"] for p in service["spec"]["ports"]}
    backends = [ref for route in of_kind(objects, "HTTPRoute") for rule in route["spec"]["rules"]
                for ref in rule["backendRefs"]]  # fmt: skip
    assert {(one["name"], one["port"] in ports) for one in backends} == {("undegrade-api", True)}
    rules = [
        path for one in of_kind(objects, "Ingress") for rule in one["spec"]["rules"] for path in rule["http"]["paths"]
    ]
    found = {(one["backend"]["service"]["name"], one["backend"]["service"]["port"]["name"] in ports) for one in rules}
    assert found == {("undegrade-api", True)}


def api(objects: list[Object]) -> Object:
    return find(objects, "Deployment", "undegrade-api")


MISTAKES = {
    "an unknown field": ("check_schemas", lambda all_: api(all_)["spec"].update(replica=2)),
    "a number as text": ("check_schemas", lambda all_: api(all_)["spec"].update(revisionHistoryLimit="3")),
    "a field KEDA does not know": (
        "check_schemas", lambda all_: find(all_, "ScaledObject", "undegrade-worker")["spec"].update(coolDown=3)
    ),
    "a kind nobody knows": ("check_schemas", lambda all_: all_[0].update(kind="Namespaces")),
    "no namespace": ("check_namespaces", lambda all_: api(all_)["metadata"].pop("namespace")),
    "an object twice": ("check_namespaces", lambda all_: all_.append(api(all_))),
    "labels that changed": ("check_selectors", lambda all_: labels_of(api(all_)).update(
        {"app.kubernetes.io/component": "web"})),
    "a selector of everything": ("check_selectors", lambda all_: api(all_)["spec"].update(
        selector={"matchLabels": {"app.kubernetes.io/name": "undegrade"}})),
    "a budget for nobody": ("check_selectors", lambda all_: find(all_, "PodDisruptionBudget", "undegrade-api")["spec"]
        ["selector"]["matchLabels"].update({"app.kubernetes.io/name": "other"})),
    "a spread of others": ("check_selectors", lambda all_: pod_of(api(all_))["topologySpreadConstraints"][0].update(
        labelSelector={"matchLabels": {"app.kubernetes.io/component": "worker"}})),
    "a monitor of nothing": ("check_selectors", lambda all_: find(all_, "ServiceMonitor", "undegrade-api")["spec"]
        .update(selector={"matchLabels": {"app": "x"}})),
    "a policy for nobody": ("check_selectors", lambda all_: find(all_, "NetworkPolicy", "redis")["spec"].update(
        podSelector={"matchLabels": {"app": "x"}})),
    "a port by another name": ("check_ports", lambda all_: find(all_, "Service", "undegrade-api")["spec"]["ports"][0]
        .update(targetPort="web")),
    "a probe of another port": ("check_ports", lambda all_: pod_of(api(all_))["containers"][0]["livenessProbe"]
        ["httpGet"].update(port="web")),
    "a monitor of another port": ("check_ports", lambda all_: find(all_, "PodMonitor", "undegrade-worker")["spec"]
        ["podMetricsEndpoints"][0].update(port="web")),
    "a Secret nobody makes": ("check_references", lambda all_: pod_of(api(all_))["containers"][0]["env"][1]["valueFrom"]
        ["secretKeyRef"].update(name="undegrade-redes")),
    "an account nobody makes": ("check_references", lambda all_: pod_of(api(all_)).update(serviceAccountName="api")),
    "a scaler of another name": ("check_references", lambda all_: find(all_, "ScaledObject", "undegrade-worker")["spec"]
        ["scaleTargetRef"].update(name="worker")),
    "a settings file without its hash": ("check_references", lambda all_: pod_of(api(all_))["containers"][0]["envFrom"]
        [0]["configMapRef"].update(name="undegrade")),
    "a volume of another name": ("check_mounts", lambda all_: pod_of(api(all_))["volumes"][0].update(name="temp")),
}  # fmt: skip


test_nothing_is_found, test_a_mistake_is_found = both_tests(globals(), MISTAKES)
