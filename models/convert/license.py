"""What an operator must know before converting; printed by the command and kept in the bundle's manifest."""

from typing import NamedTuple

AUTODIR = (
    "The authors of AutoDIR state no license, neither for their code nor for their weights (github.com/jiangyitong/"
    "AutoDIR): whether you may use them, and for what, is between you and them. The denoiser descends from Stable "
    "Diffusion 1.5, so the use restrictions of CreativeML OpenRAIL-M (Attachment A) apply to it and to whatever is "
    "made from it. undegrade ships none of these weights, and the converted bundle must not be passed on as its own."
)

DACLIP = (
    "The authors of DA-CLIP release their code and weights under the MIT license (github.com/Algolzw/daclip-uir). The "
    "frozen CLIP inside is open_clip's, trained on LAION-2B; its model card says what it is meant for. undegrade ships "
    "none of these weights."
)

ETDIFFIR = (
    "The authors of ETDiffIR published code without a license, and no weights; whether a checkpoint that was trained "
    "with it may be used is between you and them. DA-CLIP and the CLIP beside it are under the MIT license. undegrade "
    "ships none of these weights."
)


class Terms(NamedTuple):
    """What is printed, and whether the user must give their word."""

    text: str
    to_accept: bool


TERMS = {
    "autodir": Terms(AUTODIR, to_accept=True),
    "daclip": Terms(DACLIP, to_accept=False),
    "daclip-wild": Terms(DACLIP, to_accept=False),
    "etdiffir": Terms(ETDIFFIR, to_accept=True),
}
"""By the family's word on the command line."""
