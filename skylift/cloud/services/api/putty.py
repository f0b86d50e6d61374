"""PuTTY's private key files, version 2, unencrypted: what CreateKeyPair answers for `KeyFormat` ppk.

Version 2 is read by every PuTTY and WinSCP there is, version 3 only by recent ones.
https://the.earth.li/~sgtatham/putty/0.83/htmldoc/AppendixC.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac

LINE = 64


def key_file(algorithm: str, comment: str, public: bytes, private: bytes) -> str:
    """`public` is the key as the SSH protocol spells it, `private` comes from one of the functions below."""
    covered = b"".join(_string(part) for part in (algorithm.encode(), b"none", comment.encode(), public, private))
    mac_key = hashlib.sha1(b"putty-private-key-file-mac-key", usedforsecurity=False).digest()
    mac = hmac.new(mac_key, covered, hashlib.sha1).hexdigest()
    return "\n".join(
        [
            f"PuTTY-User-Key-File-2: {algorithm}",
            "Encryption: none",
            f"Comment: {comment}",
            *_lines("Public", public),
            *_lines("Private", private),
            f"Private-MAC: {mac}",
            "",
        ]
    )


def rsa_private(d: int, p: int, q: int, q_inverse: int) -> bytes:
    """`q_inverse` is q to the power -1 modulo p."""
    return b"".join(_integer(number) for number in (d, p, q, q_inverse))


def ed25519_private(seed: bytes) -> bytes:
    return _string(seed)


def _lines(name: str, content: bytes) -> list[str]:
    text = base64.b64encode(content).decode()
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return [f"{name}-Lines: {len(lines)}", *lines]


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _integer(number: int) -> bytes:
    """An integer, with a leading zero if its first bit is set, which would mean a negative number."""
    return _string(number.to_bytes(number.bit_length() // 8 + 1, "big"))
