"""Which try of a job this is. A spot job goes on where its last server left off, and two copies of it never run.

`server/attempts/N.json` is written first by the server that takes attempt N, in a conditional write, and from then on
by that server alone: how far it is, so that the next one can go on without anybody's help. It is written anew every few
seconds. A server that comes while an attempt is not over waits whether its holder is still heard of. If so, it is one
too many and goes; if not, it has EC2 end the holder's server, and begins once EC2 says that nothing runs there any
more. So an attempt is taken only when the one before is over, and of all of them only the newest is waited for.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, Optional, TypeVar

from skylift.runner.server.aws import Aws, Refused, Unreachable, patiently
from skylift.runner.server.console import say
from skylift.runner.server.fence import end_server
from skylift.runner.server.prefix import Prefix
from skylift.runner.server.status import now_iso

T = TypeVar("T")

BEAT = 15.0
"""Seconds between two writes of a holder that lives."""
SILENCE = 3
"""Beats without a word after which a holder's server is ended."""
_STREAMS = ("stdout", "stderr")


class Attempt:
    """One attempt, ours. Its fields, but for those that may be missing (*):

    instance, claimed
    bases           {"stdout", "stderr"}: where in the job's streams this attempt's begin
    shipped         likewise: up to where they are in the prefix
    cut             what an earlier attempt has cut out of them
    ran, begun*     seconds that the program ran in earlier attempts, and when its first one began
    checkpoint*     what the next one begins with; earlier*, strays*: see checkpoint.py
    results         those that have been sent, as in the manifest
    over*           {"final": the job's last status}, or {"interrupted": when} once all has been sent
    beat            a number that grows
    """

    def __init__(self, prefix: Prefix, number: int, fields: Dict[str, Any]) -> None:
        self._prefix, self.number, self.fields = prefix, number, fields
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def note(self, until: float = 0.0, **fields: Any) -> None:
        """One write at a time, so that none goes over a later one. Raises Unreachable or Refused."""
        with self._writing:
            self._write(until, fields)

    def _write(self, until: float, fields: Dict[str, Any]) -> None:
        self.fields.update(fields, beat=self.fields.get("beat", 0) + 1)
        body = json.dumps(self.fields).encode()
        patiently("attempt", lambda: self._prefix.put(key_of(self.number), body), until)

    def beat(self, pause: float, look: Callable[[], Dict[str, Any]]) -> None:
        """From now on, with what `look` says at the time: when the write is under way nobody else can say more, and
        the last word of all stays."""

        def run() -> None:
            while not self._ended.wait(pause):
                try:
                    with self._writing:
                        if not self._ended.is_set():
                            self._write(0.0, look())
                except (Unreachable, Refused) as error:
                    say("the attempt could not be noted: %s" % error)

        threading.Thread(target=run, name="attempt", daemon=True).start()

    def end(self, until: float, **fields: Any) -> None:
        """The last word of this attempt. Until it is known to have come, each beat says it again."""
        self.note(until, **fields)
        self._ended.set()


