"""What there is to know about a key's profile, as far as this installation knows it."""

from veilface.client.keys import Key
from veilface.common.errors import InvalidArgumentError
from veilface.crypto.public.profile_facts import ProfileFacts, profile_facts


def facts_of(key: Key) -> ProfileFacts | None:
    """The facts of a key's profile; None if the service knows more profiles, or has packages that are not here."""
    try:
        return profile_facts(key.scheme, key.profile)
    except (InvalidArgumentError, ModuleNotFoundError):
        return None
