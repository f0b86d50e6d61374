"""git, asked which files a project has, and nothing else.

The project may be somebody else's, and its `.git/config` names programs: what answers for a remote, what watches the
files, what runs as a hook. None of them is run. Of git's settings the user's own count, and of a repository's those
that say what its files are.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from skylift.runner.errors import UsageError
from skylift.runner.text.visible import shown

_PATIENCE = 120
"""Seconds for one repository."""
_CLOSED = {
    # An object that is missing in a partial clone is missing: git 2.45 and later fetch none, earlier ones find no
    # protocol by which they might.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    # Nothing is written, so that nothing is locked, and no hook hears of it.
    "GIT_OPTIONAL_LOCKS": "0",
    # What git says is looked at, so it has to be in one language.
    "LC_ALL": "C",
}
_SETTINGS = ("core.fsmonitor=false", "core.hooksPath=/dev/null")
"""What counts before a repository's own settings."""
_NOT_OURS = ("dubious ownership", "owned by someone else")
"""How versions of git since 2.35.2 say that a repository belongs to another user."""


def has_git() -> bool:
    return shutil.which("git") is not None


def list_repository(folder: Path) -> list[str]:
    """Files of the repository whose top is `folder` that are tracked, or untracked and not ignored, as git names them:
    a nested repository is one entry. Raises UsageError."""
    return _list(folder, ())


def list_unversioned(folder: Path) -> list[str]:
    """Likewise, of a folder that is no repository but may have `.gitignore` files."""
    with tempfile.TemporaryDirectory(prefix="skylift-git-") as scratch:
        _ask(folder, ["init", "--quiet", "--bare", scratch], _environment())
        return _list(folder, (f"--git-dir={scratch}",))


def _list(folder: Path, options: tuple[str, ...]) -> list[str]:
    # The work tree is said because a repository may say of itself that it is somewhere else, and the ceiling because a
    # folder whose `.git` is none would be taken for a part of a repository further up.
    environment = {**_environment(), "GIT_WORK_TREE": str(folder), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    answer = _ask(folder, [*options, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], environment)
    names = (os.fsdecode(raw).rstrip("/") for raw in answer.split(b"\0"))
    return list(dict.fromkeys(name for name in names if name))


def _ask(folder: Path, words: list[str], environment: dict[str, str]) -> bytes:
    settings = [word for each in _SETTINGS for word in ("-c", each)]
    command = ["git", "--no-pager", *settings, "-C", str(folder), *words]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        answer, said = process.communicate(timeout=_PATIENCE)
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
        raise _failed(folder, said.decode(errors="replace"))
    return answer


def _environment() -> dict[str, str]:
    """Whoever calls us from a hook of git's has GIT_DIR and others set: they are about another repository."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("GIT_")}, **_CLOSED}


def _failed(folder: Path, said: str) -> UsageError:
    if any(words in said for words in _NOT_OURS):
        return UsageError(
            f"{shown(folder)} is a git repository of another user, whose settings git does not heed.",
            f"If you trust it: git config --global --add safe.directory {shown(folder)}",
        )
    lines: Iterator[str] = (shown(line) for line in said.strip().splitlines()[:6])
    return UsageError(f"git could not list the files of {shown(folder)}: {' '.join(lines)}")
