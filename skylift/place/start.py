"""Starts and ends the cloud's process on this machine."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.client.errors import USAGE, RunError, UsageError
from skylift.cloud.state.data import EndpointUnreadable, NotRoots, open_for_user
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import cloud_environment, own_python
from skylift.cloud.state.rootless import rootless
from skylift.place import own_namespaces
from skylift.place.lost_cloud import MODULE, lost_pid, refuse_lost
from skylift.place.unit import Unit, runs_systemd

if TYPE_CHECKING:
    from skylift.cloud.compute.image.image import Progress
    from skylift.cloud.compute.image.packed import PackedImage

Showing = Callable[[], "AbstractContextManager[Progress]"]
"""How the building of an image, which takes its time, is shown to whoever waits for it."""


@contextmanager
def no_display() -> Iterator[Progress]:
    """Not at all."""
    yield lambda fraction, text: None


def running_pid(home: Home) -> int | None:
    """The process of the cloud that is up. Raises UsageError where one is, and this user may not read where."""
    try:
        return home.running_pid()
    except EndpointUnreadable as error:
        raise UsageError(
            f"The cloud in {home.path} is up, but {home.owner.name} may not read {error}, which has its address: an"
            " earlier version of skylift made it root's alone.",
            "Make it readable, which takes root: skylift cloud up",
        ) from error


def bring_up(
    home: Home,
    port: int | None = None,
    region: str | None = None,
    allow: Sequence[str] | None = None,
    *,
    showing: Showing = no_display,
    packed: PackedImage | None = None,
) -> None:
    """All that a start takes, as root: the parts, the image, the process. Raises UsageError and RunError."""
    require_parts()
    if home.running_pid() is None:
        refuse_lost(home)
    make_data(home)
    _require_port(port)
    _require_readable_state(home)
    require_image(home, showing, packed)
    start_cloud(home, port, region, allow)
    tell_of_no_way_out(home)
    remove_old_images(home)


def tell_of_no_way_out(home: Home) -> None:
    """Servers work without one, and a job that needs packages does not."""
    endpoint = home.endpoint()
    if endpoint and endpoint.no_way_out:
        sys.stderr.write(f"Servers have no way to the internet: {endpoint.no_way_out}\n")


def remove_old_images(home: Home) -> None:
    """Those of other versions that no cloud of this machine needs any more. That they stay harms nobody."""
    from skylift.cloud.compute.image.unneeded import remove_unneeded

    with suppress(OSError, ValueError):
        remove_unneeded(home.data)


def require_image(home: Home, showing: Showing = no_display, packed: PackedImage | None = None) -> None:
    """Build the image if it is not there, or take it from a file. Raises UsageError where this machine or that file is
    in the way, else RunError."""
    from skylift.cloud.compute.image.image import (
        BuildToolMissing,
        ImageError,
        NoRoomForImage,
        WrongImage,
        claim_image,
        ensure_image,
    )
    from skylift.cloud.compute.image.recipe import ArchitectureUnknown

    try:
        if not claim_image(home.data):
            with showing() as progress:
                ensure_image(home.data, progress, packed=packed)
    except (NoRoomForImage, BuildToolMissing, ArchitectureUnknown, WrongImage) as error:
        raise UsageError(str(error)) from error
    except ImageError as error:
        raise RunError(str(error), f"Everything that the build said is in {error.log}." if error.log else "") from error


def _require_readable_state(home: Home) -> None:
    """Said before an image is built, which takes a minute; the process itself says it too."""
    from skylift.cloud.store.database import StoreError, refuse_unreadable

    try:
        refuse_unreadable(home.data.database)
    except StoreError as error:
        raise UsageError(str(error)) from error


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
    from skylift.cloud.compute.packages import missing_parts

    if missing := missing_parts():
        raise UsageError(
            f"Servers need what is not installed: {', '.join(part.name for part in missing)}.", "Run: skylift setup"
        )


def prepare_home(home: Home) -> None:
    """Make the state directory, the calling user's own; raises UsageError where that is not possible."""
    owner = home.owner
    try:
        owner.make_directory(home.path)
    except OSError as error:
        raise UsageError(
            f"The state directory {home.path} cannot be made: {error.strerror}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        ) from error
    if not owner.act(lambda: _may_write(home.path)):
        raise UsageError(
            f"The state directory {home.path} is not writable for {owner.name}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        )
    if not home.is_rootless and owner.act(home.holder.exists):
        raise UsageError(
            f"{home.path} has a cloud without root, and root starts no other there.",
            f"Use it as {owner.name}. To have one with root, take it down first: skylift cloud down --erase",
        )
    refuse_earlier(home)


def _may_write(directory: Path) -> bool:
    """Also where root asks for a user: the file system may take no writes at all."""
    return not os.statvfs(directory).f_flag & os.ST_RDONLY and os.access(
        directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True
    )


def refuse_earlier(home: Home) -> None:
    """Raises UsageError for a state directory of version 0.1, which held root's data as well.

    It is not taken over: any program of the user may have changed what is in it, a database that says where images are,
    or a program in an image, and root would believe it.
    """
    if not (home.path / "state.db").exists():
        return
    raise UsageError(
        f"{home.path} holds a cloud of skylift 0.1: database, disks and images, which are now in {home.data.path}, "
        "where only root can change them. They are not taken over, and nothing was touched.",
        f"Begin anew: mv {shlex.quote(str(home.path))} {shlex.quote(f'{home.path}-0.1')}\n"
        "To bring buckets along, copy them first with skylift 0.1 (`aws s3 sync`), and take it down.",
    )


def make_data(home: Home) -> None:
    """Make what root needs for this cloud, where nobody else can change it, and let the user read what a client needs
    of it. Raises UsageError.
    """
    data = home.data
    try:
        data.make()
        data.show_to_user()
    except NotRoots as error:
        raise UsageError(
            f"{error}: only root may change the files of the cloud, which runs as root.",
            "Give it to root, with mode 755; or set SKYLIFT_DATA to a directory that is root's all the way.",
        ) from error
    except OSError as error:
        raise UsageError(
            f"The data directory {data.path} cannot be made: {error.strerror}.",
            "Set SKYLIFT_DATA to a directory of root's on another file system.",
        ) from error


def start_cloud(
    home: Home, port: int | None = None, region: str | None = None, allow: Sequence[str] | None = None
) -> None:
    """Start the cloud's process and return when it answers; root only. The process outlives this one.

    Raises UsageError or RunError with what the process said if it could not start.
    """
    with _one_at_a_time(home):
        if home.running_pid() is not None:
            return
        refuse_lost(home)
        arguments = ["--port", str(port)] if port is not None else []
        arguments += ["--region", region] if region is not None else []
        arguments += [word for text in allow or () for word in ("--allow", text)]
        answer = Unit(home).start(arguments) if runs_systemd() else _start_detached(home, arguments)
        if answer != "ready":
            raise _failure(home, answer)


def _start_detached(home: Home, arguments: list[str]) -> str:
    """What the process answers once it is ready, or has ended."""
    reading, writing = os.pipe()
    command = [*own_python(MODULE), "--home", str(home.path), "--ready-fd", str(writing), *arguments]
    process = _detached(home, command, writing)
    os.close(writing)
    with os.fdopen(reading, "r") as pipe:
        # Ends with the process, if that ends first.
        answer = pipe.readline().strip()
    if answer != "ready":
        process.wait()
    return answer


def _detached(home: Home, command: list[str], ready: int) -> subprocess.Popen[bytes]:
    """A process with a session of its own and no tie to this terminal; what it says goes to the log."""
    log = open_for_user(home.data.log, home.owner.uid)
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            env=cloud_environment(),
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
        message = "The cloud's process ended before it was ready:\n" + _last_lines(home.data.log)
    advice = f"Everything it said is in {home.data.log}."
    return UsageError(message, advice) if code == str(USAGE) else RunError(message, advice)


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-8:]
    return "\n".join(f"  {line}" for line in lines)


@contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    descriptor = os.open(home.data.starting, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_here(home: Home) -> bool:
    """Whether there is anything to take off this machine: data, or what a cloud whose data was deleted has left in the
    kernel."""
    from skylift.cloud.compute.network.error import KernelRefused
    from skylift.cloud.compute.network.network import loopback_ranges

    try:
        return home.data.path.exists() or loopback_ranges().find(home.path) is not None
    except KernelRefused:
        # Root sees it.
        return True


def stop_cloud(home: Home, *, erase: bool = False) -> None:
    """End the cloud's process, if there is one, and take everything of its servers off this machine; root only.

    Disks, images and state stay, so that the next start brings the servers back, unless all of it is to be erased.
    """
    if home.running_pid() is None:
        # Before anything is made where its data are not.
        lost_pid(home)
    make_data(home)
    with _one_at_a_time(home):
        pid = home.running_pid() or lost_pid(home)
        if pid is not None:
            _end(pid)
        command = [*own_python(MODULE), "--home", str(home.path), "--down"]
        command += ["--erase"] if erase else []
        done = subprocess.run(
            command,
            cwd="/",
            env=cloud_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RunError(f"Not everything of the cloud could be taken down:\n{done.stderr.strip()}")
        if runs_systemd():
            Unit(home).remove(kept=erase)
    if rootless():
        own_namespaces.end(home, erase=erase)


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
