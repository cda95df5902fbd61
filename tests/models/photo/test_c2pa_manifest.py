"""Signed results, read back by the reader of the C2PA library."""

import datetime
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from photo_samples import encoded
from PIL import Image

from models.errors import ProvenanceError
from models.photo.c2pa_manifest import Parent, Signer, read_signer, signed
from models.photo.marking import Provenance, encode_marked
from models.photo.provenance import Mark
from models.photo.read import FORMATS, read_photo

c2pa = pytest.importorskip("c2pa", reason="needs the extra provenance")
x509 = pytest.importorskip("cryptography.x509")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
MARK = Mark(bundle="autodir-small", bundle_version="6", repairs=("noise",), drawn=True)


@pytest.fixture(scope="session")
def signer():
    """A signer whose certificate nobody trusts, of the kind that C2PA asks for."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text):
        return x509.Name([
            x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
        ])  # fmt: skip

    def certificate(subject, key, issuer, issuer_key, *extensions):
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=name(issuer), subject_name=name(subject), public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=30),
        )  # fmt: skip
        identifiers = [
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
        ]
        for extension, critical in (*extensions, *identifiers):
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def usage(**allowed):
        kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
        return x509.KeyUsage(**{kind: allowed.get(kind, False) for kind in kinds}), True

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    of_root = certificate("root", root, "root", root, (x509.BasicConstraints(True, None), True),
                          usage(key_cert_sign=True))  # fmt: skip
    of_leaf = certificate("leaf", leaf, "root", root, (x509.BasicConstraints(False, None), True),
                          usage(digital_signature=True),
                          (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False))  # fmt: skip
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    return Signer(certificate=of_leaf + of_root, key=key.decode())


def manifest_of(data, format):
    reader = c2pa.Reader(f"image/{format}", io.BytesIO(data))
    store = json.loads(reader.json())
    return store, store["manifests"][store["active_manifest"]]


def edits(manifest):
    actions = next(entry for entry in manifest["assertions"] if entry["label"].startswith("c2pa.actions"))
    return {entry["action"]: entry for entry in actions["data"]["actions"]}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_signed_and_says_what_was_done(signer, format):
    photo = encoded(PICTURE, "jpeg")
    marking = Provenance(policy="c2pa", signer=signer).marking(MARK, Parent(data=photo, format="jpeg"))
    data = encode_marked(read_photo(photo), format, None, marking)
    store, manifest = manifest_of(data, format)
    assert store["validation_state"] == "Valid"  # all but the trust in our certificate
    assert {entry["code"] for entry in store["validation_status"]} == {"signingCredential.untrusted"}
    edited = edits(manifest)["c2pa.edited"]
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert edited["description"] == "bundle autodir-small 6; repaired noise"
    assert [entry["relationship"] for entry in manifest["ingredients"]] == ["parentOf"]
    assert read_photo(data).pixels.shape == (48, 64, 3)
    assert b"algorithmicMedia" in data or b"AlgorithmicMedia" in data  # the XMP is there, too


def test_a_changed_pixel_breaks_the_signature(signer):
    data = bytearray(
        signed(encoded(PICTURE, "png"), "png", MARK, signer, Parent(data=encoded(PICTURE, "png"), format="png"))
    )
    data[-60] ^= 1
    store, _ = manifest_of(bytes(data), "png")
    assert store["validation_state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in {entry["code"] for entry in store["validation_status"]}


def test_credentials_of_the_photo_survive(signer):
    png = encoded(PICTURE, "png")
    first = signed(png, "png", MARK, signer, Parent(data=png, format="png"))
    second = signed(encoded(PICTURE, "webp"), "webp", MARK, signer, Parent(data=first, format="png"))
    store, manifest = manifest_of(second, "webp")
    assert len(store["manifests"]) == 2
    assert manifest["ingredients"][0]["active_manifest"] in store["manifests"]


@pytest.mark.parametrize(("certificate", "key", "sentence"), [
    (None, "key", "UNDEGRADE_SIGNING_CERTIFICATE is not set"),
    ("certificate", None, "UNDEGRADE_SIGNING_KEY is not set"),
    ("nowhere", "key", "UNDEGRADE_SIGNING_CERTIFICATE=.*cannot read"), ("certificate", "certificate", "cannot sign"),
    ("key", "key", "cannot sign"),
])  # fmt: skip
def test_what_is_missing_or_wrong_is_said_without_the_key(signer, tmp_path, certificate, key, sentence):
    (tmp_path / "certificate").write_text(signer.certificate)
    (tmp_path / "key").write_text(signer.key)
    paths = (None if name is None else str(tmp_path / name) for name in (certificate, key))
    with pytest.raises(ProvenanceError, match=sentence) as raised:
        read_signer(*paths, "es256")
    assert "PRIVATE" not in str(raised.value)
    assert signer.key not in repr(signer)


def test_a_signer_that_works_is_read(signer, tmp_path):
    (tmp_path / "certificate").write_text(signer.certificate)
    (tmp_path / "key").write_text(signer.key)
    assert read_signer(str(tmp_path / "certificate"), str(tmp_path / "key"), "es256") == signer
    with pytest.raises(ProvenanceError, match="UNDEGRADE_SIGNING_ALGORITHM"):
        read_signer(str(tmp_path / "certificate"), str(tmp_path / "key"), "ed25519")


def test_a_missing_package_is_named(signer, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ProvenanceError, match=r"undegrade\[provenance\]"):
        signed(b"", "png", MARK, signer, Parent(data=b"", format="png"))


def test_a_url_in_a_photo_is_not_visited(signer):
    """XMP may name a manifest on a server, and the library would fetch it: of any address, also inside a network."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/manifest"
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>'
            "</rdf:RDF></x:xmpmeta>"
        )
        photo = encoded(PICTURE, "jpeg", xmp=xmp.encode())
        data = signed(photo, "jpeg", MARK, signer, Parent(data=photo, format="jpeg"))
        server.shutdown()
        thread.join()
    assert manifest_of(data, "jpeg")[0]["validation_state"] == "Valid"
    assert asked == []


@pytest.mark.parametrize("parent", [b"", b"no photo", encoded(PICTURE, "jpeg")[:200]])
def test_a_photo_that_the_library_cannot_read_does_not_stop_the_result(signer, parent):
    data = signed(encoded(PICTURE, "png"), "png", MARK, signer, Parent(data=parent, format="jpeg"))
    assert manifest_of(data, "png")[0]["validation_state"] == "Valid"
