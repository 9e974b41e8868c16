"""Moving stored templates to a newer version of their key, without enrolling anybody again.

It decrypts templates, inside this process only, and encrypts them again at once. A template is authenticated first, by
the signature of the embedding service (or of this service, after an earlier move). Nobody vouches for what is in a
segment: it may be crafted so that what it decrypts to says something about the secret key. Therefore no answer, error,
size or record depends on what anything decrypts to. See `Reencrypter`.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from veilface.common.attested import SignedTemplate, sign_template, verify_template
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
)
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY
from veilface.common.names import KeyVersionName
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import PublicMaterial, Reencrypter, Scheme, TemplateSpace, TemplateUse
from veilface.keys.domain.audit import AuditEntry, AuditLog, audited
from veilface.keys.domain.implausibility import ImplausibilityAlarm
from veilface.keys.domain.ledger import Charge, Ledger, QuotaKind
from veilface.keys.domain.policy import Operation
from veilface.keys.domain.vault import Clock, UsableVersion, Vault


@dataclass(frozen=True, slots=True)
class ReencryptionKeys:
    """What a scheme needs to move templates.

    Attributes:
        secret_key: Of the source version, lent for the length of the call.
        target: Of the target version; its evaluation keys are empty.
        seeds: The seeds of the source's and the target's transform, lent likewise; None if the key has none.
    """

    scheme: Scheme
    profile: str
    secret_key: memoryview
    target: PublicMaterial
    seeds: tuple[memoryview, memoryview] | None


ReencrypterLoader = Callable[[ReencryptionKeys], Reencrypter]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentContent:
    """What a packed segment holds.

    Attributes:
        slots: The slots to keep, ascending, at least one.
    """

    space: TemplateSpace
    slots: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ReencryptionMeans:
    """What templates are moved with.

    Attributes:
        alarm: Told when something decrypted to no embedding.
        signer: Vouches for moved templates; None if this service has no signing key.
        trust: The public keys of the embedding service and of this service.
    """

    vault: Vault
    ledger: Ledger
    audit: AuditLog
    load: ReencrypterLoader
    alarm: ImplausibilityAlarm
    signer: Signer | None
    trust: TrustStore
    clock: Clock


class Reencryption:
    """One stream of templates and segments from one version to another. Made by `open_reencryption`."""

    def __init__(
        self, means: ReencryptionMeans, entry: AuditEntry, source: UsableVersion, target: UsableVersion, signer: Signer
    ) -> None:
        self._means = means
        self._entry = entry
        self._source = source
        self._target = target
        self._signer = signer
        self._reencrypter = _load(means, source, target)

    def move_template(self, signed: SignedTemplate) -> SignedTemplate:
        """Re-encrypt one reference template and vouch for it.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
            InvalidArgumentError: DIGEST_MISMATCH, WRONG_KEY_VERSION, WRONG_PARAMETERS, WRONG_USE, or what the
                reencrypter raises.
            FailedPreconditionError: KEY_DISABLED and its kin if a version became unusable meanwhile.
            ResourceExhaustedError: QUOTA_EXCEEDED.
        """
        try:
            statement = verify_template(self._means.trust, signed, (EMBEDDING_IDENTITY, KEYS_IDENTITY))
        except PermissionDeniedError as error:
            # The stream goes on; somebody who tries a forged template is remembered all the same.
            self._entry.fail(error.reason)
            raise
        if statement.key_version != str(self._source.version.name):
            raise InvalidArgumentError(
                Reason.WRONG_KEY_VERSION,
                f"the template is of {statement.key_version}, expected {self._source.version.name}",
            )
        if (statement.scheme, statement.profile) != (self._source.key.scheme, self._source.key.profile):
            raise InvalidArgumentError(Reason.WRONG_PARAMETERS, "the template has other parameters than its key")
        if self._source.version.name == self._target.version.name:
            raise InvalidArgumentError(
                Reason.WRONG_KEY_VERSION,
                f"the template is under {statement.key_version} already; within one version only segments are "
                "re-encrypted, to leave out their deleted slots",
            )
        if statement.use is not TemplateUse.REFERENCE:
            raise InvalidArgumentError(Reason.WRONG_USE, "only reference templates are stored, so only they are moved")
        self._charge(1)
        ciphertext = self._reencrypter.reencrypt_template(signed.ciphertext, statement.space, statement.use)
        moved = replace(
            statement,
            key_version=str(self._target.version.name),
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=self._means.clock(),
        )
        return sign_template(self._signer, moved, ciphertext)

    def move_segment(self, segment: bytes, content: SegmentContent) -> bytes:
        """Re-encrypt one packed segment, leaving out the slots that are not kept.

        Raises:
            PermissionDeniedError: IDENTITY_DENIED unless the matching service calls.
            VeilfaceError: As `move_template`.
        """
        self.require_segments_allowed()
        self._charge(len(content.slots))
        return self._reencrypter.reencrypt_segment(segment, content.space, content.slots)

    def require_segments_allowed(self) -> None:
        """Check the caller before a whole segment is taken in. Raises PermissionDeniedError (IDENTITY_DENIED)."""
        if self._entry.actor != MATCHING_IDENTITY:
            raise PermissionDeniedError(
                Reason.IDENTITY_DENIED,
                f"segments are accepted from {MATCHING_IDENTITY} only: nobody else vouches for what is in them",
            )

    def close(self) -> None:
        """Overwrite the secrets in use."""
        self._reencrypter.wipe()
        if self._reencrypter.replaced_count:
            self._means.alarm.sound()

    def _charge(self, count: int) -> None:
        source = self._means.vault.resolve(self._source.version.name)
        self._means.vault.resolve(self._target.version.name)
        limit = source.key.policy.quotas.reencryptions_per_caller
        if limit:
            charge = Charge(QuotaKind.REENCRYPTIONS_PER_CALLER, self._entry.actor, limit, count)
            self._means.ledger.spend(source.key.name, None, [charge], self._means.clock().date())
        self._entry.decision_count += count


@contextmanager
def open_reencryption(
    means: ReencryptionMeans, caller: str, source: KeyVersionName, target: KeyVersionName
) -> Iterator[Reencryption]:
    """Begin to move templates; the secrets are wiped at the end of the block.

    One record says that it was allowed, another one at the end how many templates were moved.

    Raises:
        InvalidArgumentError: WRONG_KEY_VERSION unless the target is the source, or a newer version of the same key.
        FailedPreconditionError: WRONG_KEY_VERSION unless the target is the primary version; INVALID_SETTING if this
            service has no signing key; KEY_DISABLED and its kin.
        PermissionDeniedError: POLICY_DENIED.
        NotFoundError: KEY_NOT_FOUND.
        DataLossError: SEAL_BROKEN.
    """
    resource = f"{source} to {target}"
    with audited(means.audit, caller, Operation.REENCRYPT.value, resource) as entry:
        if source.key != target.key or source.version > target.version:
            raise InvalidArgumentError(
                Reason.WRONG_KEY_VERSION, f"templates move to a newer version of the same key, not from {resource}"
            )
        old, new = means.vault.resolve(source), means.vault.resolve(target)
        old.key.policy.require_granted(Operation.REENCRYPT, caller)
        if target.version != new.key.primary_version:
            raise FailedPreconditionError(
                Reason.WRONG_KEY_VERSION,
                f"templates move to the primary version of their key: that is "
                f"{target.key_name.version(new.key.primary_version)}, not {target}",
            )
        if means.signer is None:
            raise FailedPreconditionError(
                Reason.INVALID_SETTING,
                "this key service has no signing key, so it cannot vouch for moved templates: set VEILFACE_SIGNING_KEY",
            )
        entry.allow()
        reencryption = Reencryption(means, entry, old, new, means.signer)
        try:
            yield reencryption
        finally:
            reencryption.close()
            if entry.decision_count:
                entry.complete()


def _load(means: ReencryptionMeans, source: UsableVersion, target: UsableVersion) -> Reencrypter:
    vault = means.vault
    public = vault.public_key(target)
    material = PublicMaterial(public.scheme, public.profile, str(public.key_version), public.content, b"")
    scheme, profile = source.key.scheme, source.key.profile
    with vault.open_secret_key(source) as secret_key, secret_key.exposed() as secret:
        if not source.key.transformed:
            return means.load(ReencryptionKeys(scheme, profile, secret, material, None))
        with (
            vault.open_transform_seed(source) as old_seed,
            vault.open_transform_seed(target) as new_seed,
            old_seed.exposed() as old,
            new_seed.exposed() as new,
        ):
            return means.load(ReencryptionKeys(scheme, profile, secret, material, (old, new)))
