"""`skylift cloud issuer` against a cloud."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from serverless_cloud import ACCOUNT, REGION, Cloud
from support.oidc_issuer import URL, Signer, key_set
from typer.testing import CliRunner, Result

from skylift.cli.main import make_app, perform
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import RootKey
from skylift.place import control

Skylift = Callable[..., Result]


@pytest.fixture
def skylift(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Skylift:
    where = Endpoint(cloud.url, REGION, ACCOUNT, 1, "", "127.0.0.1")
    monkeypatch.setattr(control, "running_cloud", lambda _home: (where, RootKey(cloud.key, cloud.secret)))
    monkeypatch.setenv("NO_PROXY", "*")
    return lambda *arguments, **more: CliRunner().invoke(make_app("cloud"), ["cloud", "issuer", *arguments], **more)


def test_keys_are_set_shown_and_forgotten(skylift: Skylift, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(key_set(Signer("ES256", "one"), Signer("ES256", "two")))
    done = skylift(URL, str(file))
    assert done.exit_code == 0, done.stderr
    heading, line = done.stdout.splitlines()
    assert heading.split() == "ISSUER KEY COUNT KEY IDS UPDATE TIME".split()
    assert line.split()[:4] == [URL, "2", "one", "two"]
    assert skylift("https://other.example.com", "-", input=key_set(Signer("ES256", "three"))).exit_code == 0
    (shown,) = json.loads(skylift("https://other.example.com", "--json").stdout)
    assert (shown["KeyCount"], shown["KeyIds"]) == (1, ["three"])
    assert skylift(URL, "-", input=key_set(Signer("ES256", "new"))).stdout.splitlines()[1].split()[:3] == [
        URL,
        "1",
        "new",
    ]
    assert skylift(URL, "--reset").exit_code == 0
    assert [one["Issuer"] for one in json.loads(skylift("--json").stdout)] == ["https://other.example.com"]
    assert skylift(URL, "--reset").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "content", "said"),
    [
        (("--reset",), b"", "URL is missing"),
        ((URL, "none.json"), b"", "none.json cannot be read: No such file or directory."),
        ((URL, "."), b"", ". cannot be read: Is a directory."),
        ((URL, "-"), b"\xff", "- cannot be read: it is not UTF-8."),
        ((URL, "-"), b"x" * 262_145, "- is larger than 262144 bytes."),
        ((URL, "-"), b"<html>", "This is no JSON Web Key Set. It is not a JSON object: Expecting value at line 1"),
        ((URL, "-"), b'{"keys": []}', "It has no public key"),
        ((URL, "-", "--reset"), b"", "--reset goes without a FILE."),
        (("issuer.example.com", "-"), b'{"keys": []}', "It is an address like https://issuer.example.com"),
    ],
)
def test_what_cannot_be_is_said(
    skylift: Skylift,
    arguments: tuple[str, ...],
    content: bytes,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert perform(["cloud", "issuer", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert json.loads(skylift("--json").stdout) == []
