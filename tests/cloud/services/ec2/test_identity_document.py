"""What vouches for identity documents, checked with OpenSSL by the commands of AWS's user guide."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud.domain.account import DocumentKey
from skylift.cloud.services.ec2.identity_document import DocumentSigner, Form
from skylift.cloud.state.home import Home
from skylift.cloud.store import account as _account  # noqa: F401 - says where the key is kept
from skylift.cloud.store.database import Database

DOCUMENT = b'{\n  "instanceId": "i-0123456789abcdef0"\n}'


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "state.db")) as database:
        yield database


@pytest.fixture
def signer(database: Database, tmp_path: Path) -> DocumentSigner:
    return DocumentSigner(database, Home(tmp_path), "123456789012")


def openssl(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)


def enclosed(tmp_path: Path, text: str) -> subprocess.CompletedProcess[bytes]:
    message = tmp_path / "message"
    message.write_text(f"-----BEGIN PKCS7-----\n{text}\n-----END PKCS7-----\n")
    certificate = Home(tmp_path).identity_certificate
    return openssl("smime", "-verify", "-in", message, "-inform", "PEM", "-certfile", certificate, "-noverify")


@pytest.mark.parametrize("form", ["pkcs7", "rsa2048"])
def test_the_enclosed_document_comes_out_of_its_signature(signer: DocumentSigner, tmp_path: Path, form: Form) -> None:
    checked = enclosed(tmp_path, signer.sign(form, DOCUMENT))
    assert (checked.returncode, checked.stdout) == (0, DOCUMENT)
    assert b"Verification successful" in checked.stderr


def test_the_plain_signature(signer: DocumentSigner, tmp_path: Path) -> None:
    signature, document, key = (tmp_path / name for name in ("signature", "document", "key"))
    signature.write_bytes(base64.b64decode(signer.sign("signature", DOCUMENT)))
    key.write_bytes(openssl("x509", "-pubkey", "-noout", "-in", Home(tmp_path).identity_certificate).stdout)
    document.write_bytes(DOCUMENT)
    check = ("dgst", "-sha256", "-verify", key, "-signature", signature, document)
    assert openssl(*check).stdout == b"Verified OK\n"
    document.write_bytes(DOCUMENT.replace(b"0", b"1"))
    assert openssl(*check).stdout == b"Verification failure\n"


def test_another_clouds_signature_is_not_taken(signer: DocumentSigner, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with closing(Database(other / "state.db")) as database:
        theirs = DocumentSigner(database, Home(other), "123456789012").sign("pkcs7", DOCUMENT)
    signer.sign("pkcs7", DOCUMENT)
    assert enclosed(tmp_path, theirs).returncode != 0


def test_the_key_is_made_once_and_outlives_restarts(database: Database, signer: DocumentSigner, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: signer.sign("signature", DOCUMENT), range(4)))) == 1
    certificate = Home(tmp_path).identity_certificate
    before = certificate.read_text()
    certificate.unlink()
    DocumentSigner(database, Home(tmp_path), "123456789012").sign("signature", DOCUMENT)
    assert certificate.read_text() == before
    with database.read() as tx:
        (key,) = tx.find(DocumentKey)
    assert key.certificate == before and "PRIVATE" not in before
    assert "PRIVATE" not in repr(key)
