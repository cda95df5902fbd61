"""The admission policy of scale-in, compiled and evaluated by a CEL interpreter: it lets a pod's cost through only."""

import copy
from collections.abc import Callable

import celpy
import pytest
from celpy.adapter import json_to_cel
from manifests import Object, component_of, find, pod_of, rendered, workloads

from cli.kubernetes_pods import COST

ACCOUNT = "system:serviceaccount:undegrade:undegrade-scale-in"
ENVIRONMENT = celpy.Environment()


def expressions() -> tuple[list[str], list[str]]:
    """The expressions of the policy in the overlay `keda`: who is meant, and what must be true."""
    spec = find(rendered("keda"), "ValidatingAdmissionPolicy", "undegrade-scale-in")["spec"]
    return tuple([one["expression"] for one in spec[key]] for key in ("matchConditions", "validations"))


def evaluate(expression: str, **names: object) -> bool:
    """Evaluates an expression of Common Expression Language (cel.dev)."""
    program = ENVIRONMENT.program(ENVIRONMENT.compile(expression))
    return bool(program.evaluate({name: json_to_cel(value) for name, value in names.items()}))


def worker_pod() -> Object:
    """A pod as the controller makes it from the template of the workers."""
    template = next(one for one in workloads(rendered("keda")) if component_of(one) == "worker")["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "undegrade-worker-1", "uid": "1"}
    annotations = {"example.org/of-another-program": "1"} | template["metadata"]["annotations"]
    metadata = template["metadata"] | {
        "annotations": annotations,
        "name": "undegrade-worker-1-a",
        "ownerReferences": [owner],
    }
    return copy.deepcopy({"metadata": metadata, "spec": pod_of({"spec": {"template": template}, "kind": "Deployment"})})


def admitted(change: Callable[[Object], object], old: Object | None = None) -> bool:
    """Whether the policy admits that the account changes a worker's pod like this."""
    old = old or worker_pod()
    new = copy.deepcopy(old)
    change(new)
    return all(evaluate(expression, object=new, oldObject=old) for expression in expressions()[1])


def cost(value: str) -> Callable[[Object], object]:
    return lambda pod: pod["metadata"]["annotations"].update({COST: value})


@pytest.mark.parametrize(("user", "meant"), [
    (ACCOUNT, True), ("system:serviceaccount:undegrade:default", False), ("kubernetes-admin", False),
])  # fmt: skip
def test_the_policy_is_about_one_account(user, meant):
    (condition,) = expressions()[0]
    assert evaluate(condition, request={"userInfo": {"username": user}}) is meant


def test_the_account_may_set_the_cost_of_a_worker_and_change_it():
    assert admitted(cost("100"))
    marked = worker_pod()
    cost("100")(marked)
    assert admitted(cost("-1"), marked)


FORBIDDEN = {
    "another annotation": lambda pod: pod["metadata"]["annotations"].update({"sidecar.example/inject": "true"}),
    "an annotation less": lambda pod: pod["metadata"]["annotations"].popitem(),
    "an annotation of another value": lambda pod: pod["metadata"]["annotations"].update(
        {"example.org/of-another-program": "2"}
    ),
    "no annotations": lambda pod: pod["metadata"].pop("annotations"),
    "another label": lambda pod: pod["metadata"]["labels"].update({"app.kubernetes.io/component": "api"}),
    "one more label": lambda pod: pod["metadata"]["labels"].update({"more": "x"}),
    "no labels": lambda pod: pod["metadata"].pop("labels"),
    "another image": lambda pod: pod["spec"]["containers"][0].update(image="evil"),
    "another deadline": lambda pod: pod["spec"].update(activeDeadlineSeconds=1),
    "one more toleration": lambda pod: pod["spec"].setdefault("tolerations", []).append({"operator": "Exists"}),
    "no owner": lambda pod: pod["metadata"].pop("ownerReferences"),
    "another owner": lambda pod: pod["metadata"]["ownerReferences"][0].update(name="other"),
    "a finalizer": lambda pod: pod["metadata"].update(finalizers=["example.org/never"]),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_account_may_change_nothing_else(what):
    assert not admitted(FORBIDDEN[what])


def test_the_account_may_not_touch_other_pods():
    other = worker_pod()
    other["metadata"]["labels"]["app.kubernetes.io/component"] = "api"
    assert not admitted(cost("100"), other)
