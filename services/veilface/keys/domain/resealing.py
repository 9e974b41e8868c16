"""Moving a vault to a new master key."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from veilface.common.errors import DataLossError, FailedPreconditionError, Reason
from veilface.keys.domain.key_store import KeyStore, SealedVersion
from veilface.keys.domain.sealing import KeyWrapper, Purpose, rewrap, sealing_key_id


def reseal(store: KeyStore, old: KeyWrapper, new: KeyWrapper) -> int:
    """Move every sealed secret from one master key to another, all or none. Answers how many versions were moved.

    Raises:
        DataLossError: SEAL_BROKEN if one of them was not sealed under `old`.
        FailedPreconditionError: KEY_CHANGED if the vault was changed meanwhile.
    """
    before = store.all_sealed()
    store.replace_sealed(before, [_rewrapped(sealed, old, new) for sealed in before])
    return len(before)


def require_sealed_under(sealed: SealedVersion, wrapper: KeyWrapper) -> None:
    """Check which master key a version says it was sealed under.

    Raises:
        DataLossError: SEAL_BROKEN if it is another one.
    """
    key_id = sealing_key_id(sealed.secret_key)
    if key_id != wrapper.key_id:
        raise DataLossError(
            Reason.SEAL_BROKEN,
            f"this master key (id {wrapper.key_id.hex()}) is not the one that {sealed.context.key_version} was sealed "
            f"under (id {key_id.hex()})",
        )


def require_any_sealed_under(stored: Sequence[SealedVersion], wrapper: KeyWrapper) -> None:
    """Check that the vault was not moved to another master key, whatever happened to single versions.

    Raises:
        DataLossError: SEAL_BROKEN if there are versions and all of them say that they were sealed under another one.
    """
    for sealed in stored:
        try:
            require_sealed_under(sealed, wrapper)
        except DataLossError as error:
            last = error
        else:
            return
    if stored:
        raise last


def require_same_master_key(new: bytes, stored: Iterable[bytes]) -> None:
    """Check that a new sealed secret is under the master key of those that are stored. Their beginnings are enough.

    Raises:
        FailedPreconditionError: KEY_CHANGED if all of them are under another one.
    """
    known = list(stored)
    if known and not any(_is_under(sealing_key_id(new), each) for each in known):
        raise FailedPreconditionError(
            Reason.KEY_CHANGED, "the vault was moved to another master key meanwhile: try again once the service has it"
        )


def _is_under(key_id: bytes, blob: bytes) -> bool:
    try:
        return sealing_key_id(blob) == key_id
    except DataLossError:
        return False


def _rewrapped(sealed: SealedVersion, old: KeyWrapper, new: KeyWrapper) -> SealedVersion:
    seed = sealed.transform_seed
    if seed:
        seed = rewrap(seed, replace(sealed.context, purpose=Purpose.TRANSFORM_SEED), old, new)
    return replace(sealed, secret_key=rewrap(sealed.secret_key, sealed.context, old, new), transform_seed=seed)
