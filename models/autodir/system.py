"""The networks of the published loop: those of the bundle, or those that have learned one degradation.

`undegrade learn --strict-system` trains a copy of AIR and SCM for the new degradation.  A copy of its own leaves the
results of all other prompts as they were, bit for bit; training the shared networks cost most of them 2 to 11 dB.
"""

from dataclasses import dataclass

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.config import LoopConfig
from models.autodir.denoiser import Denoiser
from models.networks.nafnet import NAFNet


@dataclass(frozen=True, kw_only=True)
class System:
    """AIR, its sampler's calls, and SCM."""

    air: AIR
    scm: NAFNet
    denoise: Denoiser


def system_of(air: AIR, scm: NAFNet, assessor: Assessor, loop: LoopConfig) -> System:
    """Returns the networks with the savings that the loop asks for."""
    denoise = Denoiser(
        air=air, null=lambda: assessor.user_states([""])[0],  # the assessor keeps its states
        cache_every=loop.cache_every, guidance_every=loop.guidance_every,
    )  # fmt: skip
    return System(air=air, scm=scm, denoise=denoise)
