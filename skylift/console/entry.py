"""Access to the console: links that are used once, and cookies. Both are signed with its key, which is new at each
start, so that they are good for that one console only."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable

from skylift.client.job.settings import Secret

LINK_SECONDS = 60
COOKIE_SECONDS = 30 * 24 * 3600
COOKIE = "skylift_console"
_FORM = re.compile(r"(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


class SignIn:
    """`now` is the clock. A link may be made by another process that has the key: `skylift console` a second time."""

    def __init__(self, key: Secret, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now
        self._used: dict[str, float] = {}

    def make_token(self) -> str:
        return self._sign("link")

    def make_cookie(self) -> str:
        return self._sign("cookie")

    def redeem(self, token: str) -> bool:
        """Whether the link is good. It is not a second time."""
        number = self._check("link", token, LINK_SECONDS)
        if number is None or number in self._used:
            return False
        now = self._now()
        self._used = {each: when for each, when in self._used.items() if now - when <= 2 * LINK_SECONDS}
        self._used[number] = now
        return True

    def admits(self, cookie: str) -> bool:
        return self._check("cookie", cookie, COOKIE_SECONDS) is not None

    def _sign(self, purpose: str) -> str:
        words = f"{int(self._now())}.{secrets.token_hex(16)}"
        return f"{words}.{self._signature(purpose, words)}"

    def _signature(self, purpose: str, words: str) -> str:
        return hmac.new(bytes.fromhex(self._key.reveal()), f"{purpose}.{words}".encode(), hashlib.sha256).hexdigest()

    def _check(self, purpose: str, text: str, seconds: float) -> str | None:
        """The number of a text that we have signed, and not too long ago."""
        parts = _FORM.fullmatch(text)
        if parts is None:
            return None
        made, number, signature = parts.groups()
        if not hmac.compare_digest(signature, self._signature(purpose, f"{made}.{number}")):
            return None
        age = self._now() - int(made)
        return number if -5 <= age <= seconds else None
