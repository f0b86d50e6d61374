"""The errors of a run, and their exit codes.

    SkyliftError
    ├── UsageError            exit 2: found before anything was started
    │   ├── NoCredentials
    │   ├── Outside           a cloud without root, whose namespaces this program is not in
    │   ├── NameTaken         there is a job of that name already
    │   └── JobNotFound       no job of that name
    ├── JobFailed             the program's own: in Python, with check=True (job/outcome.py)
    └── RunError              exit 125: skylift failed, not the program
        ├── Refused           the API answered with an error code
        │   ├── NotPermitted  ... because the caller may not
        │   └── NotNow        ... for now: it is throttling, or out of order. It counts as Unreachable, too
        ├── Unreachable       the API did not answer
        ├── ConnectionLost    SSH to the server failed or broke off
        ├── RemoteFileError   a file on the server cannot be looked at, read or written
        ├── LaunchFailed      no server, or one that ended before it took the job
        │   └── LaunchUnclear ... and it is not certain that there is no server
        ├── ResultsDamaged    a downloaded result is not what the server sent
        └── RecordDamaged     a file of a job's record cannot be parsed

Every error says what happened. `advice`, if there is any, says what to do about it.
"""

from __future__ import annotations

from typing import Literal

SKYLIFT_FAILED = 125
USAGE = 2
INTERRUPTED = 130


class SkyliftError(Exception):
    """The root of the tree. `str()` is the message for the user, without the advice."""

    exit_code = SKYLIFT_FAILED

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class UsageError(SkyliftError):
    exit_code = USAGE


class NoCredentials(UsageError):
    pass


class Outside(UsageError):
    """The cloud is up, in namespaces that this program is not in."""


class RunError(SkyliftError):
    pass


class Refused(RunError):
    """An error answer of the API: `code` as AWS documents it (`InvalidAMIID.NotFound`)."""

    def __init__(self, code: str, message: str, operation: str, advice: str = "") -> None:
        super().__init__(f"{operation}: {message} ({code})", advice)
        self.code = code
        self.reason = message
        self.operation = operation


class NotPermitted(Refused):
    pass


class Unreachable(RunError):
    pass


class NotNow(Refused, Unreachable):
    pass


class ConnectionLost(RunError):
    pass


class RemoteFileError(RunError):
    """`kind` is what is visible from outside: the file is missing, it is not ours to use, the disk is full, or anything
    else, of which the server's own words are in the message."""

    def __init__(self, kind: Literal["missing", "denied", "full", "other"], message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.kind = kind


class LaunchFailed(RunError):
    pass


class LaunchUnclear(LaunchFailed):
    pass


class ResultsDamaged(RunError):
    pass


class RecordDamaged(RunError):
    """`why` is the end of a sentence."""

    def __init__(self, key: str, why: str) -> None:
        job = key.split("/")[1] if key.startswith("jobs/") else ""
        advice = f"A program of the job may have written it. To end and forget the job: skylift cancel {job};"
        super().__init__(f"{key} is damaged: {why}.", f"{advice} skylift rm {job}" if job else "")
        self.key = key
        self.why = why


class NameTaken(UsageError):
    def __init__(self, name: str) -> None:
        advice = f"Start it under another name, or forget that one: skylift rm {name}"
        super().__init__(f"There is a job called {name} already.", advice)


class JobNotFound(UsageError):
    pass
