"""The SSH key pair for servers. It is made on this machine, and its private half never leaves it.

Its name in EC2 is made of the public key. So two machines never use the same name for different keys, and importing a
key twice changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.client.launch.network import TAG_PART
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import make_unless_there


@dataclass(frozen=True)
class LocalKeyPair:
    name: str
    private: Path
    public: str


def ensure_key(api: Api, folder: Path, account: str) -> LocalKeyPair:
    key = ensure_key_file(folder, account, api.region)
    filters = [{"Name": "key-name", "Values": [key.name]}]
    if api.call("ec2", "describe_key_pairs", Filters=filters)["KeyPairs"]:
        return key
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": TAG_PART, "Value": "key"}]}]
    wanted = {"KeyName": key.name, "PublicKeyMaterial": key.public.encode(), "TagSpecifications": tags}
    make_unless_there(api, "InvalidKeyPair.Duplicate", "ec2", "import_key_pair", **wanted)
    return key


def key_here(folder: Path, account: str, region: str) -> LocalKeyPair | None:
    """This machine's key, if it has one; nothing is made."""
    return ensure_key_file(folder, account, region) if (folder / f"{account}-{region}.pub").exists() else None


def ensure_key_file(folder: Path, account: str, region: str) -> LocalKeyPair:
    """This machine's key on disk, made when there is none. Two processes that make it at the same time get the same
    key. Raises UsageError."""
    private = folder / f"{account}-{region}.pem"
    public = private.with_suffix(".pub")
    try:
        if not public.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_key_file(private, public)
        text = public.read_text().strip()
        if private.stat().st_mode & 0o077:
            raise UsageError(f"Others can read the private key {private}.", f"chmod 600 {private}")
    except FileNotFoundError:
        raise UsageError(
            f"The private key {private} is gone.", f"Remove {public} too; a new pair is made then."
        ) from None
    except OSError as error:
        raise UsageError(
            f"The key folder {folder} cannot be used: {error.strerror} ({error.filename}).",
            "Make it writable, or set SKYLIFT_HOME to a folder that is.",
        ) from None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return LocalKeyPair(f"skylift-{digest[:16]}", private, text)


def _make_key_file(private: Path, public: Path) -> None:
    from skylift.client.launch.key_pair import new_key, public_half  # noqa: PLC0415 (a key is made once)

    if not private.exists():
        _write_first(private, new_key())
    _write_first(public, public_half(private.read_bytes()))


def _write_first(path: Path, content: str) -> None:
    """Write a whole file or nothing, and never over a file that another process has written first."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
