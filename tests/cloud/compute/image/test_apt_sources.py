"""Which of a machine's apt entries an image and servers take over."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cloud.compute.image.apt_sources import debian_sources, keyring

TRIXIE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_CODENAME=trixie\n'


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(TRIXIE)
    return tmp_path


def stanzas(text: str | None) -> list[dict[str, str]]:
    assert text is not None
    return [dict(line.split(": ", 1) for line in stanza.strip().splitlines()) for stanza in text.split("\n\n")]


def test_deb822_entries_are_taken_with_their_mirrors(etc: Path) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(
        "# what the installer wrote\nTypes: deb deb-src\nURIs: http://mirror.test/debian\n"
        "Suites: trixie\n trixie-updates\nComponents: main non-free-firmware\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb\nURIs: https://mirror.test/debian-security\nSuites: trixie-security\nComponents: main\n"
    )
    first, second = stanzas(debian_sources("trixie", etc))
    assert first == {
        "Types": "deb",
        "URIs": "http://mirror.test/debian",
        "Suites": "trixie trixie-updates",
        "Components": "main non-free-firmware",
        "Signed-By": keyring(),
    }
    assert (second["URIs"], second["Suites"]) == ("https://mirror.test/debian-security", "trixie-security")


def test_one_line_entries_are_taken_with_their_mirrors(etc: Path) -> None:
    (etc / "apt/sources.list").write_text(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.test/debian trixie main # us\n"
        "#deb http://commented.test/debian trixie main\ndeb-src http://mirror.test/debian trixie main\n"
    )
    (only,) = stanzas(debian_sources("trixie", etc))
    assert (only["URIs"], only["Components"]) == ("http://mirror.test/debian", "main")


@pytest.mark.parametrize(
    "entry",
    [
        "Types: deb\nURIs: file:/srv/packages\nSuites: trixie\nComponents: main\n",
        "Types: deb\nURIs: http://mirror.test/x\nSuites: trixie\nComponents: main\nTrusted: yes\n",
        "Types: deb\nURIs: http://mirror.test/x\nSuites: trixie\nComponents: stable\n",
        "Types: deb\nURIs: http://mirror.test/x\nSuites: trixie\nComponents: main\nSigned-By: /etc/vendor.asc\n",
        "Types: deb\nURIs: http://mirror.test/x\nSuites: sid\nComponents: main\n",
        "Types: deb\nURIs: http://mirror.test/x\nSuites: trixie\nComponents: main\nEnabled: no\n",
    ],
    ids=["local", "unsigned", "other components", "another vendor's key", "other release", "switched off"],
)
def test_what_is_for_this_machine_only_stays_here(etc: Path, entry: str) -> None:
    (etc / "apt/sources.list.d/other.sources").write_text(entry)
    assert debian_sources("trixie", etc) is None
    (etc / "apt/sources.list").write_text("deb http://mirror.test/debian trixie main\n")
    assert [stanza["URIs"] for stanza in stanzas(debian_sources("trixie", etc))] == ["http://mirror.test/debian"]


def test_another_release_or_distribution_is_left_to_mmdebstrap(etc: Path) -> None:
    (etc / "apt/sources.list").write_text("deb http://mirror.test/debian trixie main\n")
    assert debian_sources("trixie", etc) is not None
    assert debian_sources("bookworm", etc) is None
    (etc / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=trixie\n")
    assert debian_sources("trixie", etc) is None
