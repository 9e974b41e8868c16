"""`veilface certs renew` on the folder of a running stack: the services take up the new certificates by themselves."""

import ssl
import subprocess
import sys

import pytest
from cryptography import x509

from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.pki import load_certificate

TIMEOUT_S = 60


def serial_number_shown(stack: LocalStack, name: str) -> int:
    """The serial number of the certificate that a service shows to a new connection."""
    host, _, port = stack.addresses[name].rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)), timeout=TIMEOUT_S)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def ask_everyone(client: VeilfaceClient) -> None:
    client.models()
    client.keys.list()
    client.galleries.list()


@pytest.mark.parametrize("name", ["embedding", "keys", "matching"])
def test_a_renewed_certificate_is_shown_to_new_connections_while_old_ones_go_on(stack: LocalStack, name: str) -> None:
    certificate = stack.layout.certificates / f"{name}.crt"
    before = load_certificate(certificate)
    pid = stack.process(name).pid
    with stack.client() as connected:
        ask_everyone(connected)
        assert serial_number_shown(stack, name) == before.serial_number
        command = [sys.executable, "-m", "veilface.cli.app", "certs", "renew", str(certificate.parent), name]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
        renewed = load_certificate(certificate)
        assert renewed.serial_number != before.serial_number
        assert serial_number_shown(stack, name) == renewed.serial_number
        ask_everyone(connected)
    with stack.client() as newly_connected:
        ask_everyone(newly_connected)
    assert stack.process(name).pid == pid
