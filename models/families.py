"""From a bundle's folder to its family's restorer, resident on a device."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from models.air import AIR
from models.assessor import Assessor
from models.autodir import AutoDIR, AutoDIRConfig
from models.bundle import MANIFEST, Manifest, fill, read_manifest, read_weights, verify_bundle
from models.errors import BundleError
from models.nafnet import NAFNet
from models.restorer import Restorer


def load_restorer(bundle: Path, device: torch.device) -> Restorer:
    """Load a bundle, every file checked against its sha256, strictly, in float32.

    Raises:
        BundleError: the manifest or a weight file is missing, damaged or does not fit; the message names file and key.
    """
    manifest = read_manifest(bundle)
    loader = FAMILIES.get(manifest.family)
    if loader is None:
        raise BundleError(f"{bundle} is of family {manifest.family!r}; this version knows {', '.join(FAMILIES)}")
    verify_bundle(bundle)
    return loader(bundle, manifest, device)


def autodir_config(bundle: Path, manifest: Manifest) -> AutoDIRConfig:
    """The family's configuration as the manifest states it.

    Raises:
        BundleError: a field is missing, spare or of the wrong type; the message names it.
    """
    stated = {
        **manifest.networks,
        "names": [entry.name for entry in manifest.degradations],
        "fidelity": {entry.name: entry.fidelity for entry in manifest.degradations},
        "strength": {entry.name: entry.strength for entry in manifest.degradations},
        "floors": {entry.name: entry.floor for entry in manifest.degradations},
    }
    try:
        config = TypeAdapter(AutoDIRConfig).validate_python(stated)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{bundle / MANIFEST}: networks.{where}: {first['msg']}") from error
    for where in _spare(manifest.networks, asdict(config), "networks"):
        raise BundleError(f"{bundle / MANIFEST}: {where}: this version knows no such field. Check its spelling.")
    return config


def _spare(stated: Mapping[str, Any], known: Mapping[str, Any], where: str) -> Iterator[str]:
    """Fields that the configuration does not have; pydantic passes over those of plain dataclasses."""
    for name, value in stated.items():
        if name not in known:
            yield f"{where}.{name}"
        elif isinstance(value, Mapping) and isinstance(known[name], Mapping):
            yield from _spare(value, known[name], f"{where}.{name}")


def load_autodir(bundle: Path, manifest: Manifest, device: torch.device) -> Restorer:
    config = autodir_config(bundle, manifest)
    with torch.device("meta"):  # no memory, no random init
        assessor = Assessor(config.clip, config.names, config.loop.views, config.loop.overview)
        air, scm = AIR(config.air), NAFNet(config.scm)
    for name, network in (("clip", assessor.clip), ("air", air), ("scm", scm)):
        fill(network, read_weights(bundle, manifest, name, device), f"{bundle} ({name})")
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
    assessor.eval()
    return AutoDIR(config, assessor, air, scm, device)


FAMILIES: dict[str, Callable[[Path, Manifest, torch.device], Restorer]] = {"autodir": load_autodir}
