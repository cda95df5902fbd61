"""Pods comply with PodSecurity `restricted`, have sane resources, end in time, and are given time to start."""

import tomllib

from manifests import (
    ROOT,
    Object,
    all_containers,
    both_tests,
    component_of,
    containers,
    environment,
    find,
    name_of,
    of_kind,
    pod_of,
    quantity,
    rendered,
    workloads,
)

from cli.service_run import WORKER_END_S
from cli.settings import Settings
from jobs.object_store import CALL_S
from service.negotiation import MAX_WAIT_S
from service.server import GRACE_S
from worker.watchdog import SILENT_S, SILENT_WHILE_LOADING_S

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
"""What `restricted` allows; `image` since Kubernetes 1.33."""
ENDPOINTS_S = 5
"""Time until proxies and balancers have forgotten a pod that ends."""
LONGEST_STEP_S = SILENT_S["cuda"]
"""A step that takes longer on a GPU is taken for a hang."""
WEIGHTS_BYTES, DISK_BYTES_PER_S = 6e9, 10e6
"""The largest bundle, from a slow network disk."""


def check_restricted(objects: list[Object]) -> list[str]:
    """The rules of the profile `restricted`, and those of `baseline` that it includes."""
    findings = []
    for workload in workloads(objects):
        pod, place = pod_of(workload), name_of(workload)
        context = pod.get("securityContext", {})
        findings += [f"{place}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
        findings += [f"{place}: sysctls"] if context.get("sysctls") else []
        for volume in pod.get("volumes", []):
            if kinds := set(volume) - {"name"} - VOLUMES:
                findings.append(f"{place}: volume of type {kinds}")
        for container in containers(pod):
            findings += [f"{place}, {container['name']}: {why}" for why in unrestricted(context, container)]
    return findings


def unrestricted(pod_context: Object, container: Object) -> list[str]:
    own = container.get("securityContext", {})
    both = pod_context | own
    capabilities = own.get("capabilities", {})
    wrong = {
        "privileged": own.get("privileged", False),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot": both.get("runAsNonRoot") is not True,
        "runAsUser": both.get("runAsUser") == 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
        "capabilities.drop": "ALL" not in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "procMount": own.get("procMount", "Default") != "Default",
        "hostPort": any("hostPort" in port for port in container.get("ports", [])),
        "probe host": any(
            "host" in container.get(probe, {}).get("httpGet", {})
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        ),
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def check_hardened(objects: list[Object]) -> list[str]:
    """Beyond `restricted`: nothing can be written except for named folders, and no token lies around."""
    findings = []
    accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
    privileged = {subject["name"] for one in of_kind(objects, "RoleBinding") for subject in one["subjects"]}
    for workload in workloads(objects):
        pod, place = pod_of(workload), name_of(workload)
        token = pod.get("automountServiceAccountToken", accounts[pod["serviceAccountName"]].get(
            "automountServiceAccountToken", True))  # fmt: skip
        findings += [f"{place}: token"] if token != (pod["serviceAccountName"] in privileged) else []
        # Service links make variables such as UNDEGRADE_API_PORT, which are no settings
        findings += [f"{place}: enableServiceLinks"] if pod.get("enableServiceLinks") is not False else []
        findings += [f"{place}: an emptyDir without a limit" for volume in pod.get("volumes", [])
                     if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {})]  # fmt: skip
        for container in containers(pod):
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                findings.append(f"{place}, {container['name']}: readOnlyRootFilesystem")
            if "/tmp" not in {mount["mountPath"] for mount in container.get("volumeMounts", [])}:
                findings.append(f"{place}, {container['name']}: /tmp cannot be written")
    namespace = of_kind(objects, "Namespace")[0]["metadata"]["labels"]
    findings += [
        f"the namespace: {mode}" for mode in ("enforce", "warn", "audit")
        if namespace.get(f"pod-security.kubernetes.io/{mode}") != "restricted"
    ]  # fmt: skip
    return findings


def check_roles(objects: list[Object]) -> list[str]:
    """Nobody may do more than patch pods, and the admission policy names exactly who may."""
    allowed = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
    findings = [f"{name_of(one)}: {rule}" for one in of_kind(objects, "Role") for rule in one["rules"]
                if rule != allowed]  # fmt: skip
    findings += [
        f"{name_of(one)} is for all namespaces" for one in of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    ]
    bound = {f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
             for one in of_kind(objects, "RoleBinding") for subject in one["subjects"]}  # fmt: skip
    guarded = {condition["expression"].split('"')[1] for one in of_kind(objects, "ValidatingAdmissionPolicy")
               for condition in one["spec"]["matchConditions"]}  # fmt: skip
    return findings + [f"{user}: role without a policy, or policy without a role" for user in bound ^ guarded]


def check_resources(objects: list[Object]) -> list[str]:
    findings = []
    for place, _, container in all_containers(objects):
        requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
        for resource in sorted({"cpu", "memory", *requests, *limits}):
            if resource not in requests or resource not in limits:
                findings.append(f"{place}: {resource} needs a request and a limit")
            elif quantity(requests[resource]) > quantity(limits[resource]):
                findings.append(f"{place}: requests more {resource} than its limit")
            elif "/" in resource and requests[resource] != limits[resource]:
                findings.append(f"{place}: {resource} cannot be overcommitted")
    return findings


def check_images(objects: list[Object]) -> list[str]:
    """Images have no registry, which is the operator's, and the version of this tree."""
    images = [(place, container["image"]) for place, _, container in all_containers(objects)]
    images += [(name_of(one), volume["image"]["reference"]) for one in workloads(objects)
               for volume in pod_of(one).get("volumes", []) if "image" in volume]  # fmt: skip
    findings = []
    for place, image in images:
        name, _, tag = image.partition(":")
        if "." in name.partition("/")[0] or not tag or tag == "latest":
            findings.append(f"{place}: {image}")
        if name.startswith("undegrade-") and tag.removesuffix("-cuda") != VERSION:
            findings.append(f"{place}: {image} is not version {VERSION}")
    return findings


def pre_stop_s(container: Object) -> float:
    return container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


def check_ends(objects: list[Object]) -> list[str]:
    """SIGTERM arrives when nobody waits any more, and SIGKILL only when the work is done."""
    findings = []
    for workload in of_kind(objects, "Deployment"):
        pod, place = pod_of(workload), name_of(workload)
        container = pod["containers"][0]
        grace_s, settings = pod["terminationGracePeriodSeconds"], environment(objects, container)
        if component_of(workload) == "api":
            if pre_stop_s(container) < MAX_WAIT_S + ENDPOINTS_S:
                findings.append(f"{place}: preStop is shorter than the longest poll")
            if grace_s < pre_stop_s(container) + GRACE_S + 10:
                findings.append(f"{place}: is killed before its own grace ends")
        if component_of(workload) == "worker":
            own_s = float(settings.get("UNDEGRADE_GRACE_S", Settings.model_fields["grace_s"].default))
            if own_s < LONGEST_STEP_S + CALL_S:
                findings.append(f"{place}: UNDEGRADE_GRACE_S is shorter than a step and the upload of its result")
            if grace_s < pre_stop_s(container) + own_s + WORKER_END_S + 10:
                findings.append(f"{place}: is killed before UNDEGRADE_GRACE_S and its end")
            if workload["spec"]["progressDeadlineSeconds"] < grace_s + window_s(container, "startupProbe"):
                findings.append(f"{place}: a slow rollout counts as failed")
    return findings


def window_s(container: Object, probe: str) -> float:
    """How long a probe may fail."""
    return container[probe]["periodSeconds"] * container[probe]["failureThreshold"]


def check_starts(objects: list[Object]) -> list[str]:
    """Each has its three probes; a worker that loads is not killed, neither by the kubelet nor by its own watchdog."""
    findings = []
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        container, place = pod_of(workload)["containers"][0], name_of(workload)
        missing = [one for one in ("startupProbe", "livenessProbe", "readinessProbe") if one not in container]
        findings += [f"{place}: no {one}" for one in missing]
        if not missing and window_s(container, "livenessProbe") < 20:
            findings.append(f"{place}: a short pause counts as death")
        loading_s = max(SILENT_WHILE_LOADING_S, WEIGHTS_BYTES / DISK_BYTES_PER_S)
        if component_of(workload) == "worker" and not missing and window_s(container, "startupProbe") < loading_s:
            findings.append(f"{place}: a worker that loads is killed")
    return findings


def check_rollouts(objects: list[Object]) -> list[str]:
    """A worker is replaced after its end, since there may be no second GPU; the API always answers."""
    findings = []
    wanted = {"worker": (0, 1), "api": (1, 0)}
    for workload in of_kind(objects, "Deployment"):
        update = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        pair = update.get("maxSurge"), update.get("maxUnavailable")
        if pair != wanted.get(component_of(workload), pair):
            findings.append(f"{name_of(workload)}: maxSurge and maxUnavailable are {pair}")
        scalers = [one["spec"]["scaleTargetRef"]["name"]
                   for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")]  # fmt: skip
        if ("replicas" in workload["spec"]) == (workload["metadata"]["name"] in scalers):
            findings.append(f"{name_of(workload)}: needs either replicas or one autoscaler")
    return findings


def worker(objects: list[Object]) -> Object:
    return pod_of(find(objects, "Deployment", "undegrade-worker"))


def first(objects: list[Object]) -> Object:
    return worker(objects)["containers"][0]


def api(objects: list[Object]) -> Object:
    return pod_of(find(objects, "Deployment", "undegrade-api"))


MISTAKES = {
    "privileged": ("check_restricted", lambda a: first(a)["securityContext"].update(privileged=True)),
    "escalation": ("check_restricted", lambda a: first(a)["securityContext"].pop("allowPrivilegeEscalation")),
    "capability": ("check_restricted", lambda a: first(a)["securityContext"].update(
        capabilities={"add": ["SYS_PTRACE"]})),
    "root": ("check_restricted", lambda a: worker(a)["securityContext"].update(runAsUser=0)),
    "any user": ("check_restricted", lambda a: worker(a)["securityContext"].pop("runAsNonRoot")),
    "no seccomp": ("check_restricted", lambda a: worker(a)["securityContext"].pop("seccompProfile")),
    "the host's network": ("check_restricted", lambda a: worker(a).update(hostNetwork=True)),
    "the host's files": ("check_restricted", lambda a: worker(a)["volumes"].append({"name": "x", "hostPath": {}})),
    "a token": ("check_hardened", lambda a: worker(a).pop("automountServiceAccountToken")
                or find(a, "ServiceAccount", "undegrade-worker").pop("automountServiceAccountToken")),
    "no token": ("check_hardened", lambda a: pod_of(find(a, "Deployment", "undegrade-scale-in")).update(
        automountServiceAccountToken=False)),
    "service links": ("check_hardened", lambda a: worker(a).pop("enableServiceLinks")),
    "files anywhere": ("check_hardened", lambda a: first(a)["securityContext"].update(readOnlyRootFilesystem=False)),
    "a disk without end": ("check_hardened", lambda a: worker(a)["volumes"][0].update(emptyDir={})),
    "a lax namespace": ("check_hardened", lambda a: of_kind(a, "Namespace")[0]["metadata"]["labels"].update(
        {"pod-security.kubernetes.io/enforce": "baseline"})),
    "a wide role": ("check_roles", lambda a: find(a, "Role", "undegrade-scale-in")["rules"][0].update(
        verbs=["patch", "list"])),
    "a policy for another": ("check_roles", lambda a: find(a, "ValidatingAdmissionPolicy", "undegrade-scale-in")["spec"]
        ["matchConditions"][0].update(expression='request.userInfo.username == "x"')),
    "too large a request": ("check_resources", lambda a: first(a)["resources"]["requests"].update(memory="64Gi")),
    "no limit": ("check_resources", lambda a: first(a)["resources"]["limits"].pop("memory")),
    "half a GPU more": ("check_resources", lambda a: first(a)["resources"]["limits"].update({"nvidia.com/gpu": "2"})),
    "the latest": ("check_images", lambda a: first(a).update(image="undegrade-worker:latest")),
    "another version": ("check_images", lambda a: first(a).update(image="undegrade-worker:0.0.9")),
    "a registry": ("check_images", lambda a: first(a).update(image=f"registry.example/undegrade-worker:{VERSION}")),
    "polls that are cut": ("check_ends", lambda a: api(a)["containers"][0]["lifecycle"]["preStop"]["sleep"].update(
        seconds=30)),
    "an early kill of the API": ("check_ends", lambda a: api(a).update(terminationGracePeriodSeconds=70)),
    "an early kill of a worker": ("check_ends", lambda a: worker(a).update(terminationGracePeriodSeconds=300)),
    "jobs that are put back": ("check_ends", lambda a: find(a, "ConfigMap", "undegrade")["data"].update(
        UNDEGRADE_GRACE_S="30")),
    "an impatient rollout": ("check_ends", lambda a: find(a, "Deployment", "undegrade-worker")["spec"].update(
        progressDeadlineSeconds=600)),
    "no liveness": ("check_starts", lambda a: first(a).pop("livenessProbe")),
    "a short start": ("check_starts", lambda a: first(a)["startupProbe"].update(failureThreshold=30)),
    "a hasty death": ("check_starts", lambda a: first(a)["livenessProbe"].update(failureThreshold=1)),
    "a second GPU": ("check_rollouts", lambda a: find(a, "Deployment", "undegrade-worker")["spec"]["strategy"].pop(
        "rollingUpdate")),
    "two owners of replicas": ("check_rollouts", lambda a: find(a, "Deployment", "undegrade-worker")["spec"].update(
        replicas=3)),
}  # fmt: skip


test_nothing_is_found, test_a_mistake_is_found = both_tests(globals(), MISTAKES)


def test_every_gpu_overlay_asks_for_one_device_and_uses_it():
    for name, resource in (("gpu", "nvidia.com/gpu"), ("mig", "nvidia.com/mig-2g.20gb"), ("keda", "nvidia.com/gpu")):
        objects = rendered(name)
        devices = {key: value for key, value in first(objects)["resources"]["limits"].items() if "/" in key}
        assert devices == {resource: "1"}
        assert environment(objects, first(objects))["UNDEGRADE_DEVICE"] == "cuda"
        assert first(objects)["image"].endswith("-cuda")
    memory_gib = float(environment(rendered("mig"), first(rendered("mig")))["UNDEGRADE_DEVICE_MEMORY_GIB"])
    assert memory_gib < 20, "the slice has 20 GB"
