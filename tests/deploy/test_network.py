"""The policies let through what the programs connect to, and nothing else."""

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from manifests import (
    NAMESPACE,
    Object,
    both_tests,
    component_of,
    containers,
    environment,
    find,
    labels_of,
    name_of,
    of_kind,
    pod_of,
    port_of,
    rendered,
    selects,
    workloads,
)

Way = tuple[str, int, str]
"""Where to (`component`, `namespace/pods`, or `anywhere`), the port, and the protocol."""
NAMES: set[Way] = {("kube-system/k8s-app=kube-dns", 53, "UDP"), ("kube-system/k8s-app=kube-dns", 53, "TCP")}
PUBLIC = "the public internet"
PRIVATE = (
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "fd00:ec2::254",
    "fe80::1",
)
CLIENTS, PROMETHEUS = "undegrade-clients=allowed/*", "monitoring/app.kubernetes.io/name=prometheus"


def leads_nowhere_private(block: Object) -> bool:
    inside, outside = ip_network(block["cidr"]), [ip_network(one) for one in block.get("except", [])]
    return not any(
        ip_address(one) in inside and not any(ip_address(one) in hole for hole in outside) for one in PRIVATE
    )


def peer_names(objects: list[Object], peer: Object) -> list[str]:
    """Our components that a peer selects, or its namespace and pods."""
    if "ipBlock" in peer:
        return [PUBLIC if leads_nowhere_private(peer["ipBlock"]) else "anywhere"]
    if "namespaceSelector" not in peer:
        return [component_of(one) for one in workloads(objects) if selects(peer["podSelector"], labels_of(one))]
    labels = peer["namespaceSelector"]["matchLabels"]
    pods = (peer.get("podSelector") or {}).get("matchLabels", {})
    namespace = labels.get("kubernetes.io/metadata.name") or ",".join(f"{key}={value}" for key, value in labels.items())
    return [f"{namespace}/{','.join(f'{key}={value}' for key, value in pods.items()) or '*'}"]


