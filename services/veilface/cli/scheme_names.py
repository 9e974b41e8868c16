"""The value of --scheme: the name of a scheme, or the reason why a scheme of the papers is not among them."""

from typing import Final

import typer

from veilface.common.errors import InvalidArgumentError

# The names of crypto.contract.Scheme, which would be slow to import for a help text.
SCHEME_NAMES: Final = ("ckks-packed", "ckks-tenseal", "paillier", "damgard-jurik", "okamoto-uchiyama")


def parse_scheme(name: str) -> str:
    """The name if it is one. Raises typer.BadParameter, saying why for the schemes that the papers excluded."""
    if name in SCHEME_NAMES:
        return name
    from veilface.crypto.public.phe.excluded import refuse_excluded

    try:
        refuse_excluded(name)
    except InvalidArgumentError as refused:
        raise typer.BadParameter(f"{refused.message}. There are {', '.join(SCHEME_NAMES)}") from None
