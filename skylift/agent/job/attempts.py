"""The attempts of a job. A spot job continues on its next server, and two copies of it never run at the same time.

The server that takes attempt N writes `server/attempts/N.json` with a conditional write, and from then on it alone
writes that file: how far the job is, so that the next server can continue without a client. It writes the file again
every few seconds. A server that finds an unfinished attempt waits for such a write. If one comes, the holder is alive
and this server turns itself off. If none comes, it has EC2 terminate the holder's server, and takes the next attempt
when EC2 says that the server has ended. So an attempt is taken only when the one before is over.

Each write names the version that it replaces (If-Match). So a late write of a supervisor that is dead by then replaces
nothing newer. If a program has overwritten the file with something else, its holder repairs it. If the holder is silent
too, the job continues from the attempts before.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, TypeVar

from skylift.agent.job.status import now_iso
from skylift.agent.machine.console import say
from skylift.agent.remote.aws import Aws, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.remote.terminate_server import end_server
from skylift.contract.record import BEAT

T = TypeVar("T")

SILENCE = 3
"""Missing beats after which a holder's server is terminated."""
_STREAMS = ("stdout", "stderr")
_MOST_TRIES = 1000


class Stored(NamedTuple):
    """An attempt as it is in the prefix. `fields` is None if the file is not a valid attempt."""

    fields: Optional[Dict[str, Any]]
    etag: str

    @property
    def over(self) -> Dict[str, Any]:
        return ((self.fields or {}).get("over")) or {}


class Attempt:
    """The attempt that this server holds. Its fields; those with * may be missing:

    instance, claimed
    bases           {"stdout", "stderr"}: the offsets in the job's streams at which this attempt begins
    shipped         {"stdout", "stderr"}: the offsets up to which the streams are in the prefix
    cut             the spans of the streams that an earlier attempt has left out
    ran, begun*     seconds that the program ran in earlier attempts, and when the first of them began
    checkpoint*     what the next attempt starts from; earlier*, strays*: see checkpoint.py
    results         the results that have been sent, as in the manifest
    tries*          the attempts of the program that failed and were followed by another, as in status.json
    over*           {"final": the job's final status}, or {"interrupted": when} once everything has been sent
    beat            a number that grows with each write
    """

    def __init__(self, prefix: Prefix, number: int, fields: Dict[str, Any], etag: str) -> None:
        self._prefix, self.number, self.fields, self._etag = prefix, number, fields, etag
        self._is_ours = False
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def note(self, until: float = 0.0, **fields: Any) -> None:
        """Change fields and write the file. One write at a time. Raises Unreachable or Refused."""
        with self._writing:
            self._write(until, fields)

    def _write(self, until: float, fields: Dict[str, Any]) -> None:
        self.fields.update(fields, beat=self.fields.get("beat", 0) + 1)
        body = json.dumps(self.fields).encode()
        retry_until("attempt", lambda: self._put(body), until)

    def _put(self, body: bytes) -> None:
        etag = put_if(self._prefix, key_of(self.number), body, {"if-match": self._etag})
        if etag is None:
            # The answer to our last write was lost, or somebody else has written. Read the version that is there.
            found = _get(self._prefix, self.number)
            if found.over and not self._is_ours and found.fields != self.fields:
                raise Refused(412, "another server has taken attempt %d over" % self.number)
            self._etag = found.etag
            raise Unreachable("attempt %d has changed since it was read" % self.number)
        self._etag, self._is_ours = etag, True

    def beat(self, pause: float, look: Callable[[], Dict[str, Any]]) -> None:
        """Write the attempt every `pause` seconds from now on, with the fields that `look` returns. Writes do not
        overlap, so the last one stays."""

        def run() -> None:
            while not self._ended.wait(pause):
                try:
                    with self._writing:
                        if not self._ended.is_set():
                            self._write(0.0, look())
                except (Unreachable, Refused) as error:
                    say("the attempt could not be recorded: %s" % error)

        threading.Thread(target=run, name="attempt", daemon=True).start()

    def end(self, until: float, **fields: Any) -> None:
        """Write the end of this attempt. Until a write succeeds, each beat repeats it."""
        self.note(until, **fields)
        self._ended.set()


