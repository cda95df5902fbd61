"""How the commands mark results: the setting UNDEGRADE_PROVENANCE, the signer, and `--provenance`."""

from typing import TYPE_CHECKING

from cli.settings import settings

if TYPE_CHECKING:
    from models.photo.marking import Provenance
    from models.photo.provenance import Policy


def chosen_provenance(policy: "Policy | None" = None) -> "Provenance":
    """Returns how results are marked; None takes the policy of the settings.  A signer is tried once.

    Raises:
        ProvenanceError: results cannot be signed.
    """
    from models.photo.c2pa_manifest import read_signer
    from models.photo.marking import Provenance

    env = settings()
    chosen = policy or env.provenance
    if chosen != "c2pa":
        return Provenance(policy=chosen)
    signer = read_signer(env.signing_certificate, env.signing_key, env.signing_algorithm)
    return Provenance(policy=chosen, signer=signer)
