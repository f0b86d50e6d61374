"""The state directory: where everything of one cloud is kept, and what of it the user's own tools may read."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import asdict, dataclass
from pathlib import Path

from skylift.cloud.durable import replace_file

DEFAULT_PORT = 4520
"""Where the endpoint listens on 127.0.0.1 when nothing else is said."""

DEFAULT_TLS_PORT = 4521


@dataclass(frozen=True)
class Endpoint:
    """What a client needs to find a running cloud; kept in `cloud.json` (no secrets)."""

    url: str
    region: str
    account: str
    pid: int
    version: str
    loopback: str
    """First address of the cloud's public range: the host's own source address, as its servers see it."""
    tls_url: str = ""
    """The same endpoint over TLS, where there is a certificate for it."""


@dataclass(frozen=True)
class RootKey:
    """The account root's access key; kept in `credentials.json`, readable by the owner of the state directory only."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Home:
    """Paths in the state directory."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "state.db"

    @property
    def objects(self) -> Path:
        """Files that hold the bytes of S3 objects; small ones are in the database."""
        return self.path / "objects"

    @property
    def spool(self) -> Path:
        """Where earlier versions received request bodies; removed at the next start."""
        return self.path / "spool"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def captures(self) -> Path:
        """Root directories of the images that the account made from servers."""
        return self.path / "captures"

    @property
    def volumes(self) -> Path:
        """File-system images of volumes."""
        return self.path / "volumes"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def instances(self) -> Path:
        return self.path / "instances"

    @property
    def log(self) -> Path:
        return self.path / "cloud.log"

    @property
    def certificate(self) -> Path:
        """What the endpoint shows over TLS, with its private key."""
        return self.path / "tls.pem"

    @property
    def authority(self) -> Path:
        """The certificate to trust, for who talks to the endpoint over TLS."""
        return self.path / "ca.pem"

    @property
    def identity_certificate(self) -> Path:
        """For who checks the identity document of an instance. There once one has been signed."""
        return self.path / "instance-identity.pem"

    @property
    def lock(self) -> Path:
        """Held by the running cloud."""
        return self.path / "cloud.lock"

    @property
    def seen(self) -> Path:
        """Changed about every minute while the cloud runs: what was on then was on at least until then."""
        return self.path / "seen"

    @property
    def down_mark(self) -> Path:
        """There while the cloud is down because somebody asked for that."""
        return self.path / "down"

    def running_pid(self) -> int | None:
        """The process that holds the lock: the running cloud, if it is the one that `cloud.json` tells of.

        Asked of the kernel rather than by trying the lock, which a cloud that starts at this moment would trip over.
        """
        endpoint = self.endpoint()
        try:
            inode = self.lock.stat().st_ino
        except FileNotFoundError:
            return None
        for line in Path("/proc/locks").read_text().splitlines():
            # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131077 0 EOF`; lines with an arrow are of those who wait.
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
                pid = int(fields[4])
                if endpoint is not None and pid == endpoint.pid:
                    return pid
        return None

    def endpoint(self) -> Endpoint | None:
        """What the last cloud to start here wrote; it may have ended since."""
        try:
            return Endpoint(**json.loads((self.path / "cloud.json").read_text()))
        except FileNotFoundError:
            return None

    def root_key(self) -> RootKey | None:
        try:
            return RootKey(**json.loads((self.path / "credentials.json").read_text()))
        except FileNotFoundError:
            return None

    def write_endpoint(self, endpoint: Endpoint) -> None:
        self._write("cloud.json", asdict(endpoint), 0o644)

    def write_root_key(self, key: RootKey) -> None:
        self._write("credentials.json", asdict(key), 0o600)

    def write_identity_certificate(self, certificate: str) -> None:
        self._replace(self.identity_certificate.name, certificate, 0o644)

    def _write(self, name: str, content: dict[str, object], mode: int) -> None:
        self._replace(name, json.dumps(content, indent=2), mode)

    def _replace(self, name: str, content: str, mode: int) -> None:
        """Owned as the directory is: root writes it, the user's own tools read it."""
        owner = self.path.stat()
        replace_file(self.path / name, content.encode(), mode, (owner.st_uid, owner.st_gid))


def default_home() -> Home:
    """`SKYLIFT_HOME`, else the platform's place for the data of the user who is (or, under sudo, was) logged in."""
    chosen = os.environ.get("SKYLIFT_HOME")
    if chosen:
        return Home(Path(chosen).expanduser().absolute())
    data = os.environ.get("XDG_DATA_HOME")
    if data and "SUDO_UID" not in os.environ:
        return Home(Path(data) / "skylift")
    return Home(Path(_user_home()) / ".local" / "share" / "skylift")


def _user_home() -> str:
    sudo_uid = os.environ.get("SUDO_UID")
    if sudo_uid and os.geteuid() == 0:
        return pwd.getpwuid(int(sudo_uid)).pw_dir
    return str(Path.home())
