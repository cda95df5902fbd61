"""Writes a result with its provenance: a mark in the XMP, and a C2PA manifest where a signer is configured."""

from dataclasses import dataclass

from models.photo.c2pa_manifest import Parent, Signer, signed
from models.photo.provenance import Mark, Policy, marked
from models.photo.read import Photo
from models.photo.write import encode_photo


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who signs a result, and the file that it was made from."""

    signer: Signer
    parent: Parent


@dataclass(frozen=True, kw_only=True)
class Marking:
    """The mark of a result, and who signs it."""

    mark: Mark
    signed_by: Signature | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How results are marked.  `signer` is there where the policy is "c2pa"."""

    policy: Policy = "xmp"
    signer: Signer | None = None

    def marking(self, mark: Mark | None, parent: Parent | None = None) -> Marking | None:
        """Returns what to write into a result; None for nothing.  `parent` is needed to sign."""
        if self.policy == "off" or mark is None:
            return None
        if self.signer is None or parent is None:
            return Marking(mark=mark)
        return Marking(mark=mark, signed_by=Signature(signer=self.signer, parent=parent))


def encode_marked(photo: Photo, format: str, quality: int | None, marking: Marking | None) -> bytes:
    """Encode a photo as a file of `format`, with its mark; None writes none.

    Raises:
        PhotoError: the format cannot hold the photo.
        ProvenanceError: the file cannot be signed.
    """
    if marking is None:
        return encode_photo(photo, format, quality)
    data, by = encode_photo(marked(photo, marking.mark), format, quality), marking.signed_by
    return data if by is None else signed(data, format, marking.mark, by.signer, by.parent)
