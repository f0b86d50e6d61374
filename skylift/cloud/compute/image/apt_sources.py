"""This machine's own apt settings for Debian (entries, proxies and the like), for the image and for servers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.state.program import find_program, own_environment

KEYRING = "/usr/share/keyrings/debian-archive-keyring.pgp"
_OLD_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_COMPONENTS = {"main", "contrib", "non-free", "non-free-firmware"}

# Of apt's many settings those that decide whether a mirror can be reached at all.
_REACH = re.compile(r"Acquire::https?::(Proxy(::[\w.-]+)?|Timeout)|Acquire::(Retries|ForceIPv[46])")
_BUILD = re.compile(
    _REACH.pattern
    + r"|Acquire::https?::(CaInfo|CaPath|Verify-Peer|Verify-Host)|Acquire::(Check-Valid-Until|Check-Date)"
)
_DUMPED = re.compile(r'(\S+) "(.*)";')


@dataclass(frozen=True)
class AptSource:
    """One place to get packages from."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    options: frozenset[str] = frozenset()

    def deb822(self, keyring: str) -> str:
        return (
            f"Types: deb\nURIs: {' '.join(self.uris)}\nSuites: {' '.join(self.suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By: {keyring}\n"
        )


def debian_sources(release: str, etc: Path = Path("/etc")) -> str | None:
    """This machine's own Debian entries as one deb822 text, if it runs Debian `release` itself; else None.

    Local directories, other vendors' repositories and unsigned ones are left out: their packages are for this machine.
    """
    if _os_release(etc) != ("debian", release):
        return None
    entries = [debian for entry in _entries(etc / "apt") if (debian := _debian_part(entry, release))]
    if not any(release in entry.suites for entry in entries):
        return None
    return "\n".join(entry.deb822(keyring()) for entry in entries)


def keyring() -> str:
    """The keys of Debian's archive, as this machine's package of them names the file."""
    return KEYRING if Path(KEYRING).exists() or not Path(_OLD_KEYRING).exists() else _OLD_KEYRING


def build_options() -> list[str]:
    """Settings of this machine's apt that a build on it needs, in apt.conf's form."""
    return [f'{name} "{value}";' for name, value in _dump() if _BUILD.fullmatch(name)]


def server_options() -> list[str]:
    """Settings that hold on a server as well: how to get out, not whom to trust."""
    return [f'{name} "{value}";' for name, value in _dump() if _REACH.fullmatch(name)]


def _dump() -> Iterator[tuple[str, str]]:
    program = find_program("apt-config")
    if program is None:
        return
    done = subprocess.run([program, "dump"], capture_output=True, text=True, check=True, env=own_environment())
    for line in done.stdout.splitlines():
        found = _DUMPED.fullmatch(line)
        if found and found[2]:
            yield found[1], found[2]


def _os_release(etc: Path) -> tuple[str, str]:
    try:
        text = (etc / "os-release").read_text()
    except FileNotFoundError:
        return "", ""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_CODENAME", "")


def _debian_part(entry: AptSource, release: str) -> AptSource | None:
    uris = tuple(uri for uri in entry.uris if uri.startswith(("http://", "https://")))
    suites = tuple(suite for suite in entry.suites if suite == release or suite.startswith(f"{release}-"))
    components = tuple(component for component in entry.components if component in _COMPONENTS)
    ours = not entry.signed_by or "debian-archive" in entry.signed_by
    if not (uris and suites and "main" in components and ours) or "trusted=yes" in entry.options:
        return None
    return AptSource(uris, suites, components)


def _entries(apt: Path) -> Iterator[AptSource]:
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    for file in lists:
        if file.is_file():
            yield from _one_line_entries(file.read_text())
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from _deb822_entries(file.read_text())


def _one_line_entries(text: str) -> Iterator[AptSource]:
    """`deb [option=value ...] URI SUITE [COMPONENT...]`, see sources.list(5)."""
    for line in text.splitlines():
        found = re.match(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line.strip())
        if found:
            options = dict(option.partition("=")[::2] for option in (found[1] or "").split())
            yield AptSource(
                (found[2],),
                (found[3],),
                tuple(found[4].split()),
                options.get("signed-by", ""),
                frozenset(f"{name.lower()}={value.lower()}" for name, value in options.items()),
            )


def _deb822_entries(text: str) -> Iterator[AptSource]:
    without_comments = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {name.lower(): value.strip() for name, value in re.findall(r"^([\w-]+):(.*)$", unfolded, re.MULTILINE)}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        yield AptSource(
            tuple(fields.get("uris", "").split()),
            tuple(fields.get("suites", "").split()),
            tuple(fields.get("components", "").split()),
            fields.get("signed-by", ""),
            frozenset({"trusted=yes"} if fields.get("trusted", "").lower() == "yes" else ()),
        )
