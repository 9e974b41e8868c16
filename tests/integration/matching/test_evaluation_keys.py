"""The evaluation keys of CipherFace's scheme are large: they are streamed once, and kept as a comparer only."""

from contextlib import asynccontextmanager

import grpc.aio
import numpy as np
import pytest
from tests.integration.matching.matcher_process import PublicKeys

from veilface.common.health import Readiness
from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.key_client import KeyMaterialClient
from veilface.common.pool import BoundedPool
from veilface.common.server import Registration, ServerSettings, start_server
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_comparer, load_encryptor
from veilface.crypto.secret.registry import generate_key, load_decrypter
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.domain.comparers import Comparers

PROFILE = "ckks-tenseal-128-defensive"
VERSION = "keys/faces/versions/1"


class CountingKeys(PublicKeys):
    """Serves one key version, and counts the streams of evaluation keys."""

    streams = 0

    async def GetEvaluationKeys(self, request, context):
        self.streams += 1
        async for response in super().GetEvaluationKeys(request, context):
            yield response


@pytest.fixture(scope="module")
def generated():
    return generate_key(Scheme.CKKS_TENSEAL, PROFILE)


@asynccontextmanager
async def served(generated):
    """The keys as a key service serves them, and what makes comparers anew like a matcher that starts."""
    material = PublicMaterial(Scheme.CKKS_TENSEAL, PROFILE, VERSION, generated.public_key, generated.evaluation_keys)
    keys = CountingKeys(material)
    registration = Registration(
        key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
        keys,
        key_service_pb2_grpc.add_KeyServiceServicer_to_server,
    )
    policy = AccessPolicy({"/veilface.keys.v1.KeyService/*": [MATCHING_IDENTITY]})
    settings = ServerSettings(listen="127.0.0.1:0", insecure=True, insecure_identity=MATCHING_IDENTITY)
    server = await start_server(settings, [registration], Readiness(), policy)
    compute = BoundedPool(1, 16, "compute")
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield keys, lambda: Comparers(KeyMaterialClient(channel), load_comparer, compute)
    compute.close()
    await server.drain()


async def test_a_second_comparison_fetches_no_evaluation_keys_again(generated):
    # More than one message may hold, so they really are streamed.
    assert len(generated.evaluation_keys) > 20 << 20
    space = TemplateSpace(128)
    face = np.full(128, 128**-0.5)
    async with served(generated) as (keys, new_comparers):
        comparers = new_comparers()
        assert keys.streams == 0
        for _ in range(2):
            comparer = await comparers.get(VERSION)
            assert keys.streams == 1
        encryptor = load_encryptor(await comparers.describe_key(VERSION))
        reference, probe = (encryptor.encrypt(face, space, use) for use in (TemplateUse.REFERENCE, TemplateUse.PROBE))
        decrypter = load_decrypter(Scheme.CKKS_TENSEAL, PROFILE, generated.secret_key)
        score = decrypter.decrypt(comparer.compare(reference, probe, space), space, 1)
        assert score == pytest.approx([1.0], abs=1e-5)
        assert keys.streams == 1


async def test_a_matcher_that_was_started_again_fetches_them_again(generated):
    async with served(generated) as (keys, new_comparers):
        for _ in range(2):
            await new_comparers().get(VERSION)
        assert keys.streams == 2
