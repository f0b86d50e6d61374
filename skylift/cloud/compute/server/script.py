"""Runs scripts on servers: starts them, waits for them, ends them. What a server answers is parsed strictly.

ScriptError
+-- ServerOff      the server does not run, or ended before the script did
+-- Unheard        the server runs, and said nothing at all: it may be held for a snapshot
+-- Unanswered     the server runs, and has not said how the script ended
+-- Closing        this process is about to end; the script goes on
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.domain.command import STDOUT, Script, ScriptEnd

PROGRAM = (Path(__file__).parent / "run_script.py").read_text()
"""Every server runs this program, with any image: its own Python reads it from the command line."""
LARGEST_ANSWER = 16 * STDOUT
"""The most bytes of an answer: two outputs, with an escape for every character."""
UPLOADING = 900.0
"""Seconds after the script's own time for its output to be copied."""
CANCELLING = 60.0


class ScriptError(ComputeError):
    """It is not known how a script ended."""


class ServerOff(ScriptError):
    """The server does not run, or ended before the script did."""


class Unresponsive(ScriptError):
    """The server runs, and did not answer. A server that is paused for a snapshot starts no programs."""


class Unanswered(ScriptError):
    """The server runs, and has not reported the script's end, or not in a readable form."""


class Closing(ScriptError):
    """This process is about to end. The script goes on, and the next process waits for it."""


class Scripts:
    """Runs scripts on servers. `begin(server, arguments)` begins a program there as root, with pipes for its input and
    output; `runs(server)` says whether a server is on."""

    def __init__(
        self, begin: Callable[[str, Sequence[str]], subprocess.Popen[bytes]], runs: Callable[[str], bool]
    ) -> None:
        self._begin = begin
        self._runs = runs
        self._closing, self._close = os.pipe()

    def run(self, server_id: str, script: Script) -> ScriptEnd:
        """Run the script, or wait for the end of the one that was begun under the same key. Raises ScriptError."""
        order = {
            "directory": script.directory,
            "seconds": script.seconds,
            "environment": script.environment,
            "bucket": script.bucket,
            "prefix": script.prefix,
        }
        given = json.dumps(order).encode() + b"\n" + script.text.encode()
        answer = self._ask(server_id, "run", script.key, given, script.seconds + UPLOADING)
        end = parse_end(answer)
        if end is None:
            raise Unanswered("the server did not say how the script ended")
        return end

    def cancel(self, server_id: str, key: str) -> None:
        """End the script, and all that it has begun in its process group."""
        self._ask(server_id, "cancel", key, b"", CANCELLING)

    def close(self) -> None:
        """Wait for no script any more."""
        os.write(self._close, b"x")

    def _ask(self, server_id: str, what: str, key: str, given: bytes, seconds: float) -> bytes:
        program = ("/usr/bin/python3", "-I", "-c", PROGRAM, what, place(server_id, key))
        process = self._begin(server_id, program)
        try:
            answer = self._answer(process, given, time.monotonic() + seconds)
        finally:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.wait()
        if not answer and what == "run":
            raise (
                Unresponsive("the server said nothing")
                if self._runs(server_id)
                else ServerOff("the server does not run")
            )
        return answer

    def _answer(self, process: subprocess.Popen[bytes], given: bytes, deadline: float) -> bytes:
        """All its output. Server processes may hold the streams open after the process that began them is gone."""
        assert process.stdin is not None and process.stdout is not None
        # It fits into a pipe (services see to that), so writing does not block.
        try:
            process.stdin.write(given)
            process.stdin.close()
        except BrokenPipeError:
            pass
        output = process.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(self._closing, select.POLLIN)
        answer = b""
        while (left := deadline - time.monotonic()) > 0 and len(answer) <= LARGEST_ANSWER:
            ready = dict(poll.poll(left * 1000))
            if self._closing in ready:
                raise Closing("the cloud is stopping")
            if output in ready:
                piece = os.read(output, 1 << 16)
                if not piece:
                    return answer
                answer += piece
        raise Unanswered("the server did not say in time how the script ended")


def place(server_id: str, key: str) -> str:
    """The directory of a script on its server, where the agent has it on AWS."""
    return f"/var/lib/amazon/ssm/{server_id}/document/orchestration/{key}/awsrunShellScript/0.awsrunShellScript"


def parse_end(answer: bytes) -> ScriptEnd | None:
    """Parse the end of a script; None for anything else, because a server may send anything."""
    try:
        end = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(end, dict):
        return None
    how, code, stdout, stderr = (end.get(name) for name in ("how", "code", "stdout", "stderr"))
    if how not in ("exited", "timed-out", "cancelled", "lost") or type(code) is not int or not -1 <= code <= 255:
        return None
    if not isinstance(stdout, str) or not isinstance(stderr, str):
        return None
    return ScriptEnd(how, code, _printable(stdout), _printable(stderr))


def _printable(text: str) -> str:
    """The text without what UTF-8 cannot hold: JSON may contain halves of characters."""
    return text.encode(errors="replace").decode()
