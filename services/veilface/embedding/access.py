"""Who may call which method of the embedding service, unless the operator's own file says otherwise. Nothing else."""

from typing import Final

from veilface.common.identities import CLIENT_IDENTITY, OPERATOR_IDENTITY

_SERVICE: Final = "/veilface.embedding.v1.EmbeddingService"
_BOTH: Final = (CLIENT_IDENTITY, OPERATOR_IDENTITY)

DEFAULT_ACCESS: Final[dict[str, tuple[str, ...]]] = {
    f"{_SERVICE}/ExtractTemplates": _BOTH,
    f"{_SERVICE}/BatchExtractTemplates": _BOTH,
    f"{_SERVICE}/ListModels": _BOTH,
}
