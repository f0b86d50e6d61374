"""Signs instances' identity documents with a key of this cloud's own, which is made when it is first needed.

Only AWS has the keys that AWS signs with. A program that checks one of our documents needs our certificate.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-iid.html
"""

from __future__ import annotations

import base64
import threading
from typing import Literal

from skylift.cloud.domain.account import DocumentKey
from skylift.cloud.services.api import key_material
from skylift.cloud.state.home import Home
from skylift.cloud.store.database import Database, Tx

Form = Literal["signature", "pkcs7", "rsa2048"]

_LINE: dict[Form, int] = {"signature": 76, "pkcs7": 64, "rsa2048": 64}
"""The length of AWS's lines."""


class DocumentSigner:
    """Signs on behalf of one cloud, and leaves its certificate in the state directory."""

    def __init__(self, database: Database, home: Home, account: str) -> None:
        self._database = database
        self._home = home
        self._account = account
        self._making = threading.Lock()

    def sign(self, form: Form, document: bytes) -> str:
        return signed(self._key(), form, document)

    def _key(self) -> DocumentKey:
        with self._database.read() as tx:
            key = tx.get(DocumentKey, account=self._account)
        if key is None or not self._home.has_identity_certificate():
            with self._making:
                with self._database.write() as tx:
                    key = key_of(tx, self._account)
                self._home.write_identity_certificate(key.certificate)
        return key


def key_of(tx: Tx, account: str) -> DocumentKey:
    """The key that there is by now, or a new one. Needs a write transaction."""
    known = tx.get(DocumentKey, account=account)
    if known is not None:
        return known
    private, certificate = key_material.make_certified(f"skylift instance identity of {account}", tx.now)
    made = DocumentKey(account, private, certificate, tx.now)
    tx.add(made)
    return made


def signed(key: DocumentKey, form: Form, document: bytes) -> str:
    """The signature in lines of base64, without the header and footer of PEM."""
    if form == "signature":
        content = key_material.sign(key.private_key, document)
    else:
        content = key_material.sign_enclosed(key.private_key, key.certificate, document)
    text, length = base64.b64encode(content).decode(), _LINE[form]
    return "\n".join(text[start : start + length] for start in range(0, len(text), length))
