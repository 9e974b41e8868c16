"""A server process for the drain tests: prints its address, and "called" when a call has arrived.

A call sleeps as many seconds as the number after "keys/a" in the key's name.
"""

import asyncio
import sys
from pathlib import Path

from veilface.common.health import Readiness
from veilface.common.identity import AccessPolicy
from veilface.common.logging import configure_logging
from veilface.common.pki import tls_settings
from veilface.common.process import run
from veilface.common.server import Registration, ServerSettings, serve
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc


class SlowKeys(key_service_pb2_grpc.KeyServiceServicer):
    async def GetKey(self, request, context):
        print("called", flush=True)
        await asyncio.sleep(float(request.name.removeprefix("keys/a")))
        return key_service_pb2.Key(name=request.name)


async def main():
    folder, drain_timeout_s = Path(sys.argv[1]), float(sys.argv[2])
    configure_logging("info", "json")
    tls = tls_settings(folder, "server")
    settings = ServerSettings(
        listen="127.0.0.1:0",
        tls_certificate=tls.certificate,
        tls_private_key=tls.private_key,
        tls_ca=tls.ca,
        drain_timeout_s=drain_timeout_s,
    )
    registration = Registration(
        key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
        SlowKeys(),
        key_service_pb2_grpc.add_KeyServiceServicer_to_server,
    )
    await serve(
        settings,
        [registration],
        Readiness(),
        AccessPolicy({"/veilface.keys.v1.KeyService/*": ["*"]}),
        on_started=lambda server: print(server.address, flush=True),
    )
    print("returned", flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
