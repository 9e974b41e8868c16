"""The identities of veilface's own parts: URIs in the subject alternative names of their certificates."""

EMBEDDING_IDENTITY = "spiffe://veilface/embedding"
KEYS_IDENTITY = "spiffe://veilface/keys"
MATCHING_IDENTITY = "spiffe://veilface/matching"
CLIENT_IDENTITY = "spiffe://veilface/client"
OPERATOR_IDENTITY = "spiffe://veilface/operator"

IDENTITIES = {
    "embedding": EMBEDDING_IDENTITY,
    "keys": KEYS_IDENTITY,
    "matching": MATCHING_IDENTITY,
    "client": CLIENT_IDENTITY,
    "operator": OPERATOR_IDENTITY,
}
"""By the names that files and settings use."""
