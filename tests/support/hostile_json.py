"""What a program may write where a server's files are expected: any bytes, any JSON, and what is almost right."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV6aWxsdXN0cmF0aW9uZXhhbXBsZWtleTAxMjM0NTY3"
STATUS = {
    "job": "x",
    "attempt": 1,
    "instance": "i-0123456789abcdef0",
    "updated": "2026-01-31T12:00:00.000Z",
    "state": "succeeded",
    "final": True,
    "instance_type": "t3.small",
    "market": "spot",
    "booted": "2026-01-31T11:00:00.000Z",
    "started": "2026-01-31T11:01:00.000Z",
    "ended": "2026-01-31T12:00:00.000Z",
    "program_seconds": 3540.5,
    "environment": "built",
    "environment_seconds": 1.5,
    "exit_code": 0,
    "signal": None,
    "reason": "The program exited with 0.",
    "detail": "",
    "streams": {"stdout": 3, "stderr": 0},
    "cut": {"stdout": [1, 2]},
    "role": "skylift-x",
    "kept_until": 1769864400.0,
    "notice": {"action": "terminate", "time": 1769860800.0},
    "checkpoint": {"attempt": 1},
    "tries": [
        {
            "attempt": 1,
            "exit_code": 75,
            "signal": None,
            "reason": "The program exited with 75.",
            "began": "2026-01-31T11:01:00.000Z",
            "ended": "2026-01-31T11:02:00.000Z",
            "seconds": 60.0,
            "pause": 1.0,
        }
    ],
}
HOST_KEYS = {"instance": "i-0123456789abcdef0", "keys": [KEY], "user": "ec2-user"}
MANIFEST = {
    "final": True,
    "results": [
        {"path": "out/a", "size": 1, "sha256": "a" * 64},
        {"path": "out/b", "size": 1, "sha256": "b" * 64, "at": [f"packs/{'c' * 64}.tar", 512]},
    ],
    "unmatched": ["x"],
    "left_behind": ["y"],
    "not_sent": [{"path": "out/c", "reason": "Permission denied"}],
    "changed": ["out/d"],
}

texts = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a\0b",
        "\x1b]0;x\x07",
        "\ud800",
        "\u202e",
        "soon",
        "-oProxyCommand=x",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
        "precious",
        "x" * 5000,
    ]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 10**400, 1e308, 253402300800, 1 << 63, True])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def _paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(each for name, value in inner for each in _paths(value, (*path, name)))]


def _with(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = _with(copy[path[0]], path[1:], value)
    return copy


def files(like: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, and a right one with any of its parts replaced by anything."""
    almost = st.tuples(st.sampled_from(_paths(like)), values).map(lambda one: _with(like, *one))
    odd = [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"[1,2]", b"NaN", b"1" * 5000]
    odd += [b'{"state": "running", "kept_until": 1e999}', json.dumps({**like, "x": "\ud800"}).encode()]
    return st.binary(max_size=200) | st.sampled_from(odd) | (values | almost | almost).map(encoded)


def encoded(content: Any) -> bytes:
    """With NaN and Infinity as Python writes them; a number of more digits than Python spells is left out."""
    try:
        return json.dumps(content).encode()
    except ValueError:
        return b"0"
