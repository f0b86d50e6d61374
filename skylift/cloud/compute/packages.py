"""The distribution's programs and files that the embedded EC2 needs, and the package of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.compute.image.apt_sources import KEYRING
from skylift.cloud.compute.server.seccomp import PROFILES
from skylift.cloud.state.program import find_program

_OLD_KEYRING = KEYRING.replace(".pgp", ".gpg")


@dataclass(frozen=True)
class Package:
    """One thing that must be there: any of `programs` on the PATH, or any of `files`. `package` as Debian names it."""

    name: str
    package: str
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def found(self) -> str | None:
        """The absolute path of the first one that exists."""
        paths = (find_program(program) for program in self.programs)
        return next((path for path in paths if path), None) or next(
            (file for file in self.files if Path(file).exists()), None
        )


PARTS = (
    Package("OCI runtime", "runc", programs=("runc", "crun")),
    Package("conmon", "conmon", programs=("conmon",)),
    Package("seccomp profile", "golang-github-containers-common", files=tuple(map(str, PROFILES))),
    Package("nftables", "nftables", programs=("nft",)),
    Package("iproute2", "iproute2", programs=("ip",)),
    Package("lxcfs", "lxcfs", programs=("lxcfs",)),
    Package("pasta", "passt", programs=("pasta",)),
    Package("mmdebstrap", "mmdebstrap", programs=("mmdebstrap",)),
    Package("Debian's archive keys", "debian-archive-keyring", files=(KEYRING, _OLD_KEYRING)),
    Package("unshare", "util-linux", programs=("unshare",)),
    Package("setpriv", "util-linux", programs=("setpriv",)),
    Package("mkfs.ext4", "e2fsprogs", programs=("mkfs.ext4",)),
    Package("losetup", "mount", programs=("losetup",)),
    Package("OpenSSH client", "openssh-client", programs=("ssh",)),
)
"""tini is not among them: it runs inside servers and comes with the image."""
ROOTLESS_PARTS = (*PARTS, Package("newuidmap", "uidmap", programs=("newuidmap",)))


def missing_parts(parts: Iterable[Package] = PARTS) -> list[Package]:
    return [part for part in parts if part.found() is None]


def packages(parts: Iterable[Package]) -> list[str]:
    """The Debian packages that bring these parts, each once."""
    return list(dict.fromkeys(part.package for part in parts))
