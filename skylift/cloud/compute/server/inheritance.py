"""What servers inherit from this machine: package indexes, proxies and certificate authorities. Nothing else.

The settings are read with the rights of the calling user, and without running anything: pip's and uv's own settings
files and environment variables (pip's "Configuration", uv's "Configuration files"), the proxy variables, apt's entries
if this machine runs the image's Debian, and the bundle of certificate authorities. Constraints, local directories,
caches, client certificates and passwords stay here (withheld.py). Of a bundle only the certificates go along: some
bundles hold a private key too.
"""

from __future__ import annotations

import configparser
import errno
import logging
import os
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skylift.cloud.compute.image.apt_sources import KEYRING, debian_sources, keyring, server_options
from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.compute.server.seed_files import APT_PROXIES, APT_SOURCES, Inheritance
from skylift.cloud.compute.server.withheld import SHARED, without_passwords
from skylift.cloud.state.person import Person, calling_user

log = logging.getLogger(__name__)

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Debian keeps the authorities that it trusts in this file."""

_SYSTEM_BUNDLES = (BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE")
_LOCAL_AUTHORITIES = "/usr/local/share/ca-certificates"
_PACKAGED_AUTHORITIES = Path("/usr/share/ca-certificates")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")

_LONGEST = 8 << 20
"""The most bytes of a settings file or a bundle."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_PIP = {
    "index-url": "PIP_INDEX_URL",
    "extra-index-url": "PIP_EXTRA_INDEX_URL",
    "trusted-host": "PIP_TRUSTED_HOST",
    "proxy": "PIP_PROXY",
}


def inherited(environment: Mapping[str, str] = os.environ, etc: Path = Path("/etc")) -> Inheritance:
    """The settings that a server takes over if it starts now. `environment` is the environment of the process that
    starts the cloud."""
    caller = calling_user(environment)
    variables, bundle = caller.act(lambda: _settings(environment, caller, etc))
    files: dict[str, bytes] = {}
    if bundle is not None:
        files[BUNDLE] = bundle
        # For the day when the server's own package of authorities is upgraded and writes the bundle anew.
        for number, certificate in enumerate(_added(bundle.decode()), 1):
            files[f"{_LOCAL_AUTHORITIES}/skylift-host-{number}.crt"] = certificate.encode()
        # Programs that bring their own authorities look at these variables first.
        variables |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"), BUNDLE)
    sources = debian_sources(read_recipe().release, etc)
    if sources is not None:
        files[APT_SOURCES] = sources.replace(keyring(), KEYRING).encode()
    if options := server_options():
        files[APT_PROXIES] = "".join(f"{line}\n" for line in options).encode()
    found = without_passwords(Inheritance(variables, files), environment.get(SHARED, ""))
    return replace(found, environment={name: value for name, value in found.environment.items() if _plain(value)})


def _settings(environment: Mapping[str, str], caller: Person, etc: Path) -> tuple[dict[str, str], bytes | None]:
    """Variables, and the bundle of authorities: what the caller's own files and variables say."""
    pip = _pip_settings(environment, caller, etc)
    return _proxies(environment) | _indexes(pip, _uv_settings(environment, caller, etc)), _bundle(environment, pip)


def _plain(value: str) -> bool:
    """Whether /etc/environment can carry it: one line, without what PAM takes for quotes or a comment."""
    return bool(value) and not re.search(r"[\n\r\0#\"'\\]", value)


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """In the case they have here: tools disagree on which one they read, and that is settled on this machine."""
    names = [name for upper in _PROXIES for name in (upper, upper.lower())]
    return {name: environment[name] for name in names if environment.get(name)}


def _indexes(pip: Mapping[str, str], uv: Mapping[str, str]) -> dict[str, str]:
    """pip's and uv's settings, each completed from the other's: a server has both, this machine perhaps one."""
    variables = {variable: " ".join(pip[key].split()) for key, variable in _PIP.items() if pip.get(key)}
    default = uv.get("UV_DEFAULT_INDEX") or pip.get("index-url", "")
    extra = uv.get("UV_INDEX") or pip.get("extra-index-url", "")
    if default:
        variables["UV_DEFAULT_INDEX"] = default
        variables.setdefault("PIP_INDEX_URL", default)
    if extra:
        variables["UV_INDEX"] = " ".join(extra.split())
        variables.setdefault("PIP_EXTRA_INDEX_URL", " ".join(_url(index) for index in extra.split()))
    if insecure := uv.get("UV_INSECURE_HOST") or pip.get("trusted-host", ""):
        variables["UV_INSECURE_HOST"] = " ".join(insecure.split())
    return variables


