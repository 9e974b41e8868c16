"""Moving a vault to a new master key."""

from dataclasses import replace

from veilface.common.errors import DataLossError, Reason
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


def _rewrapped(sealed: SealedVersion, old: KeyWrapper, new: KeyWrapper) -> SealedVersion:
    seed = sealed.transform_seed
    if seed:
        seed = rewrap(seed, replace(sealed.context, purpose=Purpose.TRANSFORM_SEED), old, new)
    return replace(sealed, secret_key=rewrap(sealed.secret_key, sealed.context, old, new), transform_seed=seed)
