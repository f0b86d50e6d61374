"""The output of an input of a map while it runs, as the page of the input shows it: it follows, as a job's log does."""

from __future__ import annotations

import codecs

from skylift.client.map.live import InputLive, LiveStream
from skylift.console.scrollback import Scrollback

_KEPT = 1 << 20
"""Characters that a page can scroll back."""


class InputLog:
    """Reports of a server become a text that only grows."""

    def __init__(self) -> None:
        self.text = Scrollback(_KEPT)
        self._run = ""
        self._begin()

    def _begin(self) -> None:
        self._offsets = {"stdout": 0, "stderr": 0}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder("replace") for name in self._offsets}

    def add(self, live: InputLive) -> None:
        if self._run and live.run != self._run:
            self.text.append("\r\n\x1b[2m[It runs again.]\x1b[0m\r\n")
            self._begin()
        self._run = live.run
        self._add("stdout", live.stdout)
        self._add("stderr", live.stderr)

    def _add(self, name: str, stream: LiveStream) -> None:
        missing, content = stream.after(self._offsets[name])
        if missing:
            self.text.append(f"\r\n\x1b[2m[{missing:,} bytes came faster than they are shown here.]\x1b[0m\r\n")
            self._decoders[name].reset()
        if not content:
            return
        self._offsets[name] = stream.end
        text = self._decoders[name].decode(content)
        self.text.append(f"\x1b[33m{text}\x1b[39m" if name == "stderr" else text)