class Attempts:
    """All attempts of a job. `claim` finds the last one and takes the next. `final` is the job's final status when the
    job has ended."""

    def __init__(self, prefix: Prefix, aws: Aws, until: float, beat: float = BEAT) -> None:
        self._prefix, self._aws, self._until, self._beat = prefix, aws, until, beat
        self.final: Optional[Dict[str, Any]] = None

    def claim(self) -> Optional[Attempt]:
        """Take the next attempt. None when another server has the job, or the job has ended."""
        number, found = 1, self._take(1)
        while True:
            fields = found.fields
            later, ours = None, fields is not None and fields["instance"] == self._aws.instance()
            if fields is None or not ours or "bases" in fields:
                later = self._find(number + 1)
            if later is None:
                # The newest attempt that we can see. Claiming the next number shows whether there is a later one.
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
        """Continues an attempt that this server already holds. An attempt that we have passed on may be another
        server's by now: we may have been ended before we noted that."""
        return None if "interrupted" in ours.over else self._begin(number, fields, ours.etag)

    def _find(self, number: int) -> Optional[Stored]:
        """None if there is no such attempt, or S3 denies the answer: it does so for a missing object, because a server
        may not list its prefix."""

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
        """Claims the attempt if no server has it, and returns its content. If the answer to our write was lost, the
        instance in the file shows which server has it.
        """
        fields = {"instance": self._aws.instance(), "claimed": now_iso()}
        body = json.dumps(fields).encode()
        etag = self._try("claim", lambda: put_if(self._prefix, key_of(number), body, {"if-none-match": "*"}))
        return self._read(number) if etag is None else Stored(fields, etag)

    def _await_word(self, number: int, found: Stored) -> Optional[Stored]:
        """Wait for the holder of an attempt: None if it is alive, or else the attempt as it is at its end, or after its
        server has been terminated. One write may have been the holder's last one; two show that it is alive."""
        words, silent_since = 0, time.monotonic()
        while time.monotonic() - silent_since < SILENCE * self._beat:
            time.sleep(self._beat / 10)
            asked = time.monotonic()
            latest = self._read(number)
            if latest.over:
                return latest
            if time.monotonic() - asked > self._beat:
                # S3 did not answer, so the holder may not have been able to write either.
                silent_since = time.monotonic()
            if latest.fields is not None and latest.fields.get("beat") != (found.fields or {}).get("beat"):
                words, silent_since, found = words + 1, time.monotonic(), latest
                if words > 1:
                    return None
        holder = self._holder_of(number, found)
        if holder:
            say("%s has not reported for a while, so its server is ended" % holder)
            end_server(self._aws, holder, self._until)
        return self._read(number)

    def _holder_of(self, number: int, found: Stored) -> str:
        """The instance that holds an attempt. When the attempt is damaged, the job's status may have the instance."""
        if found.fields is not None:
            return str(found.fields["instance"])
        say("%s is not a valid attempt: the job continues from the one before" % key_of(number))
        status = self._try("status", lambda: self._prefix.get("server/status.json"))
        holder = object_of(status or b"").get("instance")
        if holder == self._aws.instance():
            raise Refused(200, "%s, which was ours, is not a valid attempt" % key_of(number))
        return holder if isinstance(holder, str) else ""

    def _begin(self, number: int, ours: Dict[str, Any], etag: str) -> Attempt:
        attempt = Attempt(self._prefix, number, ours, etag)
        if "bases" in ours:
            # From now on a late write of an earlier supervisor of this server fails.
            attempt.note(self._until)
        else:
            last = self._last_before(number)
            reached = last.get("shipped") or last.get("bases") or {}
            bases = {name: self._end_of(name, reached.get(name, 0)) for name in _STREAMS} if number > 1 else {}
            kept = {name: last[name] for name in ("checkpoint", "earlier", "strays", "begun", "tries") if name in last}
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
        """The fields of the newest earlier attempt that has any. An attempt that was only claimed has none."""
        for earlier in range(number - 1, 0, -1):
            found = self._read(earlier).fields
            if found is not None and "bases" in found:
                return found
        return {}

    def _end_of(self, name: str, start: int) -> int:
        """The end of a stream that an earlier server has sent: it may have died after sending a piece that it did not
        note. A server may not list its prefix, so it tries to write each next piece first."""
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
        return retry_until(what, call, self._until)


def _get(prefix: Prefix, number: int) -> Stored:
    status, headers, body = prefix.request("GET", key_of(number))
    if status == 404:
        raise Refused(404, "attempt %d is gone" % number)
    return Stored(parse(body), headers.get("etag", ""))


def put_if(prefix: Prefix, key: str, body: bytes, condition: Dict[str, str]) -> Optional[str]:
    """The ETag of the new object; None when the condition does not hold, as where nothing is there to be replaced."""
    status, headers, answer = prefix.request("PUT", key, "", body, condition)
    if status == 412 or (status == 404 and "if-match" in condition):
        return None
    if status == 404:
        raise Refused(status, answer.decode(errors="replace"))
    if status >= 300:
        raise Unreachable("%s: a conditional write was in the way" % key)
    return headers.get("etag", "")


def parse(text: bytes) -> Optional[Dict[str, Any]]:
    """None if the text is not a valid attempt. A checkpoint's fields are checked where they are used."""
    found = object_of(text)
    if not isinstance(found.get("instance"), str):
        return None
    over = found.get("over")
    if over is not None and not (isinstance(over, dict) and isinstance(over.get("final", {}), dict)):
        return None
    for name in ("bases", "shipped"):
        if name in found and not _is_offsets(found[name]):
            return None
    if not all(type(found.get(name, 0)) in (int, float) for name in ("ran", "running", "beat")):
        return None
    cut, results, tries = found.get("cut", {}), found.get("results", []), found.get("tries", [])
    if not _are_objects(tries) or len(tries) > _MOST_TRIES:
        return None
    if not isinstance(cut, dict) or not all(_is_span(each) for each in cut.values()):
        return None
    if not _are_objects(results) or not all(isinstance(each.get("path"), str) for each in results):
        return None
    return found


def object_of(text: bytes) -> Dict[str, Any]:
    """The fields of a JSON object, which any program of the job may have written; empty if it is not an object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_offsets(found: Any) -> bool:
    if not isinstance(found, dict) or not set(found) <= set(_STREAMS):
        return False
    return all(type(each) is int and 0 <= each < 1 << 63 for each in found.values())


def _is_span(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(type(each) is int and each >= 0 for each in found)


def _are_objects(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)


def key_of(number: int) -> str:
    return "server/attempts/%d.json" % number
