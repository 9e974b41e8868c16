import json

import pytest

from veilface.common.errors import ConfigurationError, Reason, UnauthenticatedError
from veilface.common.identities import CLIENT_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.identity import AccessPolicy, caller_identity, peer_identity

CREATE = "/veilface.keys.v1.KeyService/CreateKey"
GET = "/veilface.keys.v1.KeyService/GetKey"
POLICY = AccessPolicy(
    {
        CREATE: [OPERATOR_IDENTITY],
        "/veilface.keys.v1.KeyService/*": [MATCHING_IDENTITY],
        "/a.B/Prefix": ["spiffe://example.org/*"],
        "/a.B/Any": ["*"],
    }
)


@pytest.mark.parametrize(
    ("method", "identity", "allowed"),
    [
        (CREATE, OPERATOR_IDENTITY, True),
        (CREATE, CLIENT_IDENTITY, False),
        (CREATE, OPERATOR_IDENTITY + "s", False),
        (CREATE, MATCHING_IDENTITY, True),
        (GET, MATCHING_IDENTITY, True),
        (GET, OPERATOR_IDENTITY, False),
        ("/veilface.keys.v1.KeyServices/GetKey", MATCHING_IDENTITY, False),
        ("/a.B/Prefix", "spiffe://example.org/x", True),
        ("/a.B/Prefix", "spiffe://example.org.evil/x", False),
        ("/a.B/Any", "anyone", True),
        ("/a.B/Unlisted", OPERATOR_IDENTITY, False),
        ("", OPERATOR_IDENTITY, False),
    ],
)
def test_only_what_is_listed_is_allowed(method, identity, allowed):
    assert POLICY.allows(method, identity) is allowed


def test_an_empty_policy_allows_nobody_anything():
    assert not AccessPolicy({}).allows(CREATE, OPERATOR_IDENTITY)


def test_added_rules_replace_rules_of_the_same_method_only():
    changed = POLICY.with_rules({CREATE: [CLIENT_IDENTITY]})
    assert changed.allows(CREATE, CLIENT_IDENTITY)
    assert not changed.allows(CREATE, OPERATOR_IDENTITY)
    assert changed.allows(GET, MATCHING_IDENTITY)
    assert POLICY.allows(CREATE, OPERATOR_IDENTITY)


@pytest.mark.parametrize(
    "rules",
    [
        {"CreateKey": ["a"]},
        {"/a.B/": ["a"]},
        {"/a.B/C*": ["a"]},
        {"/*/*": ["a"]},
        {"/a.B/C": "a"},
        {"/a.B/C": [""]},
        {"/a.B/C": ["a*b"]},
        {"/a.B/C": ["**"]},
    ],
)
def test_a_malformed_rule_is_a_configuration_error(rules):
    with pytest.raises(ConfigurationError) as caught:
        AccessPolicy(rules)
    assert caught.value.reason is Reason.INVALID_SETTING


def test_a_policy_is_read_from_a_file(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({CREATE: [OPERATOR_IDENTITY]}))
    policy = AccessPolicy.from_file(path)
    assert policy.allows(CREATE, OPERATOR_IDENTITY)
    assert not policy.allows(CREATE, CLIENT_IDENTITY)


@pytest.mark.parametrize("content", ["[", "[]", '{"/a.B/C": "a"}', '{"/a.B/C": [1]}'])
def test_a_malformed_policy_file_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"policy\.json"):
        AccessPolicy.from_file(path)


@pytest.mark.parametrize(
    ("auth_context", "identity"),
    [
        ({"peer_uri": [CLIENT_IDENTITY.encode()]}, CLIENT_IDENTITY),
        ({}, None),
        ({"peer_uri": []}, None),
        ({"peer_uri": [b""]}, None),
        ({"peer_uri": [b"\xff"]}, None),
        ({"peer_uri": [CLIENT_IDENTITY.encode(), OPERATOR_IDENTITY.encode()]}, None),
        ({"peer_dns": [OPERATOR_IDENTITY.encode()]}, None),
        ({"x509_common_name": [OPERATOR_IDENTITY.encode()]}, None),
        ({"x509_subject_alternative_name": [OPERATOR_IDENTITY.encode()]}, None),
    ],
)
def test_an_identity_is_the_only_uri_and_nothing_else(auth_context, identity):
    assert peer_identity(auth_context) == identity


def test_outside_of_a_call_there_is_no_caller():
    with pytest.raises(UnauthenticatedError):
        caller_identity()
