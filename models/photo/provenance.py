"""Marks a result with what was done to it: XMP by the IPTC Photo Metadata Standard (docs/metadata.md).

Sources, compared on 2026-11-27: IPTC Photo Metadata Standard 2025.1 has "AI System Used" (the AI engine or the model
that generated the image) and "AI System Version Used"; ExifTool has their ids as single texts.
The types are those of IPTC's vocabulary cv.iptc.org/newscodes/digitalsourcetype of 2024-10-23.

The mark has no date, so that the same request gives the same bytes.  Torch-free.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal, Protocol
from xml.sax.saxutils import escape

from models.photo.read import Photo
from models.photo.xmp import HISTORY, OWN_AGENT, Properties, clean, property_of
from models.restoration_report import DIFFUSION

Policy = Literal["off", "xmp", "c2pa"]
SOURCE_TYPE = "Iptc4xmpExt:DigitalSourceType"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = "algorithmicallyEnhanced"
"""IPTC: "Modification or correction by algorithm without changing the main content of the media, initiated or
configured by a human, such as sharpening or applying noise reduction"."""
DRAWN = "compositeWithTrainedAlgorithmicMedia"
"""IPTC: "Augmentation, correction or enhancement using a Generative AI model"."""
STRONGER = frozenset({
    "trainedAlgorithmicMedia", "compositeSynthetic", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia",
    "virtualRecording", "dataDrivenMedia",
})  # fmt: skip
"""Types of the input that stay: a photo that a model has made does not become an enhanced photo."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What was done to a result.  `drawn`: a diffusion model drew a part of its pixels."""

    bundle: str
    bundle_version: str
    repairs: tuple[str, ...]
    drawn: bool

    @property
    def software(self) -> str:
        return f"{OWN_AGENT} {version('undegrade')}"

    @property
    def source_type(self) -> str:
        """The last part of IPTC's URI."""
        return DRAWN if self.drawn else ENHANCED


class Pass(Protocol):
    """A pass of a report, in this process or in a job's record."""

    @property
    def label(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def kept(self) -> bool: ...


def mark_of(passes: Iterable[Pass], changed_share: float, bundle: str, bundle_version: str) -> Mark | None:
    """Returns the mark of a restored image; None where no network has changed a pixel."""
    kept = [entry for entry in passes if entry.kept]
    if not kept or changed_share == 0:
        return None
    repairs = tuple(dict.fromkeys(entry.label for entry in kept))
    drawn = any(entry.by == DIFFUSION for entry in kept)
    return Mark(bundle=bundle, bundle_version=bundle_version, repairs=repairs, drawn=drawn)


def marked(photo: Photo, mark: Mark) -> Photo:
    """Returns the photo with the mark in its XMP.  Credits, rights and earlier marks stay."""
    properties = dict(photo.metadata.xmp)
    before = source_type_of(properties)
    if before not in STRONGER:
        properties[SOURCE_TYPE] = property_of(SOURCE_TYPE, [SOURCE_TYPES + mark.source_type])
    properties["tiff:Software"] = property_of("tiff:Software", [_described(mark)])
    if not any(keyword == "Software" for keyword, _ in photo.metadata.texts):
        properties.setdefault("xmp:CreatorTool", property_of("xmp:CreatorTool", [mark.software]))
    if mark.drawn:
        system, system_version = "Iptc4xmpExt:AISystemUsed", "Iptc4xmpExt:AISystemVersionUsed"
        if system not in properties:
            properties[system] = property_of(system, [f"{OWN_AGENT}, bundle {mark.bundle}"])
            properties[system_version] = property_of(system_version, [_described(mark)])
    properties[HISTORY] = _longer_history(properties.get(HISTORY, ""), mark, before)
    return replace(photo, metadata=replace(photo.metadata, xmp=properties))


def source_type_of(properties: Properties) -> str | None:
    """Returns the last part of the URI of a photo's digital source type."""
    found = re.search(r"digitalsourcetype/(\w+)", properties.get(SOURCE_TYPE, ""))
    return found[1] if found else None


def _described(mark: Mark) -> str:
    return f"{mark.software} ({mark.bundle} {mark.bundle_version})".replace(" )", ")")


def _longer_history(history: str, mark: Mark, before: str | None) -> str:
    """Returns the history, with this restoration at its end."""
    how = "diffusion" if mark.drawn else "without diffusion"
    done = f"bundle {mark.bundle} {mark.bundle_version}; repaired {', '.join(mark.repairs) or 'nothing'}; {how}"
    if before is not None:
        done += f"; digital source type before: {SOURCE_TYPES}{before}"
    events = "".join(re.findall(r"<rdf:li.*?</rdf:li>", history, re.DOTALL))
    event = (
        '<rdf:li rdf:parseType="Resource"><stEvt:action>edited</stEvt:action>'
        f"<stEvt:softwareAgent>{escape(mark.software)}</stEvt:softwareAgent>"
        f"<stEvt:parameters>{escape(clean(done))}</stEvt:parameters></rdf:li>"
    )
    return f"<{HISTORY}><rdf:Seq>{events}{event}</rdf:Seq></{HISTORY}>"
