"""Which try of a job this is. A spot job goes on where its last server left off, and two copies of it never run.

`server/attempts/N.json` is written first by the server that takes attempt N, in a conditional write, and from then on
by that server alone: how far it is, so that the next one can go on without anybody's help. It is written anew every few
seconds. A server that comes while an attempt is not over waits whether its holder is still heard of. If so, it is one
too many and goes; if not, it has EC2 end the holder's server, and begins once EC2 says that nothing runs there any
more. So an attempt is taken only when the one before is over, and of all of them only the newest is waited for.

Each write names what it goes over (If-Match): one that comes late, from a supervisor that is dead by then, does not go
over a later word. What is no attempt, because a program has written there, is repaired by its holder; where that is
silent too, the job goes on from the attempts before.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, TypeVar

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


class Stored(NamedTuple):
    """An attempt as it is in the prefix. `fields` are None where somebody has written what is none."""

    fields: Optional[Dict[str, Any]]
    etag: str

    @property
    def over(self) -> Dict[str, Any]:
        return ((self.fields or {}).get("over")) or {}


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

    def __init__(self, prefix: Prefix, number: int, fields: Dict[str, Any], etag: str) -> None:
        self._prefix, self.number, self.fields, self._etag = prefix, number, fields, etag
        self._is_ours = False
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def note(self, until: float = 0.0, **fields: Any) -> None:
        """One write at a time, so that none goes over a later one. Raises Unreachable or Refused."""
        with self._writing:
            self._write(until, fields)

    def _write(self, until: float, fields: Dict[str, Any]) -> None:
        self.fields.update(fields, beat=self.fields.get("beat", 0) + 1)
        body = json.dumps(self.fields).encode()
        patiently("attempt", lambda: self._put(body), until)

    def _put(self, body: bytes) -> None:
        etag = _put(self._prefix, key_of(self.number), body, {"if-match": self._etag})
        if etag is None:
            # An answer of ours was lost, or somebody else has written: from now on we know what there is.
            found = _get(self._prefix, self.number)
            if found.over and not self._is_ours:
                raise Refused(412, "attempt %d was passed on before we took it up" % self.number)
            self._etag = found.etag
            raise Unreachable("attempt %d was written meanwhile" % self.number)
        self._etag, self._is_ours = etag, True

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
            fields = found.fields
            later, ours = None, fields is not None and fields["instance"] == self._aws.instance()
            if fields is None or not ours or "bases" in fields:
                later = self._find(number + 1)
            if later is None:
                # The newest, as far as can be seen: whether there is a later one, its claim decides.
                if fields is not None and ours:
                    return self._go_on(number, fields, found)
                if not found.over:
                    left = self._await_word(number, found)
                    if left is None:
                        return None
                    found = left
                if found.over.get("final"):
                    self.final = found.over["final"]
                    return None
                later = self._take(number + 1)
            number, found = number + 1, later

    def _go_on(self, number: int, fields: Dict[str, Any], ours: Stored) -> Optional[Attempt]:
        """One that we have passed on is anybody's by now: we may have been ended before we had noted that."""
        return None if "interrupted" in ours.over else self._begin(number, fields, ours.etag)

    def _find(self, number: int) -> Optional[Stored]:
        """None if there is no such attempt, or S3 does not say: of what there is not, a server that may not list its
        prefix hears that it is denied."""

        def get() -> Optional[Stored]:
            try:
                return _get(self._prefix, number)
            except Refused as error:
                if error.status == 404:
                    return None
                raise
            except Unreachable as error:
                if "HTTP 403" in str(error):
                    return None
                raise

        return self._try("attempt", get)

    def _take(self, number: int) -> Stored:
        """Whose it is: ours, if it is nobody's yet. An answer that was lost is told by whose name stands there."""
        fields = {"instance": self._aws.instance(), "claimed": now_iso()}
        body = json.dumps(fields).encode()
        etag = self._try("claim", lambda: _put(self._prefix, key_of(number), body, {"if-none-match": "*"}))
        return self._read(number) if etag is None else Stored(fields, etag)

    def _await_word(self, number: int, found: Stored) -> Optional[Stored]:
        """What the holder of an attempt has left once it is over, or its server has been ended; None if it lives. One
        word that comes may have been its last, two are not."""
        words, silent_since = 0, time.monotonic()
        while time.monotonic() - silent_since < SILENCE * self._beat:
            time.sleep(self._beat / 10)
            asked = time.monotonic()
            latest = self._read(number)
            if latest.over:
                return latest
            if time.monotonic() - asked > self._beat:
                # S3 was away, and the holder may have had no way to say anything.
                silent_since = time.monotonic()
            if latest.fields is not None and latest.fields.get("beat") != (found.fields or {}).get("beat"):
                words, silent_since, found = words + 1, time.monotonic(), latest
                if words > 1:
                    return None
        holder = self._holder_of(number, found)
        if holder:
            say("nothing was heard of %s for a while, and so its server is ended" % holder)
            end_server(self._aws, holder, self._until)
        return self._read(number)

    def _holder_of(self, number: int, found: Stored) -> str:
        """Who is to be ended. Of an attempt that is none any more the job's status may still say whose it was."""
        if found.fields is not None:
            return str(found.fields["instance"])
        say("%s is no attempt: the job goes on from what was before" % key_of(number))
        status = self._try("status", lambda: self._prefix.get("server/status.json"))
        holder = (_object(status) or {}).get("instance") if status is not None else None
        if holder == self._aws.instance():
            raise Refused(200, "%s, which was ours, is no attempt" % key_of(number))
        return holder if isinstance(holder, str) else ""

    def _begin(self, number: int, ours: Dict[str, Any], etag: str) -> Attempt:
        attempt = Attempt(self._prefix, number, ours, etag)
        if "bases" in ours:
            # What an earlier supervisor of this server has on its way does not come any more.
            attempt.note(self._until)
        else:
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
            found = self._read(earlier).fields
            if found is not None and "bases" in found:
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

    def _read(self, number: int) -> Stored:
        return self._try("attempt", lambda: _get(self._prefix, number))

    def _try(self, what: str, call: Callable[[], T]) -> T:
        return patiently(what, call, self._until)


