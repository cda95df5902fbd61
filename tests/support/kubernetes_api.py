"""A server that speaks the patch of pods as the Kubernetes API does, over TLS, for one service account.

JSON patches (RFC 6902) are applied by the library jsonpatch.  As in Kubernetes, a patch whose `test` fails is 422, a
patch of another type is 415, a missing pod 404, a wrong token 401, and everything but the patch of pods 403.
"""

import copy
import datetime
import ipaddress
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import jsonpatch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

POD = re.compile(r"/api/v1/namespaces/(?P<namespace>[a-z0-9-]+)/pods/(?P<pod>[a-z0-9.-]+)")
COST = "controller.kubernetes.io/pod-deletion-cost"


class KubernetesApi:
    """The server, and the folder that Kubernetes mounts into a pod of the account."""

    def __init__(self, folder: Path, namespace: str = "photos") -> None:
        self.folder, self.namespace, self.token = folder, namespace, "first-token"
        self.pods: dict[str, dict] = {}
        self.patches: list[tuple[str, str]] = []
        self.failures: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.write_account()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                status, body = api.patch(self)
                self.reply(status, body)

            def do_GET(self) -> None:
                self.reply(403, status_of(403, "pods is forbidden: cannot list resource"))

            do_PUT = do_DELETE = do_POST = do_GET

            def reply(self, status: int, body: dict) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder.parent / "server.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.server_address[1]),
        }  # fmt: skip

    def write_account(self) -> None:
        authority, chain = certificates()
        (self.folder / "ca.crt").write_bytes(authority)
        (self.folder.parent / "server.pem").write_bytes(chain)
        (self.folder / "namespace").write_text(self.namespace)
        (self.folder / "token").write_text(self.token + "\n")

    def rotate_token(self, token: str) -> None:
        self.token = token
        (self.folder / "token").write_text(token)

    def add_pod(self, name: str, component: str = "worker", annotations: dict | None = None) -> None:
        labels = {"app.kubernetes.io/component": component}
        self.pods[name] = {
            "apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": component}]},
            "metadata": {"name": name, "labels": labels, "annotations": {COST: "0"} | (annotations or {})},
        }  # fmt: skip

    def cost(self, name: str) -> str:
        return self.pods[name]["metadata"]["annotations"][COST]

    def patch(self, request: BaseHTTPRequestHandler) -> tuple[int, dict]:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return 401, status_of(401, "Unauthorized")
        if self.failures:
            return (code := self.failures.pop(0)), status_of(code, "on purpose")
        found = POD.fullmatch(urlsplit(request.path).path)
        if not found or found["namespace"] != self.namespace:
            return 403, status_of(403, "pods is forbidden: cannot patch resource")
        if request.headers["Content-Type"] != "application/json-patch+json":
            return 415, status_of(415, "the body of the request was in an unknown format")
        if found["pod"] not in self.pods:
            return 404, status_of(404, f"pods {found['pod']!r} not found")
        try:
            patched = jsonpatch.apply_patch(copy.deepcopy(self.pods[found["pod"]]), json.loads(body))
        except (jsonpatch.JsonPatchException, ValueError):
            return 422, status_of(422, "the server rejected our request due to an error in our request")
        self.pods[found["pod"]] = patched
        self.patches.append((found["pod"], patched["metadata"]["annotations"][COST]))
        return 200, {"kind": "PartialObjectMetadata", "metadata": patched["metadata"]}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def status_of(code: int, message: str) -> dict:
    """The API's object for a failure."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def certificates() -> tuple[bytes, bytes]:
    """An authority for 127.0.0.1, and a server's certificate of it with its key; both as PEM."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)

    def builder(name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = (
        builder("kubernetes", authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        builder("apiserver", key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(serialization.Encoding.PEM), server.public_bytes(serialization.Encoding.PEM) + private
