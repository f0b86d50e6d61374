"""Runs one script on a server and reports how it ended, in the place of Systems Manager's agent.

The host hands the text of this file to the server's own Python: the standard library only.

    run PLACE       with a line of JSON on the standard input, and the script after it: runs the script unless that was
                    done before, waits for its end, and prints how it ended
    cancel PLACE    ends the script, or keeps it from beginning

The script has its own process, which holds a lock while it works: a caller that asks again, after the host's cloud was
restarted, waits for the same end. Behaviour and words follow AWS's agent:
https://github.com/aws/amazon-ssm-agent/tree/mainline/agent/plugins/runscript
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

STOPPED = 137
"""The exit code of a script that was stopped: 128 and SIGKILL."""
MOST = 24_000
"""The most characters of an output that are reported."""
ENVIRONMENT, RELEASE = Path("/etc/environment"), Path("/etc/os-release")


def main(what: str, place: Path) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if what == "cancel":
        cancel(place)
        return
    order = json.loads(sys.stdin.buffer.readline())
    run(place, order, sys.stdin.buffer.read())


def run(place: Path, order: dict[str, Any], script: bytes) -> None:
    lock = locked(place)
    file = place / "_script.sh"
    if not file.exists() and not (place / "cancelled").exists():
        file.write_bytes(script)
        file.chmod(0o700)
        if os.fork() == 0:
            # The lock is this process's as well, until it ends.
            detach()
            supervise(place, order, file)
            os._exit(0)
        os.close(lock)
        lock = locked(place)
    sys.stdout.write(json.dumps(ending(place)))


def locked(place: Path) -> int:
    lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def detach() -> None:
    """Outlive the process that began it, and hold none of its streams."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)


def supervise(place: Path, order: dict[str, Any], file: Path) -> None:
    environment = script_environment(order["environment"])
    with (place / "stdout").open("ab") as out, (place / "stderr").open("ab") as err:
        how, code, words = execute(place, order, file, environment, (out, err))
        if words:
            err.write(f"failed to run commands: {words}".encode())
    if order["bucket"]:
        upload(place, order, environment)
    whole = place / ".end"
    whole.write_text(json.dumps({"how": how, "code": code}))
    whole.rename(place / "end")


def execute(
    place: Path, order: dict[str, Any], file: Path, environment: dict[str, str], streams: tuple[Any, Any]
) -> tuple[str, int, str]:
    """The script's end, its exit code, and the agent's addition to the standard error."""
    directory = order["directory"]
    try:
        child = subprocess.Popen(
            ["sh", "-c", str(file)],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            process_group=0,
        )
    except OSError as error:
        return "exited", 1, f"chdir {directory}: {(error.strerror or str(error)).lower()}"
    (place / "group").write_text(str(child.pid))
    if (place / "cancelled").exists():
        end_group(child.pid)
    try:
        code = child.wait(order["seconds"])
    except subprocess.TimeoutExpired:
        end_group(child.pid)
        child.wait()
        return "timed-out", STOPPED, ""
    if code == -signal.SIGKILL and (place / "cancelled").exists():
        return "cancelled", STOPPED, ""
    if code < 0:
        # As with AWS's agent: a script that a signal has ended has no exit code.
        return "exited", -1, f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return "exited", code, f"exit status {code}" if code else ""


def end_group(number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)


def cancel(place: Path) -> None:
    (place / "cancelled").touch()
    lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # It is at work. If it has no group yet, it will see the mark.
        if (place / "group").exists():
            end_group(int((place / "group").read_text()))


def script_environment(more: dict[str, str]) -> dict[str, str]:
    """The environment of a script: a service's, which has no HOME, and what the server has for everybody."""
    release = assignments(RELEASE)
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **assignments(ENVIRONMENT),
        "AWS_SSM_PLATFORM_NAME": release.get("NAME", "").strip('"'),
        "AWS_SSM_PLATFORM_VERSION": release.get("VERSION_ID", "").strip('"'),
        **more,
    }


def assignments(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line[1:] and not line.startswith("#"))


def upload(place: Path, order: dict[str, Any], environment: dict[str, str]) -> None:
    """Upload with the server's role, whatever root has configured for itself. A failure is in the log only, as with
    the agent."""
    own = {**environment, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    # Both in one call: the AWS CLI takes longer to begin than to copy. The agent, too, copies no empty output.
    written = [f"--include={name}" for name in ("stdout", "stderr") if (place / name).stat().st_size]
    there = f"s3://{order['bucket']}/{order['prefix']}/"
    command = ["aws", "s3", "cp", "--only-show-errors", "--recursive", str(place), there, "--exclude=*", *written]
    with (place / "upload.log").open("ab") as log:
        try:
            if written:
                subprocess.run(command, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        except OSError as error:
            log.write(f"aws: {error.strerror}\n".encode())


def ending(place: Path) -> dict[str, Any]:
    """The end of a script that no process runs any more."""
    try:
        end = json.loads((place / "end").read_text())
    except (OSError, ValueError):
        end = {"how": "cancelled", "code": STOPPED} if (place / "cancelled").exists() else {"how": "lost", "code": -1}
    return {**end, "stdout": beginning(place / "stdout"), "stderr": beginning(place / "stderr")}


def beginning(file: Path) -> str:
    """Read one character more than is shown, to see whether there is more."""
    try:
        with file.open("rb") as handle:
            return handle.read(4 * (MOST + 1)).decode(errors="replace")[: MOST + 1]
    except OSError:
        return ""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
