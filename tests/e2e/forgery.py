"""Templates that only somebody with the embedding service's signing key could make, and some that nobody should."""

import asyncio
import hashlib
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template
from veilface.common.channel import open_channel
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.key_client import KeyMaterialClient
from veilface.common.pki import tls_settings
from veilface.common.signing import Signer
from veilface.crypto.contract import Metric, PublicMaterial, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_encryptor
from veilface.embedding.settings import DEFAULT_PIPELINE


class Forger:
    """Encrypts and signs random embeddings of any dimension."""

    def __init__(self, signer: Signer, material: PublicMaterial) -> None:
        self._signer = signer
        self._material = material
        self._encryptor = load_encryptor(material)
        self._random = np.random.default_rng(20260101)

    @classmethod
    def with_keys_of(cls, stack: LocalStack, key: str) -> "Forger":
        """One who has stolen the embedding service's signing key."""
        signer = Signer.from_file(stack.layout.signing / "embedding.key", EMBEDDING_IDENTITY)
        return cls(signer, asyncio.run(_fetch(stack, key)))

    @classmethod
    def with_a_key_of_its_own(cls, stack: LocalStack, key: str) -> "Forger":
        """One who only claims to be the embedding service."""
        return cls(Signer.generate(EMBEDDING_IDENTITY), asyncio.run(_fetch(stack, key)))

    def template(self, dimension: int, use: TemplateUse, model: str = DEFAULT_PIPELINE) -> SignedTemplate:
        """A template of a random embedding."""
        embedding = self._random.normal(size=dimension)
        return self.template_of(embedding / np.linalg.norm(embedding), use, model=model)

    def template_of(
        self,
        embedding: NDArray[np.float64],
        use: TemplateUse,
        *,
        model: str = DEFAULT_PIPELINE,
        metric: Metric = Metric.COSINE,
    ) -> SignedTemplate:
        """A fresh template of an embedding of shape (dimension,)."""
        space = TemplateSpace(embedding.size, metric)
        ciphertext = self._encryptor.encrypt(embedding, space, use)
        statement = TemplateStatement(
            key_version=self._material.key_version,
            scheme=self._material.scheme,
            profile=self._material.profile,
            space=space,
            model=model,
            use=use,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=datetime.now(UTC),
        )
        return sign_template(self._signer, statement, ciphertext)


async def _fetch(stack: LocalStack, key: str) -> PublicMaterial:
    async with open_channel(stack.addresses["keys"], tls_settings(stack.layout.certificates, "client")) as channel:
        return await KeyMaterialClient(channel).fetch_public(f"keys/{key}")
