"""Loads a bundle's folder as a restorer of its family, resident on a device."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.clip_weights import branch_parts, read_clip
from models.autodir.config import AutoDIRConfig
from models.autodir.restorer import AutoDIR
from models.autodir.specialists import SpecialistConfig, Specialists
from models.bundle import Manifest, load_weights, read_manifest, read_weights, verify_bundle
from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.config import DaCLIPConfig
from models.daclip.controller import DaCLIP
from models.daclip.restorer import DaCLIPRestorer
from models.dat.network import DAT
from models.device import Speed
from models.device_memory import WeightsMemory, weights_memory
from models.errors import BundleError
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet
from models.etdiffir.restorer import ETDiffIRRestorer
from models.folders import MANIFEST
from models.maxim.network import MAXIM
from models.networks.drunet import DRUNet
from models.networks.nafnet import NAFNet
from models.optional import not_none
from models.prompt_plan import style_of
from models.restorer import Restorer

C = TypeVar("C", AutoDIRConfig, DaCLIPConfig, NAFNetConfig, ETDiffIRConfig)


def load_restorer(bundle: Path, device: torch.device, speed: Speed | None = None) -> Restorer:
    """Load a bundle, with every file checked against its sha256; `speed` None: the default of the device.

    Raises:
        BundleError: the family is unknown, or the manifest or a weight file is missing, damaged or does not fit.
    """
    manifest = read_manifest(bundle)
    loader = FAMILIES.get(manifest.family)
    if loader is None:
        raise BundleError(
            f"{bundle}: got family {manifest.family!r}, expected one of {', '.join(FAMILIES)}. Install a newer version."
        )
    verify_bundle(bundle)
    return loader(bundle, manifest, device, speed or Speed.of(device))


def memory_needed(bundle: Path, speed: Speed) -> WeightsMemory:
    """Returns what the weights of a bundle take on the device when they run at this speed.

    Raises:
        BundleError: the manifest or a weight file cannot be read.
    """
    manifest = read_manifest(bundle)
    parts = [(network, _dtype(manifest.family, network, speed)) for network in manifest.weights]
    if speed.dtype != torch.float32:  # else the assessor computes with the tensors of the specialists
        parts += [(network, torch.float32) for network in branch_parts(manifest.networks).values()]
    return weights_memory(bundle, manifest, parts)


def _dtype(family: str, network: str, speed: Speed) -> torch.dtype:
    """Returns the type of a network's weights: AutoDIR's CLIP decides what is repaired, so it keeps float32."""
    return speed.dtype if family == "autodir" and network != "clip" else torch.float32


def autodir_config(bundle: Path, manifest: Manifest) -> AutoDIRConfig:
    """Returns the configuration of an AutoDIR bundle from its manifest.

    Raises:
        BundleError: a field is missing, unknown or of the wrong type, or the names of a specialist are not valid.
    """
    stated = {
        **manifest.networks,
        "names": [entry.name for entry in manifest.degradations],
        "fidelity": {entry.name: entry.fidelity for entry in manifest.degradations},
        "strength": {entry.name: entry.strength for entry in manifest.degradations},
        "floors": {entry.name: entry.floor for entry in manifest.degradations},
        "prompts": style_of(manifest.networks, manifest.prompts),
    }
    config = _config(bundle, manifest, AutoDIRConfig, stated)
    # A specialist on request stands beside the one that repairs the degradation otherwise, an enlarger too
    usual = [
        specialist for specialist in config.specialists.values() if not specialist.words and specialist.dat is None
    ]
    assigned = [name for specialist in usual for name in specialist.names]
    for name in (name for specialist in config.specialists.values() for name in specialist.names):
        if name not in config.names or assigned.count(name) > 1:
            raise BundleError(
                f"{bundle / MANIFEST}: networks.specialists: {name!r} is not a degradation of the bundle, or is listed "
                "twice. List each degradation under one specialist at most."
            )
    return config


def daclip_config(bundle: Path, manifest: Manifest) -> DaCLIPConfig:
    """Returns the configuration of a DA-CLIP bundle from its manifest.

    Raises:
        BundleError: a field is missing, unknown or of the wrong type, or there is not exactly one restoration network.
    """
    words = {entry.name: entry.prompt for entry in manifest.degradations}
    style = style_of(manifest.networks, manifest.prompts)
    config = _config(bundle, manifest, DaCLIPConfig, {**manifest.networks, "words": words, "prompts": style})
    if (config.unet is None) == (config.nafnet is None):
        raise BundleError(f"{bundle / MANIFEST}: networks: expected one of unet and nafnet. Convert the bundle again.")
    return config


def _config(bundle: Path, manifest: Manifest, kind: type[C], stated: Mapping[str, object]) -> C:
    try:
        config = TypeAdapter(kind).validate_python(stated)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{bundle / MANIFEST}: networks.{where}: {first['msg']}") from error
    for where in _unknown_fields(manifest.networks, asdict(config), "networks"):
        raise BundleError(f"{bundle / MANIFEST}: {where}: unknown field. Check its spelling.")
    return config


def _unknown_fields(stated: Mapping[str, Any], known: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yields fields that the configuration does not have; pydantic ignores them in plain dataclasses."""
    for name, value in stated.items():
        if name not in known:
            yield f"{where}.{name}"
        elif isinstance(value, Mapping) and isinstance(known[name], Mapping):
            yield from _unknown_fields(value, known[name], f"{where}.{name}")


