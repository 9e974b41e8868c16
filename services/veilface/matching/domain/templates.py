"""Incoming templates: who vouches for them, and whether they are what they say."""

from dataclasses import dataclass
from typing import Final

from veilface.common.attested import SignedTemplate, TemplateStatement, verify_template
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY
from veilface.common.pool import BoundedPool
from veilface.common.signing import TrustStore
from veilface.crypto.contract import TemplateComparer, TemplateUse
from veilface.matching.domain.admission import check_use

# The key service vouches for references that it moved to another version.
_SIGNERS: Final = {
    TemplateUse.PROBE: (EMBEDDING_IDENTITY,),
    TemplateUse.REFERENCE: (EMBEDDING_IDENTITY, KEYS_IDENTITY),
}


@dataclass(frozen=True, slots=True)
class VouchedTemplate:
    """A template whose statement is true, as far as its signer is trusted; its ciphertext is not looked at yet."""

    signed: SignedTemplate
    statement: TemplateStatement

    @property
    def ciphertext(self) -> bytes:
        """The ciphertext, which has the digest that the statement says."""
        return self.signed.ciphertext


class TemplateDesk:
    """Looks at every template that comes in, before anything else is done with it.

    Args:
        trust: Whose signatures count.
        compute: Where the checks run.
    """

    def __init__(self, trust: TrustStore, compute: BoundedPool) -> None:
        self._trust = trust
        self._compute = compute

    async def verify(self, signed: SignedTemplate, use: TemplateUse) -> VouchedTemplate:
        """Check the signature, the digest and the use.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
            InvalidArgumentError: DIGEST_MISMATCH, WRONG_USE, or a malformed statement.
        """
        statement = await self._compute.run(verify_template, self._trust, signed, _SIGNERS[use])
        check_use(statement, use)
        return VouchedTemplate(signed, statement)

    async def inspect(self, template: VouchedTemplate, comparer: TemplateComparer) -> None:
        """Parse the ciphertext strictly. Raises InvalidCiphertextError."""
        statement = template.statement
        await self._compute.run(comparer.check_template, template.ciphertext, statement.space, statement.use)