class Attempts:
    """All of a job's. `claim` finds the last one and takes the next; `final` is the job's status when there is none to
    take, because it has ended."""

    def __init__(self, prefix: Prefix, aws: Aws, until: float, beat: float = BEAT) -> None:
        self._prefix, self._aws, self._until, self._beat = prefix, aws, until, beat
        self.final: Optional[Dict[str, Any]] = None

    def claim(self) -> Optional[Attempt]:
        """None where the job is another server's, or has ended."""
        number, found = 1, self._take(1)
        while True:
            later, ours = None, found["instance"] == self._aws.instance()
            if not ours or "bases" in found:
                later = self._find(number + 1)
            if later is None:
                # The newest, as far as can be seen: whether there is a later one, its claim decides.
                if ours:
                    return self._go_on(number, found)
                if not found.get("over"):
                    left = self._await_word(number, found)
                    if left is None:
                        return None
                    found = left
                if (found.get("over") or {}).get("final"):
                    self.final = found["over"]["final"]
                    return None
                later = self._take(number + 1)
            number, found = number + 1, later

    def _go_on(self, number: int, ours: Dict[str, Any]) -> Optional[Attempt]:
        """One that we have passed on is anybody's by now: we may have been ended before we had noted that."""
        return None if "interrupted" in (ours.get("over") or {}) else self._begin(number, ours)

    def _find(self, number: int) -> Optional[Dict[str, Any]]:
        """None if there is no such attempt, or S3 does not say: of what there is not, a server that may not list its
        prefix hears that it is denied."""

        def get() -> Optional[bytes]:
            try:
                return self._prefix.get(key_of(number))
            except Unreachable as error:
                if "HTTP 403" in str(error):
                    return None
                raise

        found = self._try("attempt", get)
        fields: Optional[Dict[str, Any]] = None if found is None else json.loads(found)
        return fields

    def _take(self, number: int) -> Dict[str, Any]:
        """Whose it is: ours, if it is nobody's yet. An answer that was lost is told by whose name stands there."""
        fields = {"instance": self._aws.instance(), "claimed": now_iso()}
        body = json.dumps(fields).encode()
        if self._try("claim", lambda: self._prefix.put(key_of(number), body, first=True)):
            return fields
        return self._read(number)

    def _await_word(self, number: int, found: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """What the holder of an attempt has left once it is over, or its server has been ended; None if it lives. One
        word that comes may have been its last, two are not."""
        words, silent_since = 0, time.monotonic()
        while time.monotonic() - silent_since < SILENCE * self._beat:
            time.sleep(self._beat / 10)
            asked = time.monotonic()
            latest = self._read(number)
            if latest.get("over"):
                return latest
            if time.monotonic() - asked > self._beat:
                # S3 was away, and the holder may have had no way to say anything.
                silent_since = time.monotonic()
            if latest.get("beat") != found.get("beat"):
                words, silent_since, found = words + 1, time.monotonic(), latest
                if words > 1:
                    return None
        say("nothing was heard of %s for a while, and so its server is ended" % found["instance"])
        end_server(self._aws, found["instance"], self._until)
        return self._read(number)

    def _begin(self, number: int, ours: Dict[str, Any]) -> Attempt:
        attempt = Attempt(self._prefix, number, ours)
        if "bases" not in ours:
            last = self._last_before(number)
            reached = last.get("shipped") or last.get("bases") or {}
            bases = {name: self._end_of(name, reached.get(name, 0)) for name in _STREAMS} if number > 1 else {}
            kept = {name: last[name] for name in ("checkpoint", "earlier", "strays", "begun") if name in last}
            attempt.note(
                self._until,
                bases=bases or dict.fromkeys(_STREAMS, 0),
                shipped=bases or dict.fromkeys(_STREAMS, 0),
                cut=last.get("cut", {}),
                ran=last.get("ran", 0.0) + last.get("running", 0.0),
                results=last.get("results", []),
                **kept,
            )
        return attempt

    def _last_before(self, number: int) -> Dict[str, Any]:
        """What there is to go on from. Whoever claimed an attempt and got no further has left nothing."""
        for earlier in range(number - 1, 0, -1):
            found = self._read(earlier)
            if "bases" in found:
                return found
        return {}

    def _end_of(self, name: str, start: int) -> int:
        """Where the pieces of a stream end that a server has sent which may have died right after one. A server cannot
        list its prefix, nor tell a missing object from one that it may not see; but it can try to write one first."""
        while True:
            key = "server/%s/%020d" % (name, start)
            if self._try(key, lambda: self._prefix.put(key, b"", first=True)):  # noqa: B023 (called at once)
                return start
            found = self._try(key, lambda: self._prefix.get(key))  # noqa: B023
            if not found:
                return start
            start += len(found)

    def _read(self, number: int) -> Dict[str, Any]:
        found = self._try("attempt", lambda: self._prefix.get(key_of(number)))
        if found is None:
            raise Refused(404, "attempt %d is gone" % number)
        fields: Dict[str, Any] = json.loads(found)
        return fields

    def _try(self, what: str, call: Callable[[], T]) -> T:
        return patiently(what, call, self._until)


def key_of(number: int) -> str:
    return "server/attempts/%d.json" % number
