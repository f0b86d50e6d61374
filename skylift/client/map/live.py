"""What an input that runs has written so far, as its server reports it: server/input_live.py says how."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from skylift.client.text.json_object import JsonObject, given, parse_object
from skylift.contract.document import FOREVER, Malformed

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
    return InputLive(
        given(fields.text("run", 32, _RUN), "run"),
        given(fields.integer("attempt", 1, 1 << 31), "attempt"),
        given(fields.number("written", 0, FOREVER), "written"),
        *(_stream(given(fields.inner(name), name), name) for name in ("stdout", "stderr")),
    )


def _stream(fields: JsonObject, name: str) -> LiveStream:
    start = given(fields.integer("start", 0, 1 << 62), "start")
    text = given(fields.text("content", _TAIL * 4 // 3 + 4), "content")
    try:
        return LiveStream(start, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise Malformed(f"the content of `{name}` is not Base64") from None