def load_autodir(bundle: Path, manifest: Manifest, device: torch.device, speed: Speed) -> Restorer:
    config = autodir_config(bundle, manifest)
    with torch.device("meta"):  # no memory, no random init
        loop = config.loop
        assessor = Assessor(config.clip, config.names, loop.views, loop.overview, loop.wary)
        air, scm = AIR(config.air), NAFNet(config.scm)
    for name, network in (("air", air), ("scm", scm)):
        _fill(network, bundle, manifest, name, device, dtype=speed.dtype)
    specialists = _specialists(bundle, manifest, config, device, speed)
    loaded = {f"specialist-{key}": network for key, network in specialists.networks.items()}
    _assign(assessor.clip, read_clip(bundle, manifest, device, loaded), f"{bundle} (clip)")
    assessor.eval()
    taught = {name: _taught(bundle, manifest, config, name, device, speed) for name in config.taught}
    model = AutoDIR(config, assessor, air, scm, device, specialists, taught)
    model.accelerate(speed)
    return model


def _taught(
    bundle: Path, manifest: Manifest, config: AutoDIRConfig, name: str, device: torch.device, speed: Speed
) -> tuple[AIR, NAFNet]:
    """Returns the AIR and the SCM of one degradation; the manifest lists their weights under "air-NAME", "scm-NAME"."""
    with torch.device("meta"):
        air, scm = AIR(config.air), NAFNet(config.scm)
    for part, network in (("air", air), ("scm", scm)):
        _fill(network, bundle, manifest, f"{part}-{name}", device, dtype=speed.dtype)
    return air, scm


def _specialists(
    bundle: Path, manifest: Manifest, config: AutoDIRConfig, device: torch.device, speed: Speed
) -> Specialists:
    """Returns each specialist `KEY`; the manifest lists its weights under "specialist-KEY".

    MAXIM's networks, of 57 or 89 MB in float32, and those that enlarge are loaded on first use on a CPU, and few stay.
    On CUDA all are loaded.
    """
    networks, on_demand = {}, {}
    for key, specialist in config.specialists.items():
        if specialist.maxim is not None or specialist.dat is not None:
            on_demand[key] = partial(_load_specialist, bundle, manifest, key, specialist, device, speed)
            continue
        with torch.device("meta"):
            network = DRUNet(specialist.network)
        _fill(network, bundle, manifest, f"specialist-{key}", device, dtype=speed.dtype)
        networks[key] = network
    if device.type == "cpu":
        return Specialists(config.specialists, networks, on_demand)
    specialists = Specialists(config.specialists, networks, on_demand, kept=len(on_demand))
    specialists.load_all()
    return specialists


def _load_specialist(
    bundle: Path, manifest: Manifest, key: str, config: SpecialistConfig, device: torch.device, speed: Speed
) -> nn.Module:
    with torch.device("meta"):
        network = MAXIM(not_none(config.maxim)) if config.dat is None else DAT(config.dat)
    _fill(network, bundle, manifest, f"specialist-{key}", device, dtype=speed.dtype)
    return network


def _fill(
    network: nn.Module, bundle: Path, manifest: Manifest, part: str, device: torch.device, *,
    channels_last: bool = True, dtype: torch.dtype = torch.float32,
) -> None:  # fmt: skip
    """Load the weights of this part of the bundle into a network on the meta device, as this type."""
    state = read_weights(bundle, manifest, part, device)
    _assign(network, state, f"{bundle} ({part})", channels_last=channels_last, dtype=dtype)


def _assign(
    network: nn.Module, state: Mapping[str, Tensor], source: str, *, channels_last: bool = True,
    dtype: torch.dtype = torch.float32,
) -> None:  # fmt: skip
    load_weights(network, state, source, dtype)
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only


def load_daclip(bundle: Path, manifest: Manifest, device: torch.device, _speed: Speed) -> Restorer:
    """Load a DA-CLIP bundle; its networks run in float32, whatever the speed."""
    config = daclip_config(bundle, manifest)
    with torch.device("meta"):
        controller = DaCLIP(config.controller)
        network = ConditionalUNet(config.unet) if config.unet else ConditionalNAFNet(not_none(config.nafnet))
    _fill(controller, bundle, manifest, "daclip", device, channels_last=False)
    _fill(network, bundle, manifest, "unet" if config.unet else "nafnet", device)
    return DaCLIPRestorer(config, controller, network, device)


def load_etdiffir(bundle: Path, manifest: Manifest, device: torch.device, _speed: Speed) -> Restorer:
    """Load an ETDiffIR bundle; its networks run in float32, whatever the speed."""
    words = {entry.name: entry.prompt for entry in manifest.degradations}
    config = _config(bundle, manifest, ETDiffIRConfig, {**manifest.networks, "words": words})
    with torch.device("meta"):
        controller, network = DaCLIP(config.controller), EfficientUNet(config.unet)
    for name, module in (("daclip", controller), ("unet", network)):
        _fill(module, bundle, manifest, name, device, channels_last=False)
    return ETDiffIRRestorer(config, controller, network, device)


FAMILIES: dict[str, Callable[[Path, Manifest, torch.device, Speed], Restorer]] = {
    "autodir": load_autodir,
    "daclip": load_daclip,
    "etdiffir": load_etdiffir,
}
