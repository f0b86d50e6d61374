"""The part of cloud-config that real tools use: files, users, keys, packages and commands.

Formats are those of cloud-init's module reference. Whatever else a document has is named on the console as not
supported; nothing is left out in silence.
"""

from __future__ import annotations

import base64
import binascii
import grp
import os
import pwd
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

DEFAULT_USER = "ec2-user"
SUDOERS = Path("/etc/sudoers.d/90-cloud-init-users")


class BadValue(Exception):
    """A value that cannot be used; the text says where it stands."""


def apply(content: bytes) -> int:
    """Do what the document says, in cloud-init's order. Returns how many of its keys failed."""
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        say(f"not valid YAML: {error}")
        return 1
    if document is None:
        return 0
    if not isinstance(document, dict):
        say(f"a mapping is expected, not {type(document).__name__}")
        return 1
    failed = 0
    supported = {key for key, _ in STEPS}
    for key, value in document.items():
        if key not in supported and (key not in AS_IT_IS or value is not AS_IT_IS[key]):
            say(f"{key}: {value!r} is not supported; it was ignored")
            failed += 1
    for key, step in STEPS:
        if key not in document:
            continue
        try:
            step(document[key])
        except (BadValue, OSError, subprocess.SubprocessError) as error:
            say(f"{key}: {error}")
            failed += 1
    return failed


def say(text: str) -> None:
    print(f"cloud-config: {text}", flush=True)


def run_commands(commands: Any) -> None:
    """`bootcmd` and `runcmd`: a string is for the shell, a list is an argument list. One script, one environment."""
    for command in _list(commands):
        if isinstance(command, list):
            argv = [str(word) for word in command]
        elif isinstance(command, str):
            argv = ["/bin/sh", "-c", command]
        else:
            raise BadValue(f"a string or a list is expected, not {command!r}")
        done = subprocess.run(argv, check=False)
        if done.returncode:
            say(f"{command!r} exited with {done.returncode}")


def write_files(files: Any, *, deferred: bool) -> None:
    for file in _list(files):
        entry = _mapping(file, "path content encoding owner permissions append defer")
        if bool(entry.get("defer")) is not deferred:
            continue
        if "path" not in entry:
            raise BadValue(f"no path in {entry!r}")
        path = Path(str(entry["path"]))
        content = _decode(entry.get("content", ""), str(entry.get("encoding", "text/plain")))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if entry.get("append") else "wb") as opened:
            opened.write(content)
        path.chmod(_mode(entry.get("permissions", 0o644)))
        owner, _, group = str(entry.get("owner", "root:root")).partition(":")
        os.chown(path, _uid(owner), _gid(group) if group else -1)


def _decode(content: Any, encoding: str) -> bytes:
    data = content if isinstance(content, bytes) else str(content).encode()
    encoding = encoding.lower()
    try:
        if encoding in ("gz+base64", "gzip+base64", "gz+b64", "gzip+b64", "b64", "base64"):
            data = base64.b64decode(b"".join(data.split()), validate=True)
        if encoding.startswith(("gz", "gzip")):
            data = zlib.decompress(data, wbits=31)
        elif encoding not in ("b64", "base64", "text/plain"):
            raise BadValue(f"encoding {encoding!r} is not known")
    except (binascii.Error, zlib.error) as error:
        raise BadValue(f"content is not {encoding}: {error}") from error
    return data


def _mode(value: Any) -> int:
    try:
        return value if isinstance(value, int) else int(str(value), 8)
    except ValueError as error:
        raise BadValue(f"permissions {value!r} are not an octal number") from error


def add_users(users: Any) -> None:
    """`default` is the image's own login user, who is there already.

    In an entry, and nowhere else, a key may have hyphens for underscores: cloud-init's `ug_util` reads entries so.
    """
    for user in _list(users):
        if user == "default":
            continue
        entry = _mapping(
            {"name": user} if isinstance(user, str) else _with_underscores(user),
            "name gecos homedir groups no_create_home primary_group shell ssh_authorized_keys sudo system uid "
            "lock_passwd",
        )
        if entry.get("lock_passwd") is False:
            raise BadValue("lock_passwd: false is not supported: there is no login by password")
        if "name" not in entry:
            raise BadValue(f"no name in {entry!r}")
        _add_user(str(entry["name"]), entry)


