"""A profile for AWS's own tools: added to their two files and removed again. The rest of the files stays as it is.

The text that was written is remembered in the state directory, and only that text is ever replaced or removed.
Everything is done with the user's own rights, under sudo too, because these files may be links to any others.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.durable import make_directory, sync_directory
from skylift.cloud.state.home import Home, RootKey
from skylift.cloud.state.person import calling_user

_NOTE = "# Written by `skylift cloud env --profile`; `skylift cloud down` removes it.\n"


@dataclass(frozen=True)
class Profile:
    """Where a profile was written, and the text that was added to each file."""

    name: str
    config: str
    credentials: str
    config_text: str
    credentials_text: str


def write_profile(home: Home, name: str, endpoint: Endpoint, key: RootKey) -> Profile:
    """Add the profile, or update the one that skylift wrote. Raises UsageError if another profile has the name."""
    if not re.fullmatch(r"[\w.@:/+-]+", name):
        raise UsageError(f"{name!r} cannot be the name of a profile.", "Use letters, digits and . _ - @ : / + only.")
    return calling_user().act(lambda: _write_profile(home, name, endpoint, key))


def _write_profile(home: Home, name: str, endpoint: Endpoint, key: RootKey) -> Profile:
    config, credentials = aws_files()
    known = _profiles(home)
    ours = next((each for each in known if each.name == name and each.config == str(config)), None)
    header = "[default]" if name == "default" else f"[profile {name}]"
    contents = {path: _read(path) for path in (config, credentials)}
    if ours is not None:
        contents[config] = contents[config].replace(ours.config_text, "", 1)
        contents[credentials] = contents[credentials].replace(ours.credentials_text, "", 1)
    for path, section in ((config, header), (credentials, f"[{name}]")):
        if _has_section(contents[path], section):
            raise UsageError(
                f"{path} has a profile {name} that skylift did not write.", "Choose another name with --profile."
            )
    profile = Profile(
        name,
        str(config),
        str(credentials),
        _lead(contents[config]) + f"{header}\n{_NOTE}region = {endpoint.region}\nendpoint_url = {endpoint.url}\n",
        _lead(contents[credentials])
        + f"[{name}]\n{_NOTE}aws_access_key_id = {key.access_key_id}\n"
        + f"aws_secret_access_key = {key.secret_access_key}\n",
    )
    # Remembered before it is written: a profile that is not remembered would never be removed.
    _remember(home, [*(each for each in known if each != ours), profile])
    _write(config, contents[config] + profile.config_text)
    _write(credentials, contents[credentials] + profile.credentials_text)
    return profile


def remove_profiles(home: Home) -> list[str]:
    """Remove every profile that skylift wrote for this cloud. Returns notes for the user."""
    return calling_user().act(lambda: _remove_profiles(home))


def _remove_profiles(home: Home) -> list[str]:
    notes = []
    for profile in _profiles(home):
        for name, text in ((profile.config, profile.config_text), (profile.credentials, profile.credentials_text)):
            path = Path(name)
            content = _read(path)
            if text in content:
                _write(path, content.replace(text, "", 1))
            elif content:
                notes.append(f"Profile {profile.name} in {path} was changed by somebody; it stays there.")
    (home.path / "profiles.json").unlink(missing_ok=True)
    return notes


def aws_files() -> tuple[Path, Path]:
    """AWS's config and credentials files, where its tools look for them; links are followed to the files themselves."""
    home = calling_user().home
    config = os.environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config"
    credentials = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"
    return Path(config).expanduser().resolve(), Path(credentials).expanduser().resolve()


def _has_section(text: str, header: str) -> bool:
    """Whether a line opens this section, in any of the spellings that AWS's tools read."""
    kind, _, name = header.strip("[]").rpartition(" ")
    opening = rf"(?:profile\s+)?[\"']?{re.escape(name)}[\"']?" if kind or name == "default" else re.escape(name)
    return re.search(rf"(?m)^\[\s*{opening}\s*\]", text) is not None


def _lead(text: str) -> str:
    """The text between the last line of a file and the section that is added."""
    if not text:
        return ""
    return "\n" if text.endswith("\n") else "\n\n"


def _profiles(home: Home) -> list[Profile]:
    file = home.path / "profiles.json"
    try:
        return [Profile(**entry) for entry in json.loads(file.read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Remove it; its profiles stay.") from error


def _remember(home: Home, profiles: list[Profile]) -> None:
    _write(home.path / "profiles.json", json.dumps([asdict(profile) for profile in profiles], indent=2))


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    """Replace the file atomically and keep its mode. A file that becomes empty is removed."""
    if not text:
        path.unlink(missing_ok=True)
        return
    try:
        make_directory(path.parent)
        old = path.stat() if path.exists() else None
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if old is not None:
                os.fchmod(file.fileno(), old.st_mode & 0o777)
        Path(temporary).rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
