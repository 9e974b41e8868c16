"""The matching service as a process of its own, and the key service as far as it needs one."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.channel import open_channel
from veilface.common.chunks import split_into_chunks
from veilface.common.conversion import scheme_to_proto
from veilface.common.pki import tls_settings
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

START_TIMEOUT_S = 120


class PublicKeys(key_service_pb2_grpc.KeyServiceServicer):
    """The key service, as far as a matcher needs it."""

    def __init__(self, material):
        self._material = material
        self._info = key_service_pb2.KeyMaterialInfo(
            key_version=material.key_version, scheme=scheme_to_proto(material.scheme), profile=material.profile
        )

    async def GetPublicKey(self, request, context):
        for chunk in split_into_chunks(self._material.public_key):
            yield key_service_pb2.GetPublicKeyResponse(info=self._info, chunk=chunk)

    async def GetEvaluationKeys(self, request, context):
        for chunk in split_into_chunks(self._material.evaluation_keys):
            yield key_service_pb2.GetEvaluationKeysResponse(info=self._info, chunk=chunk)


class MatcherProcess:
    """`python -m veilface.matching`, started again on the same files as often as a test likes."""

    def __init__(self, folder, environment, name="matching"):
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._environment = environment
        self._process = None
        self.address = None

    async def start(self):
        self.log.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "veilface.matching", env=self._environment, stderr=log
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (listening := self.events("listening")):
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)
            self.address = listening[0]["address"]

    async def start_ready(self):
        await self.start()
        async with self.channel() as channel, asyncio.timeout(START_TIMEOUT_S):
            health = health_pb2_grpc.HealthStub(channel)
            async for response in health.Watch(health_pb2.HealthCheckRequest()):
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return

    def channel(self, identity="client"):
        return open_channel(self.address, tls_settings(self.folder, identity))

    def events(self, name):
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def resident_bytes(self):
        """How much memory it holds now."""
        return self._status_bytes("VmRSS")

    def peak_bytes(self):
        """The most that it held since `forget_peak`."""
        return self._status_bytes("VmHWM")

    def forget_peak(self):
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _status_bytes(self, field):
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    def set(self, **environment):
        """Change its environment for the next start."""
        self._environment |= environment

    def send_signal(self, number):
        self._process.send_signal(number)

    async def kill(self):
        self._process.kill()
        await self._process.wait()

    async def stop(self):
        """Stop it politely; answers the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self._process.wait()
