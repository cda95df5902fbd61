"""Measure how much a small learned latent space loses, compared with the lossless patches that we ship (decision 0004).

Trains a small KL autoencoder with the denoiser's factor of 8 on crops, and measures the reconstruction of held-out
crops.  A restoration through an autoencoder cannot exceed the PSNR of this reconstruction.

Example: python benchmarks/codec.py --images ../shared/train --minutes 12
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from conditions import header, make_parser
from torch import Tensor

from models.autodir.latents import KLCodec, KLConfig, PatchCodec, PatchConfig
from models.psnr import mean_psnr
from models.training.data.dataset import as_tensor
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos

CROP = CropConfig(crop_px=128)


def crops(pool: PhotoPool, rng: np.random.Generator, count: int) -> Tensor:
    """(B, 3, 128, 128) in [-1, 1]."""
    return torch.stack([as_tensor(pool.crop(rng, CROP)) for _ in range(count)])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=Path, action="append", required=True, help="folder of photos; repeatable")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time")
    parser.add_argument("--channels", type=int, default=16, help="latent channels; Stable Diffusion has 4")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    files = decode_into(arguments.cache, find_photos(arguments.images), 1600)
    train, held_out = PhotoPool(files, validation=False), PhotoPool(files, validation=True)
    clean = crops(held_out, np.random.default_rng(1), 64)
    print(header(f"held-out crops of {CROP.crop_px} px"))
    patch = PatchCodec(PatchConfig())
    score = mean_psnr(patch.decode(patch.encode(clean)), clean)
    print(f"patches, 192 channels, 0 parameters: {score:.1f} dB (45 is the cap)")
    config = KLConfig(block_channels=(24, 48, 64, 96), layers_per_block=1, channels=arguments.channels, norm_groups=8)
    codec = KLCodec(config)
    size = sum(parameter.numel() for parameter in codec.parameters())
    optimizer = torch.optim.AdamW(codec.parameters(), lr=2e-3)
    rng, start_s, shown_s, step = np.random.default_rng(0), time.monotonic(), 0.0, 0
    while (spent_s := time.monotonic() - start_s) < 60 * arguments.minutes:
        batch = crops(train, rng, 8)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * (1 - 0.95 * spent_s / (60 * arguments.minutes))
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.mse_loss(codec.decode(codec.encode(batch)).float(), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        step += 1
        if spent_s - shown_s > 60:
            shown_s = spent_s
            report(codec, clean, size, step, spent_s, arguments.channels)
    report(codec, clean, size, step, time.monotonic() - start_s, arguments.channels)


@torch.no_grad()
def report(codec: KLCodec, clean: Tensor, size: int, step: int, spent_s: float, channels: int) -> None:
    score = mean_psnr(codec.decode(codec.encode(clean)).float(), clean)
    spent = f"{step} steps, {spent_s / 60:.1f} min"
    print(f"autoencoder, {channels} channels, {size / 1e6:.2f} M parameters, {spent}: {score:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