def _url(index: str) -> str:
    """uv's `NAME=URL` without the name."""
    return re.sub(r"^[\w-]+=(?=https?://)", "", index)


def _pip_settings(environment: Mapping[str, str], caller: Person, etc: Path) -> dict[str, str]:
    """pip's, each key from the place that pip itself would take it from: the later one wins."""
    config = Path(environment.get("XDG_CONFIG_HOME") or caller.home / ".config")
    places = [etc / "xdg/pip/pip.conf", etc / "pip.conf", caller.home / ".pip/pip.conf", config / "pip/pip.conf"]
    places.append(Path(sys.prefix) / "pip.conf")
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        places = []
    elif chosen:
        places.append(Path(chosen))
    settings: dict[str, str] = {}
    for place in places:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(_read(place), str(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            # The kind alone: the text would have the line in it, and the line may have a password.
            log.warning("%s was left out of what servers inherit: %s", place, type(error).__name__)
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for key in (*_PIP, "cert"):
        if value := environment.get("PIP_" + key.upper().replace("-", "_")):
            settings[key] = value
    return settings


def _uv_settings(environment: Mapping[str, str], caller: Person, etc: Path) -> dict[str, str]:
    """uv's, by the names of its variables; the older ones mean the same as the newer."""
    config = Path(environment.get("XDG_CONFIG_HOME") or caller.home / ".config")
    settings: dict[str, str] = {}
    for place in (etc / "uv/uv.toml", config / "uv/uv.toml"):
        try:
            document = tomllib.loads(_read(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            log.warning("%s was left out of what servers inherit: %s", place, error)
            continue
        settings |= _uv_document(document)
    for variable, name in (
        ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("UV_DEFAULT_INDEX", "UV_DEFAULT_INDEX"),
        ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
        ("UV_INDEX", "UV_INDEX"),
        ("UV_INSECURE_HOST", "UV_INSECURE_HOST"),
    ):
        if value := environment.get(variable):
            settings[name] = value
    return settings


def _uv_document(document: Mapping[str, Any]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for table in (document.get("pip"), document):
        if not isinstance(table, dict):
            continue
        if url := table.get("index-url"):
            settings["UV_DEFAULT_INDEX"] = str(url)
        if isinstance(urls := table.get("extra-index-url"), list):
            settings["UV_INDEX"] = " ".join(map(str, urls))
    tables = document.get("index")
    indexes = [table for table in (tables if isinstance(tables, list) else []) if isinstance(table, dict)]
    indexes = [index for index in indexes if str(index.get("url", "")).startswith("http")]
    for index in indexes:
        if index.get("default"):
            settings["UV_DEFAULT_INDEX"] = str(index["url"])
    if more := [str(index["url"]) for index in indexes if not index.get("default")]:
        settings["UV_INDEX"] = " ".join(more)
    if isinstance(hosts := document.get("allow-insecure-host"), list):
        settings["UV_INSECURE_HOST"] = " ".join(map(str, hosts))
    return settings


def _bundle(environment: Mapping[str, str], pip: Mapping[str, str]) -> bytes | None:
    """The authorities that this machine trusts, where they are more or others than a distribution ships."""
    named = [pip.get("cert", ""), *(environment.get(name, "") for name in _BUNDLE_VARIABLES)]
    for path in (Path(name) for name in named if name):
        if text := _read_bundle(path):
            return text.encode()
    for path in map(Path, _SYSTEM_BUNDLES):
        if text := _read_bundle(path):
            return text.encode() if not _packaged() or _added(text) else None
    return None


def _read_bundle(path: Path) -> str:
    """The certificates of a file, and nothing else that is in it."""
    try:
        text = _read(path, errors="replace")
    except OSError:
        return ""
    return "".join(f"{match[0]}\n" for match in _CERTIFICATE.finditer(text))


def _read(path: Path, errors: str = "strict") -> str:
    """A settings file. What else may have the name (a pipe, a device) would keep the cloud waiting, or fill it."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content.decode(errors=errors)


def _added(bundle: str) -> list[str]:
    """Certificates that the distribution's package does not have; none if the package cannot be read."""
    packaged = _packaged()
    found = _CERTIFICATE.finditer(bundle) if packaged else ()
    return [f"{match[0]}\n" for match in found if "".join(match[1].split()) not in packaged]


def _packaged() -> set[str]:
    texts = (file.read_text() for file in _PACKAGED_AUTHORITIES.rglob("*.crt"))
    return {"".join(match[1].split()) for text in texts for match in _CERTIFICATE.finditer(text)}
