"""The state directory: what of a cloud is the user's own, and where the rest of it is, which is root's."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from skylift.cloud.state.data import PLACE, Data, Endpoint
from skylift.cloud.state.durable import replace_file
from skylift.cloud.state.person import Person, calling_user, person_of
from skylift.cloud.state.rootless import rootless

DEFAULT_PORT = 4520
"""The endpoint's default port on 127.0.0.1."""

DEFAULT_TLS_PORT = 4521


@dataclass(frozen=True)
class RootKey:
    """The account root's access key; kept in `credentials.json`, readable by the owner of the state directory only."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Home:
    """Paths in the state directory. Any program of its owner can put anything there: it is read and written with the
    owner's rights, and its content is trusted as far as the owner is.
    """

    path: Path

    @property
    def owner(self) -> Person:
        """The calling user; for a login as root, the owner of the directory."""
        caller = calling_user()
        if caller.uid == 0:
            try:
                return person_of(self.path.stat().st_uid)
            except (FileNotFoundError, NotADirectoryError):
                pass
        return caller

    @property
    def holder(self) -> Path:
        """There where the cloud runs without root. It has the number of the process that holds its namespaces."""
        return self.path / "holder"

    @property
    def is_rootless(self) -> bool:
        """Whether the cloud runs without root. Root does not believe a file of the user's."""
        return rootless() or (os.geteuid() != 0 and self.holder.exists())

    @property
    def data(self) -> Data:
        """Root's data of this cloud. Without root they are the user's, as all else is."""
        if self.is_rootless:
            return Data(self.path / "data" / "0" / "default")
        owner = self.owner
        place = Path(os.environ.get("SKYLIFT_DATA") or PLACE).absolute()
        # With the owner's eyes: root may see less than they do of a home that another machine serves.
        real = owner.act(lambda: os.path.realpath(self.path))
        # As the user's entry has it, not as $HOME: that is another one under sudo.
        usual = real == os.path.realpath(_usual(person_of(owner.uid).home))
        return Data(place / str(owner.uid) / ("default" if usual else hashlib.sha256(real.encode()).hexdigest()[:16]))

    @property
    def authority(self) -> Path:
        """The certificate that clients of the TLS endpoint trust."""
        return self.path / "ca.pem"

    @property
    def identity_certificate(self) -> Path:
        """The certificate to check instance identity documents with. It exists once a document has been signed."""
        return self.path / "instance-identity.pem"

    def running_pid(self) -> int | None:
        return self.data.running_pid()

    def endpoint(self) -> Endpoint | None:
        return self.data.endpoint()

    def root_key(self) -> RootKey | None:
        """Root's key; None if none can be read."""
        file = self.path / "credentials.json"
        try:
            found = json.loads(self.owner.act(file.read_bytes))
            key = RootKey(found["access_key_id"], found["secret_access_key"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return key if isinstance(key.access_key_id, str) and isinstance(key.secret_access_key, str) else None

    def write_root_key(self, key: RootKey) -> None:
        self._replace("credentials.json", json.dumps(asdict(key), indent=2).encode(), 0o600)

    def write_authority(self, certificate: bytes) -> None:
        self._replace(self.authority.name, certificate, 0o644)

    def write_identity_certificate(self, certificate: str) -> None:
        self._replace(self.identity_certificate.name, certificate.encode(), 0o644)

    def has_authority(self) -> bool:
        return self.owner.act(self.authority.exists)

    def has_identity_certificate(self) -> bool:
        return self.owner.act(self.identity_certificate.exists)

    def forget(self) -> None:
        """Removes the files that are useless without the data. Servers' keys stay: jobs on AWS may use them."""

        def remove() -> None:
            for file in (self.path / "credentials.json", self.authority, self.identity_certificate):
                file.unlink(missing_ok=True)

        self.owner.act(remove)

    def _replace(self, name: str, content: bytes, mode: int) -> None:
        self.owner.act(lambda: replace_file(self.path / name, content, mode))


def default_home() -> Home:
    """`SKYLIFT_HOME`, else the platform's data directory of the user (under sudo, of the user who called it)."""
    chosen = os.environ.get("SKYLIFT_HOME")
    if chosen:
        return Home(Path(chosen).expanduser().absolute())
    data = os.environ.get("XDG_DATA_HOME")
    if data and "SUDO_UID" not in os.environ:
        return Home(Path(data) / "skylift")
    return Home(_usual(calling_user().home))


def _usual(user_home: Path) -> Path:
    return user_home / ".local" / "share" / "skylift"
