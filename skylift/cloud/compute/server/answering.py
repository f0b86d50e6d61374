"""Whether a server answers, as the kernel sees it from outside: nothing is run in it, and nothing that it says counts.

The oldest child of a server's first process is its init, and sshd is a child of init (see init.sh).
"""

from __future__ import annotations

from pathlib import Path

_NO_ANSWER = {"T": "stopped", "Z": "at its end"}


def why_silent(first: int) -> str:
    """Why the server of this first process does not answer; empty if it does, and where the kernel cannot tell."""
    try:
        init = _children(first)[:1]
        sshd = [child for each in init for child in _children(each) if _stat(child)[0] == "sshd"]
    except OSError:
        # It ends just now, or the kernel lists no children (CONFIG_PROC_CHILDREN).
        return ""
    for name, found in (("the first process", [first]), ("init", init), ("sshd", sshd)):
        if not found:
            return f"{name} does not run"
        if state := _NO_ANSWER.get(_stat(found[0])[1]):
            return f"{name} is {state}"
    return ""


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _stat(pid: int) -> tuple[str, str]:
    """The name and the state of a process; both empty where it has ended."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").partition("(")[2].rpartition(") ")
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    return name, rest[:1]
