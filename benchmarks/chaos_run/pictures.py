"""Makes the inputs of a run, and what must come out: the pure function of its input, computed without a service.

A program of its own (`python -m chaos_run.pictures FOLDER`), so that the runner itself need not load torch.
"""

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COUNT, WIDTH, HEIGHT = 12, 48, 32
BUNDLES = ("v1", "v2")
"""The folders of two versions of the bundle with the same weights, for a deploy in the middle."""
OPTIONS = {"prompt": "remove the noise", "steps": 1, "max_passes": 1}


def pixels_hash(data: bytes) -> str:
    """Returns the hash of the pixels of a picture, which its metadata does not change."""
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def input_path(folder: Path, number: int) -> Path:
    """Returns the file of an input."""
    return folder / f"input-{number}.png"


def bundle_folder(folder: Path, version: int) -> Path:
    """Returns the folder of a version of the bundle, from 0."""
    return folder / BUNDLES[version] / "autodir-small"


def make(folder: Path) -> None:
    """Write bundles, inputs, and `expected.json`: the hash of each right result by the number of its input."""
    import torch

    from models.controls import Controls
    from models.drive import restore_one
    from models.families import load_restorer
    from models.pixels import to_pixels, to_tensor
    from models.restorer import Request

    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
    from random_bundle import write_random_bundle

    torch.set_num_threads(1)
    first, second = (bundle_folder(folder, version) for version in range(2))
    first.parent.mkdir(parents=True)
    write_random_bundle(first)
    shutil.copytree(first, second)
    manifest = json.loads((second / "bundle.json").read_text())
    (second / "bundle.json").write_text(json.dumps(manifest | {"version": "1"}, indent=2))
    restorer, expected = load_restorer(first, torch.device("cpu")), {}
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(input_path(folder, number))
        request = Request(image=to_tensor(pixels), controls=Controls(seed=number, **OPTIONS))  # type: ignore[arg-type]
        result = io.BytesIO()
        Image.fromarray(to_pixels(restore_one(restorer, request).image)).save(result, "PNG")
        expected[number] = pixels_hash(result.getvalue())
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
