import pytest

from veilface.common.addresses import is_local, join_host_port


@pytest.mark.parametrize(
    "address",
    [
        "unix:/run/x.sock",
        "unix-abstract:x",
        "localhost:1",
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "ipv4:127.0.0.1:1",
        "dns:///localhost:1",
    ],
)
def test_what_never_leaves_the_machine_is_local(address):
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":1",
        "0.0.0.0:1",
        "[::]:1",
        "10.0.0.1:1",
        "localhost.example.org:1",
        "dns:///keys:1",
        "127.0.0.1.example.org:1",
        "dns://127.0.0.1/example.org:1",
    ],
)
def test_everything_else_is_not_local(address):
    assert not is_local(address)


def test_an_ipv6_host_gets_brackets():
    assert join_host_port("127.0.0.1", 1) == "127.0.0.1:1"
    assert join_host_port("::1", 1) == "[::1]:1"
