"""A token is believed for its signature, its audience and its time, by an algorithm that it cannot choose."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipelines.api.auth import trust_of
from pipelines.errors import InvalidSetting, NobodyTrusted, TokenKeysUnreachable, TokenNotAccepted
from pipelines.settings import load_settings
from tests.postgres.api.conftest import AUDIENCE, SECRET, Api, path_of, token_of
from tests.support.planting import Tenant, new_id

SOMEBODY = Tenant(new_id(), (), ())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(tenant: Tenant = SOMEBODY, **others: Any) -> dict[str, Any]:
    """What a token says; None leaves a claim out."""
    said = {
        "organization_id": str(tenant.organization),
        "aud": AUDIENCE,
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    } | others
    return {name: value for name, value in said.items() if value is not None}


def by_secret(secret: str = SECRET, algorithm: str = "HS256", **others: Any) -> str:
    """A token that is signed with a secret."""
    return jwt.encode(claims(**others), secret, algorithm=algorithm)


REFUSED = {
    "expired": lambda: by_secret(exp=datetime.now(UTC) - timedelta(seconds=1)),
    "not valid yet": lambda: by_secret(nbf=datetime.now(UTC) + timedelta(minutes=5)),
    "without an end": lambda: by_secret(exp=None),
    "for another audience": lambda: by_secret(aud="billing"),
    "for no audience": lambda: by_secret(aud=None),
    "of no organization": lambda: by_secret(organization_id=None),
    "of something else": lambda: by_secret(organization_id="Acme"),
    "of a number": lambda: by_secret(organization_id=7),
    "with another secret": lambda: by_secret("another secret that is long enough"),
    "by a longer hash": lambda: by_secret(SECRET * 2, algorithm="HS512"),
    "unsigned": lambda: jwt.encode(claims(), None, algorithm="none"),
    "with its signature cut off": lambda: by_secret().rpartition(".")[0] + ".",
    "signed with a key pair": lambda: jwt.encode(claims(), RSA, algorithm="RS256"),
    "no token": lambda: "sesame",
    "nothing": lambda: "",
    # What no parser likes to read.
    "nested": lambda: ".".join([base64.urlsafe_b64encode(b"[" * 20_000).decode().rstrip("=")] * 3),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_a_token_that_is_not_right_is_refused(shared: Api, make: Callable[[], str]) -> None:
    """The answer is 401 and how to do better, the same whatever was wrong with it."""
    answer = shared.ask(shared.tenants[0], "completeness", headers={"Authorization": f"Bearer {make()}"})
    without = shared.client.get(path_of(shared.tenants[0], "completeness"))

    assert answer.status_code == without.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (answer.text, answer.headers) == (without.text, without.headers)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_the_signers_clock_may_be_a_little_ahead(shared: Api, claim: str) -> None:
    """Two machines never have the same time to the second."""
    tenant = shared.tenants[0]
    token = jwt.encode(claims(tenant, **{claim: datetime.now(UTC) + timedelta(seconds=5)}), SECRET, "HS256")

    answer = shared.ask(tenant, "completeness", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "Token", "bearer-token"])
def test_only_a_bearer_is_believed(shared: Api, scheme: str) -> None:
    """A right token under another name is none."""
    tenant = shared.tenants[0]
    named = {"Authorization": f"{scheme} {token_of(tenant)}"}

    answer = shared.ask(tenant, "completeness", headers=named)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "place",
    [
        "/v1/organizations/nobody/summary?since=x",
        "/v1/organizations/nobody/summary?since=x&since=y",
        "/v1/definitions?colour=red",
        "/v1/definitions?colour=red&colour=blue",
    ],
)
def test_who_did_not_say_who_it_is_learns_nothing_else(shared: Api, place: str) -> None:
    """Before a token nothing is looked at: not even whether the question makes sense."""
    assert shared.client.get(place).status_code == 401


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (CURVE, "ES256")])
def test_published_keys_are_believed(key: Any, algorithm: str) -> None:
    """With an address of keys, tokens are checked with the one they name."""
    with published() as address:
        trust = trust_of(load_settings(api_jwks_url=address))

        found = trust.organization_of(by_key(key, algorithm))

    assert found == SOMEBODY.organization


CONFUSED = {
    "by the secret that a public key is": lambda: by_hand(PUBLIC_PEM, kid="RS256"),
    "by a secret": lambda: jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "RS256"}),
    "by a shared key among the published": lambda: jwt.encode(
        claims(), SECRET, algorithm="HS256", headers={"kid": "shared"}
    ),
    "unsigned": lambda: jwt.encode(claims(), None, algorithm="none", headers={"kid": "RS256"}),
    "by another pair": lambda: by_key(
        rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"
    ),
    "by nobody known": lambda: jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "nobody"}),
    "by a longer hash": lambda: jwt.encode(claims(), RSA, algorithm="RS512", headers={"kid": "RS256"}),
    "naming no key": lambda: jwt.encode(claims(), RSA, algorithm="RS256"),
}


@pytest.mark.parametrize("make", CONFUSED.values(), ids=CONFUSED)
def test_published_keys_are_no_secrets(make: Callable[[], str]) -> None:
    """What is signed with a public key as if it were a secret is refused, and every other mix-up."""
    with published() as address:
        trust = trust_of(load_settings(api_jwks_url=address))
        assert trust.organization_of(by_key(RSA, "RS256")) == SOMEBODY.organization

        with pytest.raises(TokenNotAccepted):
            trust.organization_of(make())


def test_keys_that_cannot_be_read_are_no_fault_of_the_token() -> None:
    """Then nobody can be believed for a while, which is another answer than refusing."""
    with published() as gone:
        pass
    for answer in (b"<html>", b'{"keys": []}'):
        with published(answer) as address, pytest.raises(TokenKeysUnreachable):
            trust_of(load_settings(api_jwks_url=address)).organization_of(by_key(RSA, "RS256"))

    with pytest.raises(TokenKeysUnreachable):
        trust_of(load_settings(api_jwks_url=gone)).organization_of(by_key(RSA, "RS256"))


def test_one_source_of_trust_is_named() -> None:
    """None is nobody, and two would let a token choose its algorithm."""
    with pytest.raises(NobodyTrusted, match="EXECMETRICS_API_SECRET or EXECMETRICS_API_JWKS_URL"):
        trust_of(load_settings())
    with pytest.raises(InvalidSetting, match="not both"):
        trust_of(load_settings(api_secret=SECRET, api_jwks_url="https://keys.example.com/"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_secret", "a secret of thirty-one bytes..."),
        ("api_secret", ""),
        ("api_jwks_url", "http://keys.example.com/"),
        ("api_jwks_url", "http://127.0.0.1.example.com/"),
        ("api_jwks_url", "file:///etc/passwd"),
        ("api_audience", ""),
    ],
)
def test_a_setting_that_would_let_others_in_is_refused(name: str, value: str) -> None:
    """A secret that can be guessed, or keys that can be exchanged on their way; the value is not repeated."""
    with pytest.raises(InvalidSetting, match=f"EXECMETRICS_{name.upper()}") as refused:
        load_settings(**{name: value})

    assert not value or value not in str(refused.value)


def by_key(key: Any, algorithm: str) -> str:
    """A token that is signed with the private key of a pair, and names the public one."""
    return jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": algorithm})


def by_hand(secret: bytes, kid: str) -> str:
    """An HS256 token with a secret that no library would take for one."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    said = claims() | {"exp": int(datetime.now(UTC).timestamp()) + 300}
    signing = part(json.dumps(header).encode()) + b"." + part(json.dumps(said).encode())
    return (signing + b"." + part(hmac.new(secret, signing, hashlib.sha256).digest())).decode()


@contextmanager
def published(answer: bytes | None = None) -> Iterator[str]:
    """The public keys at an address of this machine, and carelessly a shared one; or another answer."""
    keys = [
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())) | {"kid": "RS256", "use": "sig"},
        json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key())) | {"kid": "ES256", "use": "sig"},
        json.loads(jwt.algorithms.HMACAlgorithm.to_jwk(SECRET)) | {"kid": "shared", "use": "sig"},
    ]

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer or json.dumps({"keys": keys}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            server.shutdown()
            thread.join()
