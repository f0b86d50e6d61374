"""Where servers have to get to, read from what they inherit."""

from __future__ import annotations

import pytest

from skylift.cloud.compute.server.destinations import Destination, destinations
from skylift.cloud.compute.server.seed_files import Inheritance


def found(**environment: str) -> list[str]:
    return [str(one) for one in destinations(Inheritance(environment, {}))]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("HTTPS_PROXY", "http://proxy.example.test:3128", ["proxy.example.test:3128"]),
        ("https_proxy", "http://user:pass@10.0.0.9:8080/", ["10.0.0.9:8080"]),
        ("ALL_PROXY", "socks5h://10.0.0.9", ["10.0.0.9:1080"]),
        ("HTTP_PROXY", "Proxy.Example.test:3128", ["proxy.example.test:3128"]),
        ("PIP_INDEX_URL", "https://index.example.test/simple", ["index.example.test:443"]),
        ("UV_INDEX", "own=http://10.0.0.7/simple https://b.example.test:8443", ["10.0.0.7:80", "b.example.test:8443"]),
        ("NO_PROXY", "10.0.0.9", []),
        ("AWS_CA_BUNDLE", "http://10.0.0.9", []),
    ],
)
def test_proxies_and_indexes(name: str, value: str, wanted: list[str]) -> None:
    assert found(**{name: value}) == wanted


@pytest.mark.parametrize(
    "value",
    [
        "http://[fd00::1]:80",
        "http://[broken",
        "http://host:99999",
        "http://host:x",
        "file:///srv",
        "http://",
        "under score!",
        "ü",
    ],
)
def test_what_names_no_host_is_left_out(value: str) -> None:
    assert found(HTTP_PROXY=value) == []


def test_mirrors_of_apt_and_its_proxy() -> None:
    files = {
        "/etc/apt/sources.list.d/debian.sources": b"Types: deb\nURIs: http://mirror.example.test/debian https://10.0.0.8:99\n",
        "/etc/apt/apt.conf.d/80skylift-host": b'Acquire::http::Proxy "http://10.0.0.9:3142";\n'
        b'Acquire::https::Proxy::mirror.example.test "DIRECT";\nAcquire::Retries "3";\n',
    }
    assert destinations(Inheritance({}, files)) == (
        Destination("mirror.example.test", 80, "package mirror (apt)"),
        Destination("10.0.0.8", 99, "package mirror (apt)"),
        Destination("10.0.0.9", 3142, "proxy (apt)"),
    )


def test_each_once_with_the_first_reason() -> None:
    environment = {"UV_DEFAULT_INDEX": "https://a.example.test/x", "PIP_INDEX_URL": "https://a.example.test/y"}
    assert destinations(Inheritance(environment, {})) == (
        Destination("a.example.test", 443, "package index (UV_DEFAULT_INDEX)"),
    )
