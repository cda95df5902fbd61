"""Small restorers of every family on random weights, on any device: the same weights and pictures for one seed."""

import torch

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet, UNetConfig
from models.daclip.config import DaCLIPConfig, LoopConfig
from models.daclip.controller import ControllerConfig, DaCLIP
from models.daclip.restorer import DaCLIPRestorer
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.etdiffir.restorer import ETDiffIRRestorer
from models.networks.clip import ClipConfig, TextConfig, VisionConfig

CONTEXT = 16
CONTROLLER = ControllerConfig(
    clip=ClipConfig(
        embed_dim=CONTEXT,
        vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8),
        text=TextConfig(width=16, heads=2, layers=1),
        quick_gelu=False,
    )
)
WORDS = {"noise": "noisy", "haze": "hazy"}
LOOP = LoopConfig(native_px=64 * 64, overlap_px=8)
UNET = UNetConfig(width=32, multipliers=(1, 2), context_dim=CONTEXT)
NAFNET = NAFNetConfig(
    width=8, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1), context_dim=CONTEXT, patch=1
)
ERUNET = EfficientUNetConfig(width=32, multipliers=(1, 2), context_dim=CONTEXT)
NETWORKS = {"nafnet": ConditionalNAFNet, "unet": ConditionalUNet, "erunet": EfficientUNet}


def network(name: str) -> torch.nn.Module:
    """Returns a network of random weights; what is initialized to zero is not, or it would hide its part."""
    torch.manual_seed(0)
    made = NETWORKS[name]({"nafnet": NAFNET, "unet": UNET, "erunet": ERUNET}[name])
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return made.eval().requires_grad_(False)


def family(name: str, device: torch.device) -> DaCLIPRestorer:
    """Returns a restorer of the DA-CLIP family ("nafnet", "unet") or of ETDiffIR ("erunet")."""
    torch.manual_seed(1)
    controller = DaCLIP(CONTROLLER).eval().requires_grad_(False).to(device)
    made = network(name).to(device)
    if name == "erunet":
        return ETDiffIRRestorer(
            ETDiffIRConfig(words=WORDS, controller=CONTROLLER, unet=ERUNET, loop=LOOP), controller, made, device
        )
    config = DaCLIPConfig(words=WORDS, controller=CONTROLLER, loop=LOOP, **{name: made.config})
    return DaCLIPRestorer(config, controller, made, device)
