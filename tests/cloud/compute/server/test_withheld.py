"""What is left of passwords in what servers inherit: nothing, unless a host is named."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import pytest

from skylift.cloud.compute.server.destinations import destinations
from skylift.cloud.compute.server.inheritance import inherited
from skylift.cloud.compute.server.seed_files import APT_PROXIES, APT_SOURCES, Inheritance, seed_files
from skylift.cloud.compute.server.withheld import SHARED, without_passwords
from skylift.cloud.domain.upstream import FORWARDER, WITHHELD, Upstream

SECRET = "s3cr%65t-w0rd"
INDEX = f"https://me:{SECRET}@index.example.test/pypi/simple"
PROXY = f"http://me:{SECRET}@proxy.example.test:3128"


def kept(shared: str = "", files: dict[str, bytes] | None = None, **environment: str) -> Inheritance:
    return without_passwords(Inheritance(environment, files or {}), shared)


def written(inheritance: Inheritance) -> str:
    """All that a server gets of it."""
    files = seed_files(
        instance_id="i-1",
        hostname="ip-10-0-1-5.ec2.internal",
        private_ip="10.0.1.5",
        name_servers=["10.0.0.2"],
        search="",
        region="us-east-1",
        public_key=None,
        user_data=None,
        inheritance=inheritance,
    )
    return "\n".join(f"{file.path}\n{file.content.decode()}" for file in files)


@pytest.mark.parametrize(
    "name",
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy PIP_PROXY "
    "UV_DEFAULT_INDEX UV_INDEX PIP_INDEX_URL PIP_EXTRA_INDEX_URL".split(),
)
@pytest.mark.parametrize(
    "url",
    [
        INDEX,
        PROXY,
        f"https://{SECRET}@index.example.test/simple/",
        f"socks5h://me:{SECRET}@proxy.example.test",
        f"//me:{SECRET}@index.example.test/",
        f"http:////me:{SECRET}@index.example.test/",
        f"https://me:{SECRET}@index.example.test:port/",
        f"https://me:{SECRET}@[broken/simple",
        f"HTTPS://me:{SECRET}@Index.example.test/simple",
        f"https://me@x:{SECRET}@index.example.test/simple",
        f"https://me:{SECRET}#@index.example.test/simple",
        f"https://me:1234#{SECRET}@index.example.test/simple",
        f"https://me:12/{SECRET}@index.example.test/simple",
        f"https://me:12?{SECRET}@index.example.test/simple",
    ],
)
def test_no_password_reaches_a_server(name: str, url: str) -> None:
    assert SECRET not in written(kept(**{name: url}))


def test_a_proxy_without_a_scheme_is_one() -> None:
    found = kept(https_proxy=f"me:{SECRET}@proxy.example.test:3128")
    (proxy,) = found.upstreams
    assert found.environment["https_proxy"] == proxy.as_seen == f"http://{FORWARDER}:{proxy.listen}"
    assert (proxy.kind, proxy.origin) == ("proxy", "http://proxy.example.test:3128")


def test_an_index_keeps_its_path_and_its_name() -> None:
    found = kept(UV_INDEX=f"ours={INDEX} https://open.example.test/simple", PIP_TRUSTED_HOST="open.example.test")
    (index,) = found.upstreams
    ours = f"http://{FORWARDER}:{index.listen}/pypi/simple"
    assert found.environment["UV_INDEX"] == f"ours={ours} https://open.example.test/simple"
    assert found.environment["PIP_TRUSTED_HOST"].split() == ["open.example.test", FORWARDER]
    assert found.environment[WITHHELD] == "index.example.test"
    assert index.paths == ("/pypi/simple",)
    assert index.authorization == "Basic bWU6czNjcmV0LXcwcmQ="


def test_a_folder_whose_name_begins_with_an_at_is_no_password() -> None:
    assert kept(UV_INDEX="https://index.example.test/@ours/simple").upstreams == ()


def test_one_index_has_one_port_and_always_the_same() -> None:
    first = kept(UV_DEFAULT_INDEX=INDEX, PIP_INDEX_URL=INDEX, UV_INDEX=INDEX.replace("/pypi/", "/more/"))
    (index,) = first.upstreams
    assert index.paths == ("/pypi/simple", "/more/simple")
    again = kept(PIP_INDEX_URL=INDEX.replace(SECRET, "another"), UV_INDEX="https://a:b@c.example.test/simple")
    assert index.listen in {one.listen for one in again.upstreams}
    assert len({one.listen for one in again.upstreams}) == 2


def test_the_forwarder_goes_where_this_machine_goes() -> None:
    (index,) = (one for one in kept(UV_INDEX=INDEX, https_proxy=PROXY).upstreams if one.kind == "index")
    assert index.via == PROXY
    (index,) = (one for one in kept(UV_INDEX=INDEX, PIP_PROXY=PROXY).upstreams if one.kind == "index")
    assert index.via == PROXY
    exempt = kept(UV_INDEX=INDEX, https_proxy=PROXY, NO_PROXY="10.0.0.1,.example.test")
    assert [one.via for one in exempt.upstreams] == ["", ""]
    assert index.verified
    assert not kept(UV_INDEX=INDEX, UV_INSECURE_HOST="index.example.test").upstreams[0].verified


def test_apts_mirrors_and_proxies() -> None:
    files = {
        APT_SOURCES: f"Types: deb\nURIs: https://me:{SECRET}@mirror.example.test/debian\nSuites: trixie\n".encode(),
        APT_PROXIES: f'Acquire::http::Proxy "{PROXY}";\nAcquire::https::Proxy::a.test "DIRECT";\n'.encode(),
    }
    found = kept(files=files)
    assert SECRET not in written(found)
    proxy, mirror = sorted(found.upstreams, key=lambda one: one.kind, reverse=True)
    assert f"URIs: {mirror.as_seen}/debian\n" in found.files[APT_SOURCES].decode()
    assert found.files[APT_PROXIES].decode().splitlines() == [
        f'Acquire::http::Proxy "{proxy.as_seen}";',
        'Acquire::https::Proxy::a.test "DIRECT";',
    ]


def test_a_host_that_is_named_is_left_as_it_is() -> None:
    found = kept("other.example.test, Index.example.test", UV_INDEX=INDEX, HTTPS_PROXY=PROXY)
    assert found.environment["UV_INDEX"] == INDEX
    assert WITHHELD not in found.environment
    assert SECRET not in found.environment["HTTPS_PROXY"]
    socks = f"socks5h://me:{SECRET}@proxy.example.test"
    assert kept("proxy.example.test", ALL_PROXY=socks).environment["ALL_PROXY"] == socks


@pytest.mark.parametrize("scheme", ["socks5h", "https", "ftp"])
def test_a_proxy_that_the_forwarder_cannot_speak_to_is_left_out(scheme: str) -> None:
    assert kept(ALL_PROXY=f"{scheme}://me:{SECRET}@proxy.example.test").environment == {}


def test_servers_may_reach_what_they_could_before() -> None:
    assert [str(one) for one in destinations(kept(UV_INDEX=INDEX, HTTPS_PROXY=PROXY))] == [
        "proxy.example.test:3128",
        "index.example.test:443",
    ]


def test_no_password_is_shown_where_an_upstream_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = kept(UV_INDEX=INDEX, HTTPS_PROXY=PROXY, ALL_PROXY=f"socks5://me:{SECRET}@proxy.example.test")
    assert SECRET not in repr(found) + repr(destinations(found)) + caplog.text
    assert "ALL_PROXY" in caplog.text
    assert isinstance(pickle.loads(pickle.dumps(found.upstreams[0])), Upstream)


def test_the_whole_way_from_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pip.conf").write_text(f"[global]\nindex-url = {INDEX}\n")
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv/uv.toml").write_text(f'[[index]]\nurl = "{INDEX.replace("/pypi/", "/two/")}"\n')
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/pip.conf").write_text(f"index-url = {INDEX}\n")  # no section
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HTTPS_PROXY": f"{PROXY}'"}
    found = inherited(environment, tmp_path / "etc")
    assert SECRET not in written(found) + caplog.text
    assert found.environment["PIP_INDEX_URL"].startswith(f"http://{FORWARDER}:")
    assert found.environment["UV_INDEX"].endswith("/two/simple")
    assert "pip.conf" in caplog.text
    shared = inherited({**environment, SHARED: "index.example.test"}, tmp_path / "etc")
    assert shared.environment["PIP_INDEX_URL"] == INDEX
    assert os.environ.get(SHARED) is None
