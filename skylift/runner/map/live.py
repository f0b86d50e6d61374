"""What an input that runs has written so far, as its server reports it: server/input_live.py says how."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from skylift.runner.text.json_object import FOREVER, JsonObject, Malformed, given, parse_object

LIVE_LIMIT = 256 << 10
_TAIL = 64 << 10
_RUN = re.compile(r"[0-9a-f]{8,32}")


@dataclass(frozen=True)
class LiveStream:
    """The last bytes of a stream; `start` is the offset of the first of them."""

    start: int
    content: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.content)

    def after(self, offset: int) -> tuple[int, bytes]:
        """What there is behind an offset, and how many bytes before it are missing."""
        return max(0, self.start - offset), self.content[max(0, offset - self.start) :]


@dataclass(frozen=True)
class InputLive:
    """`run` names the run: an attempt has several when its server was lost. `written` is the server's clock."""

    run: str
    attempt: int
    written: float
    stdout: LiveStream
    stderr: LiveStream


def parse_live(data: bytes) -> InputLive:
    """Raises Malformed."""
    fields = parse_object(data, LIVE_LIMIT)
    run, written = fields.text("run", 32, _RUN), fields.number("written", 0, FOREVER)
    attempt = fields.integer("attempt", 1, 1 << 31)
    given(run, "run")
    given(attempt, "attempt")
    given(written, "written")
    assert run is not None and attempt is not None and written is not None
    stdout, stderr = _stream(fields.inner("stdout"), "stdout"), _stream(fields.inner("stderr"), "stderr")
    return InputLive(run, attempt, written, stdout, stderr)


def _stream(fields: JsonObject | None, name: str) -> LiveStream:
    given(fields, name)
    assert fields is not None
    start, text = fields.integer("start", 0, 1 << 62), fields.text("content", _TAIL * 4 // 3 + 4)
    given(start, "start")
    given(text, "content")
    assert start is not None and text is not None
    try:
        return LiveStream(start, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise Malformed(f"the content of `{name}` is not Base64") from None
