"""A cluster's certificates: who is believed, and who is not."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from skylift.client.dask.authority import Identity, issue

NOW = time.time()


def context(folder: Path, identity: Identity, purpose: int) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=identity.authority)
    for name, text in (("cert", identity.certificate), ("key", identity.key)):
        (folder / name).write_text(text)
    made.load_cert_chain(folder / "cert", folder / "key")
    return made


def speak(folder: Path, server: Identity, client: Identity) -> bytes:
    """What arrives when both prove themselves to each other. Raises OSError when one does not."""
    serving = context(folder, server, ssl.PROTOCOL_TLS_SERVER)
    calling = context(folder, client, ssl.PROTOCOL_TLS_CLIENT)
    ours, theirs = socket.socketpair()
    got: list[bytes | OSError] = []

    def serve() -> None:
        try:
            with serving.wrap_socket(theirs, server_side=True) as line:
                got.append(line.recv(10))
        except OSError as error:
            got.append(error)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with calling.wrap_socket(ours) as line:
            line.sendall(b"hello")
    finally:
        ours.close()
        thread.join()
    (found,) = got
    if isinstance(found, OSError):
        raise found
    return found


def test_parts_of_one_cluster_believe_each_other(tmp_path: Path) -> None:
    parts = issue("one", ("scheduler", "worker", "client"), NOW, NOW + 60)
    assert speak(tmp_path, parts["scheduler"], parts["worker"]) == b"hello"
    assert speak(tmp_path, parts["worker"], parts["client"]) == b"hello"


def test_another_clusters_parts_are_not_believed(tmp_path: Path) -> None:
    """Not even with the same names: each cluster has an authority of its own."""
    one, other = (issue("one", ("scheduler", "worker"), NOW, NOW + 60) for _ in range(2))
    with pytest.raises(OSError):
        speak(tmp_path, one["scheduler"], Identity(one["scheduler"].authority, *_pair(other["worker"])))
    with pytest.raises(OSError):
        speak(tmp_path, Identity(one["scheduler"].authority, *_pair(other["scheduler"])), one["worker"])


def test_a_part_can_sign_for_nobody(tmp_path: Path) -> None:
    """A worker's key is no authority's, and certificates end with the cluster."""
    from cryptography import x509

    worker = issue("one", ("worker",), NOW, NOW + 60)["worker"]
    found = x509.load_pem_x509_certificate(worker.certificate.encode())
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.not_valid_after_utc.timestamp() <= NOW + 60 + 3600
    assert worker.key not in repr(worker)


def _pair(identity: Identity) -> tuple[str, str]:
    return identity.certificate, identity.key
