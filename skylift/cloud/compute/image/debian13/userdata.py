#!/usr/bin/python3 -I
"""User data that is not a plain script: gzip, MIME parts and #cloud-config, as cloud-init takes them.

Called by init as `userdata.py FILE SCRIPTS-DIRECTORY`; what it prints goes to the console and the log. What is not
supported is said by name, and the rest is done all the same, as cloud-init does it.
"""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

LIMIT = 64 << 20  # bytes after unpacking; user data itself is at most 16 KiB

STARTS = {
    b"#!": "text/x-shellscript",
    b"#cloud-config": "text/cloud-config",
    b"#cloud-boothook": "text/cloud-boothook",
    b"#include": "text/x-include-url",
    b"#part-handler": "text/part-handler",
    b"## template: jinja": "text/jinja2",
}


class Unusable(Exception):
    """User data that cannot be read; the text says why."""


def unpack(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, LIMIT)
    except zlib.error as error:
        raise Unusable(f"not a gzip file: {error}") from error
    if unpacker.unconsumed_tail:
        raise Unusable(f"larger than {LIMIT >> 20} MiB when unpacked")
    if not unpacker.eof:
        raise Unusable("the gzip file ends early")
    return unpacked


def parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Type and content of each part, in order; a type that a part does not tell is known by how it starts."""
    data = unpack(data)
    head = data[:4096].lower()
    if head.startswith((b"content-type: multipart", b"mime-version:", b"from ")):
        message = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
        for part in message.walk():
            if part.is_multipart():
                continue
            yield from _part(part)
    else:
        yield kind(data), data


def _part(part: email.message.Message) -> Iterator[tuple[str, bytes]]:
    payload = part.get_payload(decode=True)
    content = unpack(payload if isinstance(payload, bytes) else b"")
    told = part.get_content_type()
    if told in STARTS.values():
        yield told, content
    elif content:
        yield kind(content), content


def kind(content: bytes) -> str:
    for start, name in STARTS.items():
        if content.startswith(start):
            return name
    return "unknown"


def run_script(content: bytes, path: Path) -> int:
    path.write_bytes(content)
    path.chmod(0o700)
    try:
        return subprocess.run([str(path)], check=False).returncode
    except OSError as error:
        print(f"user data: {path.name}: {error.strerror}", flush=True)
        return 127


def main(file: Path, scripts: Path) -> int:
    failed = 0
    try:
        found = list(parts(file.read_bytes()))
    except Unusable as error:
        print(f"user data: {error}", flush=True)
        return 1
    # Configuration first, then scripts, each in its order: that is cloud-init's sequence too.
    for number, (name, content) in enumerate(sorted(found, key=lambda part: part[0] != "text/cloud-config"), 1):
        if name == "text/cloud-config":
            sys.path.insert(0, os.path.dirname(__file__))
            import cloudconfig  # noqa: PLC0415 - loads YAML, which scripts do not need

            failed += cloudconfig.apply(content)
        elif name == "text/x-shellscript":
            code = run_script(content, scripts / f"part-{number:03d}")
            if code:
                print(f"user data: part-{number:03d} exited with {code}", flush=True)
                failed += 1
        elif content.strip():
            print(f"user data: part {number}: {name} is not supported; it was not run", flush=True)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
