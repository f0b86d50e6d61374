"""What servers take over from the machine they run on, and what they do not."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from skylift.cloud.compute.server.inheritance import BUNDLE, inherited
from skylift.cloud.compute.server.seed_files import Inheritance

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm90IG9uZSBvZiB0aGUgcGFja2FnZWQ=\n-----END CERTIFICATE-----\n"

Inherit = Callable[[Mapping[str, str]], Inheritance]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def inherit(etc: Path, home: Path) -> Inherit:
    return lambda environment: inherited({"HOME": str(home), **environment}, etc)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_pips_settings_come_from_its_files_in_its_order(inherit: Inherit, etc: Path, home: Path) -> None:
    write(etc / "pip.conf", "[global]\nindex-url = https://site.test/simple\ntrusted-host = site.test\n")
    write(
        home / ".config/pip/pip.conf", "[global]\nindex-url = https://user.test/simple\n[install]\nproxy = http://p:1\n"
    )
    assert inherit({}).environment | {"SSL_CERT_FILE": ""} | {"REQUESTS_CA_BUNDLE": "", "PIP_CERT": ""} == {
        "PIP_INDEX_URL": "https://user.test/simple",
        "PIP_TRUSTED_HOST": "site.test",
        "PIP_PROXY": "http://p:1",
        "UV_DEFAULT_INDEX": "https://user.test/simple",
        "UV_INSECURE_HOST": "site.test",
        "SSL_CERT_FILE": "",
        "REQUESTS_CA_BUNDLE": "",
        "PIP_CERT": "",
    }
    assert (
        inherit({"PIP_INDEX_URL": "https://env.test/simple"}).environment["PIP_INDEX_URL"] == "https://env.test/simple"
    )


def test_pips_other_settings_stay_here(inherit: Inherit, home: Path) -> None:
    write(
        home / ".config/pip/pip.conf", "[global]\nfind-links = /srv/wheels\nconstraint = /etc/c.txt\ncache-dir = /c\n"
    )
    environment = inherit({"PIP_FIND_LINKS": "/srv/wheels", "PIP_NO_INDEX": "1", "UV_CACHE_DIR": "/c"}).environment
    assert not {name for name in environment if name.startswith(("PIP_", "UV_"))} - {"PIP_CERT"}


def test_pip_can_be_told_to_read_no_file(inherit: Inherit, etc: Path) -> None:
    write(etc / "pip.conf", "[global]\nindex-url = https://site.test/simple\n")
    assert "PIP_INDEX_URL" not in inherit({"PIP_CONFIG_FILE": os.devnull}).environment


def test_uvs_settings_are_read_and_serve_pip_too(inherit: Inherit, home: Path) -> None:
    write(
        home / ".config/uv/uv.toml",
        '[[index]]\nname = "ours"\nurl = "https://ours.test/simple"\n'
        '[[index]]\nurl = "https://main.test/simple"\ndefault = true\n[[index]]\nurl = "./local"\n',
    )
    environment = inherit({}).environment
    assert environment["UV_DEFAULT_INDEX"] == environment["PIP_INDEX_URL"] == "https://main.test/simple"
    assert environment["UV_INDEX"] == environment["PIP_EXTRA_INDEX_URL"] == "https://ours.test/simple"


def test_a_named_index_of_uv_is_a_plain_url_for_pip(inherit: Inherit) -> None:
    environment = inherit({"UV_INDEX": "ours=https://ours.test/simple"}).environment
    assert environment["UV_INDEX"] == "ours=https://ours.test/simple"
    assert environment["PIP_EXTRA_INDEX_URL"] == "https://ours.test/simple"


def test_a_settings_file_that_cannot_be_read_is_left_out(
    inherit: Inherit, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(home / ".config/pip/pip.conf", "index-url without a section\n")
    write(home / ".config/uv/uv.toml", "not = [toml\n")
    assert "PIP_INDEX_URL" not in inherit({}).environment
    assert [name for name in ("pip.conf", "uv.toml") if name in caplog.text] == ["pip.conf", "uv.toml"]


def test_proxies_are_taken_as_they_are_spelled(inherit: Inherit) -> None:
    proxies = {"https_proxy": "http://proxy.test:3128", "NO_PROXY": "10.0.0.0/8,.corp.test"}
    environment = inherit({**proxies, "FTP_PROXY": "x", "EDITOR": "vi"}).environment
    assert {name: value for name, value in environment.items() if "PROXY" in name.upper()} == proxies


def test_values_that_the_environment_file_cannot_carry_are_left_out(inherit: Inherit) -> None:
    assert "HTTP_PROXY" not in inherit({"HTTP_PROXY": "http://a\nEVIL=1"}).environment


def test_a_named_bundle_of_authorities_becomes_the_servers(inherit: Inherit, tmp_path: Path) -> None:
    bundle = tmp_path / "corporate.pem"
    bundle.write_text(CERTIFICATE)
    found = inherit({"REQUESTS_CA_BUNDLE": str(bundle)})
    assert found.files[BUNDLE] == CERTIFICATE.encode()
    assert found.environment["SSL_CERT_FILE"] == found.environment["PIP_CERT"] == BUNDLE


def test_a_bundle_without_a_certificate_is_no_bundle(inherit: Inherit, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    plain = inherit({})
    assert inherit({"SSL_CERT_FILE": str(tmp_path / "empty.pem")}).files.get(BUNDLE) == plain.files.get(BUNDLE)


def test_of_a_bundle_only_certificates_pass(inherit: Inherit, tmp_path: Path) -> None:
    bundle = tmp_path / "client.pem"
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    bundle.write_text(f"a comment\n{key}{CERTIFICATE}{key}-----BEGIN CERTIFICATE-----\n{key}{CERTIFICATE}")
    found = inherit({"SSL_CERT_FILE": str(bundle)})
    assert found.files[BUNDLE] == 2 * CERTIFICATE.encode()
    assert not [name for name, content in found.files.items() if b"c2VjcmV0" in content]


def test_what_is_no_settings_file_keeps_nobody_waiting(inherit: Inherit, home: Path, tmp_path: Path) -> None:
    (home / ".config/pip").mkdir(parents=True)
    os.mkfifo(home / ".config/pip/pip.conf")
    write(home / ".config/uv/uv.toml", "index = [1]\nextra-index-url = 2\nallow-insecure-host = true\n")
    found = inherit({"SSL_CERT_FILE": "/dev/zero"})
    assert not {name for name in found.environment if name.startswith(("PIP_", "UV_"))} - {"PIP_CERT"}


@pytest.mark.real
def test_what_the_caller_may_not_read_is_not_taken_over(tmp_path: Path) -> None:
    """Under sudo: a link in the caller's directories leads root to root's files."""
    caller = pwd.getpwnam("nobody")
    secret = tmp_path / "secret.conf"
    secret.write_text(f"[global]\nindex-url = https://root.test/simple\n{CERTIFICATE}")
    secret.chmod(0o600)
    home = Path(tempfile.mkdtemp(prefix="sky-"))
    try:
        home.chmod(0o755)
        (home / "pip.conf").symlink_to(secret)
        environment = {
            "SUDO_UID": str(caller.pw_uid),
            "PIP_CONFIG_FILE": str(home / "pip.conf"),
            "SSL_CERT_FILE": str(home / "pip.conf"),
        }
        assert "PIP_INDEX_URL" not in inherited(environment).environment
        assert CERTIFICATE.encode() not in inherited(environment).files.get(BUNDLE, b"")
    finally:
        shutil.rmtree(home)


def test_apts_mirrors_are_taken_where_the_release_is_the_same(inherit: Inherit, etc: Path) -> None:
    write(etc / "os-release", "ID=debian\nVERSION_CODENAME=trixie\n")
    write(etc / "apt/sources.list", "deb http://mirror.test/debian trixie main\n")
    text = inherit({}).files["/etc/apt/sources.list.d/debian.sources"].decode()
    assert "URIs: http://mirror.test/debian\n" in text
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n" in text
    write(etc / "os-release", "ID=fedora\n")
    assert "/etc/apt/sources.list.d/debian.sources" not in inherit({}).files