def _with_underscores(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    keys = [str(key).replace("-", "_") for key in entry]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        say(f"users: {', '.join(twice)}: written with hyphens and with underscores; the last one is taken")
    return dict(zip(keys, entry.values(), strict=True))


def _add_user(name: str, entry: dict[str, Any]) -> None:
    if not _exists(name):
        own = str(entry.get("primary_group") or "")
        if own and not own.isdigit():
            _run(["groupadd", "--force", "--", own])
        command = ["useradd", "--shell", str(entry.get("shell", "/bin/bash"))]
        command += ["--no-create-home" if entry.get("no_create_home") else "--create-home"]
        for option, key in (("--comment", "gecos"), ("--home-dir", "homedir"), ("--uid", "uid")):
            if key in entry:
                command += [option, str(entry[key])]
        if own:
            command += ["--gid", own]
        if entry.get("system"):
            command.append("--system")
        _run([*command, "--", name])
    groups = entry.get("groups") or []
    names = groups if isinstance(groups, list) else str(groups).split(",")
    for group in (str(group).strip() for group in names):
        _run(["groupadd", "--force", "--", group])
        _run(["usermod", "--append", "--groups", group, "--", name])
    rules = entry.get("sudo") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        with SUDOERS.open("a") as file:
            file.write(f"{name} {rule}\n")
        SUDOERS.chmod(0o440)
        _run(["visudo", "--check", "--quiet", "--file", str(SUDOERS)])
    if entry.get("ssh_authorized_keys"):
        authorize(name, entry["ssh_authorized_keys"])


def authorize(name: str, keys: Any) -> None:
    """Add public keys to what the user has; the key of the launch stays."""
    user = pwd.getpwnam(name)
    directory = Path(user.pw_dir) / ".ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    file = directory / "authorized_keys"
    present = file.read_text().splitlines() if file.exists() else []
    added = [str(key).strip() for key in _list(keys) if str(key).strip() not in present]
    file.write_text("".join(f"{line}\n" for line in [*present, *added]))
    file.chmod(0o600)
    for path in (directory, file):
        os.chown(path, user.pw_uid, user.pw_gid)


def install(packages: Any) -> None:
    """A package is a name or `[name, version]`."""
    names = []
    for package in _list(packages):
        words = package if isinstance(package, list) else [package]
        names.append("=".join(str(word) for word in words))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "--quiet", "update"], environment)
    _run(["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", "--", *names], environment)


def update(wanted: Any) -> None:
    if wanted:
        _run(["apt-get", "--quiet", "update"])


def upgrade(wanted: Any) -> None:
    if wanted:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "--quiet", "update"], environment)
        _run(["apt-get", "--quiet", "--yes", "upgrade"], environment)


def final_message(text: Any) -> None:
    print(text, flush=True)


def power_state(state: Any) -> None:
    state = _mapping(state, "mode delay message condition")
    condition = state.get("condition", True)
    if not isinstance(condition, bool):
        command = condition if isinstance(condition, list) else ["/bin/sh", "-c", str(condition)]
        condition = subprocess.run([str(word) for word in command], check=False).returncode == 0
    if not condition:
        return
    options = {"poweroff": "-P", "halt": "-H", "reboot": "-r"}
    mode = str(state.get("mode", ""))
    if mode not in options:
        raise BadValue(f"mode {mode!r} is none of {', '.join(options)}")
    delay = str(state.get("delay", "now"))
    _run(["shutdown", options[mode], delay, str(state.get("message", ""))])


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise BadValue(f"no user {name!r}") from error


def _gid(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise BadValue(f"no group {name!r}") from error


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadValue(f"a list is expected, not {value!r}")
    return value


def _mapping(value: Any, known: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValue(f"a mapping is expected, not {value!r}")
    unknown = sorted(set(map(str, value)) - set(known.split()))
    if unknown:
        raise BadValue(f"{', '.join(unknown)}: not supported")
    return value


STEPS: tuple[tuple[str, Callable[[Any], None]], ...] = (
    ("bootcmd", run_commands),
    ("write_files", lambda files: write_files(files, deferred=False)),
    ("users", add_users),
    ("ssh_authorized_keys", lambda keys: authorize(DEFAULT_USER, keys)),
    ("package_update", update),
    ("package_upgrade", upgrade),
    ("packages", install),
    ("write_files", lambda files: write_files(files, deferred=True)),
    ("runcmd", run_commands),
    ("final_message", final_message),
    ("power_state", power_state),
)
"""In the order in which they are done; files that wait for their owner to be made say `defer: true`."""

AS_IT_IS = {"disable_root": True, "ssh_pwauth": False, "ssh_deletekeys": True}
"""Settings that ask for how a server is anyway: no root login, no passwords, keys made at first boot."""
