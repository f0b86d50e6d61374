"""A terminal in the page, by xterm: it shows a text that comes from the server's side, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from nicegui import background_tasks, ui

from skylift.console.scrollback import Scrollback
from skylift.console.widgets.element import tag

_PIECE = 1 << 15
_BEHIND = 2 << 20
"""Characters that a page may be behind what is written. It keeps some thousand lines, and what comes is worth more."""
_LOOK = 5.0
"""Seconds after which a terminal that got nothing looks whether it is still there."""


class TerminalView:
    """Without `on_type`, nothing can be typed. The next piece is sent when the browser has had the last one."""

    def __init__(
        self,
        text: Scrollback,
        label: str,
        *,
        on_type: Callable[[str], None] | None = None,
        on_resize: Callable[[int, int], None] | None = None,
    ) -> None:
        options = {
            "fontSize": 13,
            "fontFamily": "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
            "scrollback": 10_000,
            "cursorBlink": on_type is not None,
            "disableStdin": on_type is None,
            "convertEol": on_type is None,
            "theme": {"background": "#101214", "foreground": "#e4e7ea"},
            "screenReaderMode": False,
        }
        self._text = text
        self._xterm = ui.xterm(options).classes("terminal")
        self._xterm.props["aria-label"] = label
        if on_type is not None:
            self._xterm.on_data(lambda event: on_type(event.data))
            # Tab is the program's key.
            tag("p", "Ctrl-Shift-K leads out of the terminal, to the search.", "terminal-hint")
        if on_resize is not None:
            self._xterm.on_resize(lambda event: on_resize(event.rows, event.cols))
        self._client = ui.context.client
        self._pumping = background_tasks.create(self._pump(text))

    @property
    def is_gone(self) -> bool:
        """From its page."""
        return self._xterm.is_deleted

    def show(self, text: Scrollback) -> None:
        """Another text, from its beginning, in place of this one."""
        self._pumping.cancel()
        self._xterm.run_terminal_method("reset")
        self._pumping = background_tasks.create(self._pump(text))

    async def _pump(self, text: Scrollback) -> None:
        with suppress(TimeoutError):
            await self._client.connected()
            await self._client.run_javascript(f"skyliftFit({self._xterm.id})", timeout=5)
        offset = 0
        while not self._xterm.is_deleted:
            if text.end - offset > _BEHIND:
                passed, offset = text.end - _BEHIND - offset, text.end - _BEHIND
                await self._write(f"\r\n\x1b[2m[{passed:,} characters are not shown; the search has more.]\x1b[0m\r\n")
            piece, after = text.read(offset, _PIECE)
            if not piece:
                await text.wait(offset, _LOOK)
                continue
            if await self._write(piece):
                offset = after

    async def _write(self, piece: str) -> bool:
        try:
            await self._xterm.run_method("write", piece, timeout=10)
        except TimeoutError:
            # A tab that is asleep; one that has gone is deleted soon.
            await asyncio.sleep(0)
            return False
        return True


def full_screen() -> None:
    """A button. Escape, held down, leads back."""
    tag("button", "Full screen", "button", type="button", data_fullscreen="terminal")
