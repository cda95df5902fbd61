"""Sets the deletion cost of pods, through the API of the Kubernetes cluster that this process runs in.

It needs the permission to patch pods, and none to read them: the patch itself refuses a pod without the label.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import httpx

from cli.listening import shown_address
from models.errors import ControlsError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the token, the certificate authority and the namespace of a pod."""
COST = "controller.kubernetes.io/pod-deletion-cost"
CALL_S = 5.0
POD_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
LABEL = re.compile(r"(?P<name>[A-Za-z0-9./_-]+)=(?P<value>[A-Za-z0-9._-]*)")
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
"""The answer to a patch is the pod; its containers are not our business."""


class KubernetesError(Exception):
    """The API does not do what is asked; the message says why, and what to do."""


class Patched(Enum):
    """What became of a patch."""

    WRITTEN = "written"
    NO_SUCH_POD = "no such pod"
    NOT_A_WORKER = "not a worker"


@dataclass(frozen=True)
class Cluster:
    """The API, and this pod's account.  `folder` has the token, which Kubernetes replaces every hour."""

    url: str
    namespace: str
    folder: Path

    @classmethod
    def read(cls, folder: Path, environ: Mapping[str, str], namespace: str | None = None) -> "Cluster":
        """Returns the cluster that this process runs in.

        Raises:
            ControlsError: this is no pod, or it has no token.
        """
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not port.isdecimal():
            raise ControlsError(
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is not a pod. "
                "Run this command in Kubernetes (docs/kubernetes.md)."
            )
        for name in ("token", "ca.crt", *(() if namespace else ("namespace",))):
            if not (folder / name).is_file():
                raise ControlsError(
                    f"{folder / name} does not exist. Set automountServiceAccountToken: true for this pod, or give "
                    "--account."
                )
        found = namespace or (folder / "namespace").read_text().strip()
        if not POD_NAME.fullmatch(found):
            raise ControlsError(f"got the namespace {found!r}, expected lower-case letters, digits and hyphens.")
        return cls(f"https://{shown_address(host, int(port))}", found, folder)


def read_label(text: str) -> tuple[str, str]:
    """Returns the name and the value of a label.

    Raises:
        ControlsError: it is no NAME=VALUE.
    """
    if found := LABEL.fullmatch(text):
        return found["name"], found["value"]
    raise ControlsError(f"got --label {text!r}, expected NAME=VALUE, such as app.kubernetes.io/component=worker.")


class Pods:
    """The pods of a namespace that have this label.  Use it as a context manager."""

    def __init__(self, cluster: Cluster, label: tuple[str, str]) -> None:
        self.cluster, self.label = cluster, label
        trust = ssl.create_default_context(cafile=str(cluster.folder / "ca.crt"))
        # A proxy of the environment is for the Internet, not for the cluster
        self._client = httpx.AsyncClient(base_url=cluster.url, verify=trust, timeout=CALL_S, trust_env=False)

    async def __aenter__(self) -> "Pods":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def set_cost(self, pod: str, cost: int) -> Patched:
        """Write the deletion cost of a pod.

        Raises:
            KubernetesError: the API refuses or does not answer.
        """
        if not POD_NAME.fullmatch(pod):  # a name from Redis becomes a part of a path
            return Patched.NO_SUCH_POD
        try:
            answer = await self._client.patch(
                f"/api/v1/namespaces/{self.cluster.namespace}/pods/{pod}",
                params={"fieldManager": "undegrade-scale-in"},
                headers={"Authorization": f"Bearer {self._token()}", "Accept": METADATA_ONLY,
                         "Content-Type": "application/json-patch+json"},
                json=self._patch(cost),
            )  # fmt: skip
        except (httpx.HTTPError, OSError) as error:
            raise KubernetesError(
                f"the Kubernetes API at {self.cluster.url} does not answer: {str(error) or type(error).__name__}. "
                "Does a NetworkPolicy let this pod reach it?"
            ) from error
        return self._outcome(answer)

    def _token(self) -> str:
        return (self.cluster.folder / "token").read_text().strip()

    def _patch(self, cost: int) -> list[dict[str, str]]:
        name, value = self.label
        return [
            {"op": "test", "path": f"/metadata/labels/{_escaped(name)}", "value": value},
            {"op": "add", "path": f"/metadata/annotations/{_escaped(COST)}", "value": str(cost)},
        ]

    def _outcome(self, answer: httpx.Response) -> Patched:
        if answer.is_success:
            return Patched.WRITTEN
        if answer.status_code == 404:
            return Patched.NO_SUCH_POD
        if answer.status_code == 422:
            return Patched.NOT_A_WORKER
        why = _message(answer)
        if answer.status_code in (401, 403):
            why += ". The service account needs the verb patch on pods (deploy/k8s/components/scale-in)"
        raise KubernetesError(f"the Kubernetes API answers {answer.status_code}: {why}")


def _escaped(name: str) -> str:
    """Returns a name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
