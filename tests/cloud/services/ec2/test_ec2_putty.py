"""`putty/*.ppk` were made by PuTTY 0.83's puttygen from the keys beside them, which open nothing."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from skylift.cloud.services.api import putty

CASES = Path(__file__).with_name("putty")


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_files_are_those_that_putty_writes(kind: str) -> None:
    content = (CASES / f"{kind}.pem").read_bytes()
    key = load_pem_private_key(content, None) if kind == "rsa" else load_ssh_private_key(content, None)
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        private = putty.rsa_private(numbers.d, numbers.p, numbers.q, numbers.iqmp)
    else:
        private = putty.ed25519_private(key.private_bytes_raw())  # type: ignore[union-attr]
    public = base64.b64decode(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])  # type: ignore[union-attr]
    made = putty.key_file(f"ssh-{kind}", "made for this test", public, private)
    assert made == (CASES / f"{kind}.ppk").read_text()