def allowed(objects: list[Object], workload: Object, direction: str) -> set[Way]:
    """All that the policies allow for the pods of a workload."""
    peers, found = {"ingress": "from", "egress": "to"}[direction], set()
    for policy in of_kind(objects, "NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], labels_of(workload)):
            for rule in policy["spec"].get(direction, []):
                names = [one for peer in rule.get(peers, []) for one in peer_names(objects, peer)]
                for entry in rule.get("ports", [{"port": 0}]):
                    port = entry["port"]
                    if isinstance(port, str):
                        port = port_of(pod_of(workload)["containers"][0], port)
                    for name in names if peers in rule else ["anywhere"]:
                        found.add((name, port, entry.get("protocol", "TCP")))
    return found


def needed(objects: list[Object], workload: Object) -> set[Way]:
    """What the programs of a workload connect to, from their commands and settings."""
    if component_of(workload) == "redis":
        return set()
    ways = set(NAMES)
    for container in containers(pod_of(workload)):
        values, command = environment(objects, container), container["args"][0]
        if command == "models":
            ways.add(("anywhere", 443, "TCP"))
            continue
        ways |= redis_way(objects, values["UNDEGRADE_REDIS_URL"])
        if command == "webhooks":
            ways.add((PUBLIC, 443, "TCP"))
        if command in ("api", "worker", "webhooks"):
            if values["UNDEGRADE_STORE_URL"].startswith("s3://"):
                ways.add(("anywhere", 443, "TCP"))
            if "OTEL_EXPORTER_OTLP_ENDPOINT" in values and command != "webhooks":
                target = urlsplit(values["OTEL_EXPORTER_OTLP_ENDPOINT"])
                ways.add((f"{target.hostname.split('.')[1]}/*", target.port, "TCP"))
        if command == "scale-in":
            ways |= {("anywhere", 443, "TCP"), ("anywhere", 6443, "TCP")}
    return ways


def redis_way(objects: list[Object], url: str) -> set[Way]:
    if url == "(secretKeyRef)":
        return {("anywhere", 6379, "TCP")}
    target = urlsplit(url.replace("$(REDIS_PASSWORD)", "x"))
    service = find(objects, "Service", re.escape(target.hostname or ""))
    assert target.port in {entry["port"] for entry in service["spec"]["ports"]}
    components = [component_of(one) for one in workloads(objects) if selects(
        {"matchLabels": service["spec"]["selector"]}, labels_of(one))]  # fmt: skip
    return {(component, target.port, "TCP") for component in components}


def wanted_visitors(objects: list[Object], workload: Object) -> set[Way]:
    """Who has to reach the pods of a workload."""
    ways: set[Way] = set()
    component, container = component_of(workload), pod_of(workload)["containers"][0]
    if component == "api":
        ways.add((CLIENTS, port_of(container, "http") or 0, "TCP"))
    if component == "redis":
        ways |= {(component_of(one), 6379, "TCP") for one in workloads(objects)
                 if any(way[0] == "redis" for way in needed(objects, one))}  # fmt: skip
    scraped = [one["spec"]["selector"] for one in of_kind(objects, "PodMonitor")]
    for monitor in of_kind(objects, "ServiceMonitor"):
        scraped += [{"matchLabels": one["spec"]["selector"]} for one in of_kind(objects, "Service")
                    if selects(monitor["spec"]["selector"], one["metadata"]["labels"])]  # fmt: skip
    if any(selects(selector, labels_of(workload)) for selector in scraped):
        ways.add((PROMETHEUS, port_of(container, "metrics") or 0, "TCP"))
    return ways


def check_outgoing(objects: list[Object]) -> list[str]:
    return [
        f"{name_of(one)}: allowed and not needed, or needed and not allowed: {sorted(difference)}"
        for one in workloads(objects)
        if (difference := allowed(objects, one, "egress") ^ needed(objects, one))
    ]


def check_incoming(objects: list[Object]) -> list[str]:
    return [
        f"{name_of(one)}: allowed and not wanted, or wanted and not allowed: {sorted(difference)}"
        for one in workloads(objects)
        if (difference := allowed(objects, one, "ingress") ^ wanted_visitors(objects, one))
    ]


def check_default(objects: list[Object]) -> list[str]:
    """Every pod of the namespace is closed in both directions, and each policy says which it opens."""
    policies = of_kind(objects, "NetworkPolicy")
    closing = [one for one in policies if one["spec"]["podSelector"] == {}
               and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
               and not one["spec"].get("ingress") and not one["spec"].get("egress")]  # fmt: skip
    findings = [] if closing else ["nothing denies by default"]
    for policy in policies:
        opened = {key.capitalize() for key in ("ingress", "egress") if key in policy["spec"]}
        if not opened <= set(policy["spec"]["policyTypes"]):
            findings.append(f"{name_of(policy)} opens what its policyTypes do not name")
    return findings


def test_redis_lies_in_our_namespace():
    assert find(rendered("base"), "Service", "undegrade-redis")["metadata"]["namespace"] == NAMESPACE


def policy(objects: list[Object], name: str) -> Object:
    return find(objects, "NetworkPolicy", name)["spec"]


MISTAKES = {
    "no way to Redis": ("check_outgoing", lambda all_: policy(all_, "worker")["egress"].pop(0)),
    "no names": ("check_outgoing", lambda all_: policy(all_, "worker")["egress"].pop(1)),
    "the whole Internet": ("check_outgoing", lambda all_: policy(all_, "worker")["egress"].append({})),
    "a store without a way": ("check_outgoing", lambda all_: find(all_, "ConfigMap", "undegrade")["data"].update(
        UNDEGRADE_STORE_URL="s3://bucket/images")),
    "traces without a way": ("check_outgoing", lambda all_: find(all_, "ConfigMap", "undegrade")["data"].update(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://otel.monitoring.svc:4318")),
    "an API nobody reaches": ("check_incoming", lambda all_: policy(all_, "api").pop("ingress")),
    "an API for all": ("check_incoming", lambda all_: policy(all_, "api")["ingress"][0].pop("from")),
    "Redis for anybody": ("check_incoming", lambda all_: policy(all_, "redis")["ingress"][0].pop("from")),
    "Redis without scale-in": ("check_incoming", lambda all_: policy(all_, "redis")["ingress"][0]["from"][0]
        ["podSelector"]["matchExpressions"][1].update(values=["api", "worker"])),
    "metrics nobody reads": ("check_incoming", lambda all_: policy(all_, "metrics")["ingress"].clear()),
    "workers nobody scrapes": ("check_incoming", lambda all_: all_.remove(
        find(all_, "PodMonitor", "undegrade-worker"))),
    "no default": ("check_default", lambda all_: all_.remove(find(all_, "NetworkPolicy", "default-deny"))),
    "a default for one way": ("check_default", lambda all_: policy(all_, "default-deny").update(
        policyTypes=["Ingress"])),
}  # fmt: skip


test_nothing_is_found, test_a_mistake_is_found = both_tests(globals(), MISTAKES)
