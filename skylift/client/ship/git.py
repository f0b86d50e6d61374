"""Asking git which files a project has, and which of them it tracks.

The project may be somebody else's, and its `.git/config` may name programs: for a remote, for watching files, as a
hook. None of them is run. The user's own git settings count, and of the repository's settings those about its files.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.client.text.visible import shown

_PATIENCE = 120
"""Seconds for one repository."""
_CLOSED = {
    # Do not fetch objects that are missing in a partial clone: git 2.45 and later obey this variable, and earlier
    # versions find no allowed protocol.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    # Write nothing, so that nothing is locked and no hook runs.
    "GIT_OPTIONAL_LOCKS": "0",
    # git's messages are parsed, so they must be in one language.
    "LC_ALL": "C",
}
_OTHERS = ("--others", "--exclude-standard")
_SETTINGS = ("core.fsmonitor=false", "core.hooksPath=/dev/null")
"""Settings that override the repository's own."""
_NOT_OURS = ("dubious ownership", "owned by someone else")
"""Messages of git 2.35.2 and later for a repository of another user."""


def has_git() -> bool:
    return shutil.which("git") is not None


def repository_of(folder: Path) -> Path | None:
    """The nearest folder with a `.git`, from `folder` upwards."""
    return next((each for each in (folder, *folder.parents) if os.access(each / ".git", os.F_OK)), None)


def list_repository(folder: Path) -> list[str]:
    """Files of the repository at `folder` that are tracked, or untracked and not ignored, as git lists them: a nested
    repository is one entry. Raises UsageError."""
    return _list(folder, ("--cached", *_OTHERS), folder)


def list_within(folder: Path, *, tracked: bool) -> list[str] | None:
    """The same below a folder of any repository, or only what is `tracked`. None where git cannot tell."""
    top = repository_of(folder)
    with suppress(UsageError):
        return [] if top is None else _list(folder, ("--cached",) if tracked else ("--cached", *_OTHERS), top)
    return None


def read_tracked(path: Path, most: int) -> str | None:
    """A file's text as it is in git's index. None where git does not track it, cannot tell, or has more than `most`
    bytes of it."""
    top = repository_of(path.parent)
    with suppress(UsageError, UnicodeDecodeError):
        blob = "" if top is None else f":0:{path.relative_to(top).as_posix()}"
        if top is not None and int(_ask(top, ["cat-file", "-s", blob], _environment(top))) <= most:
            return _ask(top, ["cat-file", "blob", blob], _environment(top)).decode().replace("\r\n", "\n")
    return None


def list_unversioned(folder: Path) -> list[str]:
    """The same for a folder that is no repository but may have `.gitignore` files."""
    with tempfile.TemporaryDirectory(prefix="skylift-git-") as scratch:
        _ask(folder, ["init", "--quiet", "--bare", scratch], _environment())
        return _list(folder, ("--cached", *_OTHERS), folder, f"--git-dir={scratch}")


def _list(folder: Path, which: Sequence[str], top: Path, *options: str) -> list[str]:
    answer = _ask(folder, [*options, "ls-files", "-z", *which], _environment(top))
    names = (os.fsdecode(raw).rstrip("/") for raw in answer.split(b"\0"))
    return list(dict.fromkeys(name for name in names if name))


def _ask(folder: Path, words: list[str], environment: dict[str, str]) -> bytes:
    settings = [word for each in _SETTINGS for word in ("-c", each)]
    command = ["git", "--no-pager", *settings, "-C", str(folder), *words]
    if not has_git():
        raise UsageError("There is no `git` on this machine.")
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        answer, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"git did not list the files of {shown(folder)} within {_PATIENCE} seconds.",
            "Try `git ls-files` there; a script with a PEP 723 header (`# /// script` and `# ///`) goes alone.",
        ) from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        raise _failed(folder, errors.decode(errors="replace"))
    return answer


def _environment(top: Path | None = None) -> dict[str, str]:
    """The environment without GIT_DIR and similar variables, which a git hook sets for its own repository. With `top`,
    for the repository there: its own settings may name another work tree, and git would take a folder with an invalid
    `.git` for a part of a repository further up."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    place = {"GIT_WORK_TREE": str(top), "GIT_CEILING_DIRECTORIES": str(top.parent)} if top is not None else {}
    return {**inherited, **_CLOSED, **place}


def _failed(folder: Path, errors: str) -> UsageError:
    if any(words in errors for words in _NOT_OURS):
        return UsageError(
            f"{shown(folder)} is a git repository of another user, whose settings git does not heed.",
            f"If you trust it: git config --global --add safe.directory {shown(folder)}",
        )
    lines: Iterator[str] = (shown(line) for line in errors.strip().splitlines()[:6])
    return UsageError(f"git could not list the files of {shown(folder)}: {' '.join(lines)}")
