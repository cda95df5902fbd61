"""Builds and inspects ICC color profiles: three primaries and a tone curve, or gray with a tone curve (ICC.1:2022)."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Primaries = tuple[float, float, float, float, float, float, float, float]
"""CIE x and y of white, red, green and blue."""

SRGB_PRIMARIES: Primaries = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
CURVE_POINTS = 1024
DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)


def srgb_to_linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, from [0, 1] to [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, from [0, 1] to [0, 1]."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055)


def xyz_matrix(primaries: Primaries) -> NDArray[np.float64]:
    """Returns the matrix from linear RGB to CIE XYZ under the encoding's own white (SMPTE RP 177)."""
    x, y = np.array(primaries[2::2]), np.array(primaries[3::2])
    columns = np.array([x / y, np.ones(3), (1 - x - y) / y])
    white = np.array([primaries[0] / primaries[1], 1.0, (1 - primaries[0] - primaries[1]) / primaries[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))


def profile(description: str, primaries: Primaries, gamma: float | None, *, gray: bool = False) -> bytes:
    """Returns an ICC profile, version 2.

    Args:
        gamma: the exponent from samples to linear light; None is sRGB's curve.

    Raises:
        ArithmeticError, np.linalg.LinAlgError: the primaries lie on one line.
    """
    if gray:
        return _file(description, b"GRAY", {b"kTRC": _curve(gamma)})
    matrix = xyz_matrix(primaries)
    cones = BRADFORD @ matrix.sum(axis=1)
    adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / cones) @ BRADFORD @ matrix  # (3, 3)
    tags = {name: _xyz(adapted[:, column]) for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _file(description, b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def _file(description: str, space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = description.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0No copyright, use freely\0",
        b"wtpt": _xyz(D50),
        **tags,
    }
    table, body, start, places = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags), dict[bytes, int]()
    for kind, value in tags.items():
        if value not in places:  # the three curves are one
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
        table += kind + struct.pack(">II", places[value], len(value))
    header = struct.pack(">II", start + len(body), 0) + b"\2\x10\0\0mntr" + space + b"XYZ " + DATE + b"acsp" + bytes(28)
    return header + struct.pack(">3i", *(round(value * 65536) for value in D50)) + bytes(48) + table + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    points = np.round(srgb_to_linear(np.linspace(0, 1, CURVE_POINTS)) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", CURVE_POINTS) + points.tobytes()


@dataclass(frozen=True)
class Inspected:
    """The tags of a profile."""

    space: bytes
    tags: dict[bytes, bytes]


def inspect(icc: bytes) -> Inspected:
    """Returns the color space and the tags of a profile; a damaged profile has few or none."""
    tags: dict[bytes, bytes] = {}
    count = struct.unpack_from(">I", icc, 128)[0] if len(icc) >= 132 else 0
    for index in range(min(count, 100)):
        if 144 + 12 * index > len(icc):
            break
        kind, start, length = struct.unpack_from(">4sII", icc, 132 + 12 * index)
        tags[kind] = icc[start : start + length]
    return Inspected(icc[16:20], tags)


def gamma_of(icc: bytes) -> float | None:
    """Returns the exponent of a profile whose curves are one power; None for other curves."""
    tags = inspect(icc).tags
    curves = {tags.get(name, b"") for name in ((b"kTRC",) if b"kTRC" in tags else (b"rTRC", b"gTRC", b"bTRC"))}
    curve = curves.pop()
    if curves or len(curve) < 12 or b"A2B0" in tags:
        return None
    count = struct.unpack_from(">I", curve, 8)[0]
    if curve[:4] == b"curv" and count < 2:
        return 1.0 if count == 0 else float(struct.unpack_from(">H", curve.ljust(14, b"\0"), 12)[0]) / 256
    if curve[:4] == b"curv" and len(curve) >= 12 + 2 * count:
        points = np.frombuffer(curve, ">u2", count, 12) / 65535
        return 1.0 if np.abs(points - np.linspace(0, 1, count)).max() < 0.002 else None
    if curve[:4] == b"para" and curve[8:10] == b"\0\0" and len(curve) >= 16:
        return float(struct.unpack_from(">i", curve, 12)[0]) / 65536
    return None


def transfer_of(icc: bytes) -> int | None:
    """Returns the transfer characteristics of a profile's cicp tag (H.273): 16 is PQ, 18 is HLG."""
    tag = inspect(icc).tags.get(b"cicp", b"")
    return tag[9] if len(tag) >= 12 else None


def primaries_code_of(icc: bytes) -> int | None:
    """Returns the color primaries of a profile's cicp tag (H.273)."""
    tag = inspect(icc).tags.get(b"cicp", b"")
    return tag[8] if len(tag) >= 12 else None


def with_srgb_curve(icc: bytes) -> bytes | None:
    """Returns an RGB or gray profile with its primaries and sRGB's curve; None if it has no primaries."""
    found = inspect(icc)
    if found.space == b"GRAY":
        return profile("gray with the sRGB curve", SRGB_PRIMARIES, None, gray=True)
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    if any(name not in found.tags for name in names):
        return None
    colors = {name: found.tags[name] for name in names}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(None))
    return _file("the photo's primaries with the sRGB curve", b"RGB ", colors | curves)


def for_written(icc: bytes, *, gray: bool) -> bytes | None:
    """Returns a profile of the kind that the file needs, gray or RGB, with the same tone curve; None if impossible."""
    found = inspect(icc)
    if found.space == (b"GRAY" if gray else b"RGB "):
        return icc
    if gray and found.space == b"RGB " and b"rTRC" in found.tags:
        return _file("gray with the photo's curve", b"GRAY", {b"kTRC": found.tags[b"rTRC"]})
    if not gray and found.space == b"GRAY" and b"kTRC" in found.tags:
        linear = inspect(profile("", SRGB_PRIMARIES, 1.0)).tags
        colors = {name: linear[name] for name in (b"rXYZ", b"gXYZ", b"bXYZ")}
        curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), found.tags[b"kTRC"])
        return _file("RGB with the photo's gray curve", b"RGB ", colors | curves)
    return None
