"""Starting and ending the cloud's process on this machine, with all that a start takes."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.cloud.home import Home
from skylift.cloud.person import calling_user
from skylift.place.privilege import is_root, same_package
from skylift.runner.errors import USAGE, RunError, UsageError

if TYPE_CHECKING:
    from skylift.cloud.compute.image import Progress

Showing = Callable[[], "AbstractContextManager[Progress]"]
"""How the building of an image, which takes its time, is shown to whoever waits for it."""


@contextmanager
def unseen() -> Iterator[Progress]:
    """Not at all."""
    yield lambda fraction, text: None


def bring_up(home: Home, port: int | None = None, region: str | None = None, *, showing: Showing = unseen) -> None:
    """All that a start takes, as root: the parts, the image, the process. Raises UsageError and RunError."""
    require_parts()
    _require_port(port)
    require_image(home, showing)
    start_cloud(home, port, region)
    for name in ("cloud.json", "credentials.json"):
        calling_user().own(home.path / name)


def require_image(home: Home, showing: Showing = unseen) -> None:
    """Build the image if it is not there. Raises UsageError where this machine is in the way, else RunError."""
    from skylift.cloud.compute.image import BuildToolMissing, DiskFull, ImageError, default_image, ensure_image
    from skylift.cloud.compute.recipe import ArchitectureUnknown

    try:
        if default_image(home) is None:
            with showing() as progress:
                ensure_image(home, progress)
    except (DiskFull, BuildToolMissing, ArchitectureUnknown) as error:
        raise UsageError(str(error)) from error
    except ImageError as error:
        raise RunError(str(error), f"Everything that the build said is in {error.log}." if error.log else "") from error


def _require_port(port: int | None) -> None:
    """Said before anything is started; the process itself says it too, should somebody be quicker.

    Where none was asked for, the process takes another one by itself.
    """
    from skylift.cloud.compute.capability import LOCALHOST, port_free

    if port is not None and not port_free(port):
        raise UsageError(
            f"Port {port} on {LOCALHOST} is taken by another program, or by a cloud with another SKYLIFT_HOME.",
            "Choose another one, or none: skylift cloud up",
        )


def require_parts() -> None:
    """Raises UsageError naming what is not installed."""
    from skylift.cloud.compute.programs import missing_parts

    if missing := missing_parts():
        raise UsageError(
            f"Servers need what is not installed: {', '.join(part.name for part in missing)}.", "Run: skylift setup"
        )


def prepare_home(home: Home) -> None:
    """Make the state directory, the calling user's own; raises UsageError where that is not possible."""
    caller = calling_user()
    try:
        caller.make_directory(home.path)
    except OSError as error:
        raise UsageError(
            f"The state directory {home.path} cannot be made: {error.strerror}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        ) from error
    if not os.access(home.path, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(
            f"The state directory {home.path} is not writable for {caller.name}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        )
    if is_root() and not _takes_writes(home.path):
        raise UsageError(
            f"The state directory {home.path} is on a file system that takes no writes.",
            "Set SKYLIFT_HOME to a directory on another one.",
        )


def _takes_writes(directory: Path) -> bool:
    """Root may write anywhere by its rights; whether the file system lets it is another matter."""
    return not os.statvfs(directory).f_flag & os.ST_RDONLY


def start_cloud(home: Home, port: int | None = None, region: str | None = None) -> None:
    """Start the cloud's process and return when it answers; root only. The process outlives this one.

    Raises UsageError or RunError with what the process said if it could not start.
    """
    with _one_at_a_time(home):
        if home.running_pid() is not None:
            return
        reading, writing = os.pipe()
        command = [sys.executable, "-P", "-m", "skylift.cloud.main", "--home", str(home.path)]
        command += ["--ready-fd", str(writing)]
        command += ["--port", str(port)] if port is not None else []
        command += ["--region", region] if region is not None else []
        process = _detached(home, command, writing)
        os.close(writing)
        with os.fdopen(reading, "r") as pipe:
            # Ends with the process, if that ends first.
            answer = pipe.readline().strip()
        if answer != "ready":
            process.wait()
            raise _failure(home, answer)


def _detached(home: Home, command: list[str], ready: int) -> subprocess.Popen[bytes]:
    """A process with a session of its own and no tie to this terminal; what it says goes to the log."""
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    calling_user().own(home.log)
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            env=same_package(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[ready],
            start_new_session=True,
        )
    finally:
        os.close(log)


def _failure(home: Home, answer: str) -> UsageError | RunError:
    """The process answers `EXIT-CODE MESSAGE` where it cannot start; nothing at all where it broke off."""
    code, _, message = answer.partition(" ")
    if not code.isdigit():
        code, message = "", answer
    if not message:
        message = "The cloud's process ended before it was ready:\n" + _last_lines(home.log)
    advice = f"Everything it said is in {home.log}."
    return UsageError(message, advice) if code == str(USAGE) else RunError(message, advice)


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-8:]
    return "\n".join(f"  {line}" for line in lines)


@contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    descriptor = os.open(home.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def stop_cloud(home: Home) -> None:
    """End the cloud's process, if there is one, and take everything of its servers off this machine; root only.

    Disks, images and state stay, so that the next start brings the servers back.
    """
    with _one_at_a_time(home):
        pid = home.running_pid()
        if pid is not None:
            _end(pid)
        command = [sys.executable, "-P", "-m", "skylift.cloud.main", "--home", str(home.path), "--down"]
        done = subprocess.run(
            command,
            cwd="/",
            env=same_package(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RunError(f"Not everything of the cloud could be taken down:\n{done.stderr.strip()}")


def _end(pid: int) -> None:
    """SIGTERM and wait; the descriptor means this process even if its number is given to another one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(30_000):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poll.poll()
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