def _get(prefix: Prefix, number: int) -> Stored:
    status, headers, body = prefix.ask("GET", key_of(number))
    if status == 404:
        raise Refused(404, "attempt %d is gone" % number)
    return Stored(parse(body), headers.get("etag", ""))


def _put(prefix: Prefix, key: str, body: bytes, condition: Dict[str, str]) -> Optional[str]:
    """The tag of what is there now; None where the condition does not hold."""
    status, headers, answer = prefix.ask("PUT", key, "", body, condition)
    if status == 412:
        return None
    if status == 404:
        raise Refused(status, answer.decode(errors="replace"))
    if status >= 300:
        raise Unreachable("%s: a conditional write was in the way" % key)
    return headers.get("etag", "")


def parse(text: bytes) -> Optional[Dict[str, Any]]:
    """None for what is no attempt. The fields of a checkpoint are checked where they are used."""
    found = _object(text)
    if found is None or not isinstance(found.get("instance"), str):
        return None
    over = found.get("over")
    if over is not None and not (isinstance(over, dict) and isinstance(over.get("final", {}), dict)):
        return None
    for name in ("bases", "shipped"):
        if name in found and not _is_offsets(found[name]):
            return None
    if not all(type(found.get(name, 0)) in (int, float) for name in ("ran", "running", "beat")):
        return None
    cut, results = found.get("cut", {}), found.get("results", [])
    if not isinstance(cut, dict) or not all(_is_span(each) for each in cut.values()):
        return None
    if not isinstance(results, list) or not all(isinstance(each, dict) and "path" in each for each in results):
        return None
    return found


def _object(text: bytes) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_offsets(found: Any) -> bool:
    if not isinstance(found, dict) or not set(found) <= set(_STREAMS):
        return False
    return all(type(each) is int and 0 <= each < 1 << 63 for each in found.values())


def _is_span(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(type(each) is int and each >= 0 for each in found)


def key_of(number: int) -> str:
    return "server/attempts/%d.json" % number
