"""Signs a result with a C2PA manifest (Content Credentials), by the library `c2pa` of the extra `provenance`.

The manifest has the hash of the file, says what was done to it, and names the photo that it was made from: its hash
and, if it has Content Credentials, these, so that they survive.  The library is imported when it is needed: it is
native code of 16 MB.
"""

import io
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import ProvenanceError
from models.photo.provenance import SOURCE_TYPES, Mark

SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # they could be ten times as large as the result
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},  # a photo must not name URLs that we then visit
}
MISSING = "the package c2pa-python is missing. Install it: pip install 'undegrade[provenance]'"


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The file that a result was made from."""

    data: bytes = field(repr=False)
    format: str


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A certificate chain and its private key, both PEM, and the algorithm of the key."""

    certificate: str
    key: str
    algorithm: str = "es256"

    def __repr__(self) -> str:
        return f"Signer({self.algorithm})"  # a key must not reach a log


def read_signer(certificate: str | None, key: str | None, algorithm: str) -> Signer:
    """Read the files of a signer, and sign a small image with it, so that a wrong one is found at once.

    Raises:
        ProvenanceError: a setting or the package is missing, a file cannot be read, or the signer does not work.
    """
    if not certificate or not key:
        name = "UNDEGRADE_SIGNING_KEY" if certificate else "UNDEGRADE_SIGNING_CERTIFICATE"
        raise ProvenanceError(
            f"provenance c2pa signs results, but {name} is not set. Set it to a PEM file, or set "
            "UNDEGRADE_PROVENANCE to xmp."
        )
    texts = []
    for setting, path in (("UNDEGRADE_SIGNING_CERTIFICATE", certificate), ("UNDEGRADE_SIGNING_KEY", key)):
        try:
            texts.append(Path(path).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ProvenanceError(f"{setting}={path}: cannot read it ({error}). Name a PEM file.") from error
    signer = Signer(certificate=texts[0], key=texts[1], algorithm=algorithm)
    mark = Mark(bundle="none", bundle_version="0", repairs=(), drawn=False)
    signed(_tiny_png(), "png", mark, signer, Parent(data=_tiny_png(), format="png"))
    return signer


def signed(data: bytes, format: str, mark: Mark, signer: Signer, parent: Parent) -> bytes:
    """Returns the file with a manifest.  Two calls give different bytes: a manifest has an id and a date.

    Raises:
        ProvenanceError: the package is missing, or it refuses the certificate or the key.
    """
    try:
        import c2pa
    except ImportError as error:
        raise ProvenanceError(MISSING) from error
    target = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(signer.algorithm, signer.certificate.encode(), signer.key.encode(), None)
        context = c2pa.Context(c2pa.Settings.from_dict(SETTINGS))
        with c2pa.Signer.from_info(info) as native, c2pa.Builder(_manifest(mark), context) as builder:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            ingredient = {"title": "photo", "relationship": "parentOf"}
            with suppress(c2pa.C2paError):  # of a damaged file; then the library names the unsigned result as parent
                builder.add_ingredient(json.dumps(ingredient), f"image/{parent.format}", io.BytesIO(parent.data))
            builder.sign(native, f"image/{format}", io.BytesIO(data), target)
    except (c2pa.C2paError, ValueError) as error:
        raise ProvenanceError(
            f"cannot sign the result: {error}. Check UNDEGRADE_SIGNING_CERTIFICATE (the chain, leaf first), "
            "UNDEGRADE_SIGNING_KEY and UNDEGRADE_SIGNING_ALGORITHM."
        ) from error
    return target.getvalue()


def _manifest(mark: Mark) -> str:
    name, _, number = mark.software.partition(" ")
    described = f"bundle {mark.bundle} {mark.bundle_version}; repaired {', '.join(mark.repairs) or 'nothing'}"
    edited = {
        "action": "c2pa.edited", "softwareAgent": {"name": name, "version": number}, "description": described,
        "digitalSourceType": SOURCE_TYPES + mark.source_type,
    }  # fmt: skip
    return json.dumps({
        "claim_generator_info": [{"name": name, "version": number}],
        "title": "restored photo",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [edited]}}],
    })  # fmt: skip


def _tiny_png() -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, "PNG")
    return target.getvalue()
