"""The endpoint's sockets on the loopback address, at the ports of last time if they are free."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.state.data import Data
from skylift.cloud.state.home import DEFAULT_PORT, DEFAULT_TLS_PORT


@contextmanager
def listen_on_loopback(data: Data, port: int | None) -> Iterator[socket.socket]:
    """The endpoint's socket. Without a port: last time's port, else the usual port, else any free port."""
    last = data.endpoint()
    wanted = [port] if port is not None else [*([int(last.url.rsplit(":", 1)[1])] if last else []), DEFAULT_PORT, 0]
    with listening(wanted) as listener:
        yield listener


@contextmanager
def listen_for_tls(data: Data) -> Iterator[tuple[socket.socket, ssl.SSLContext] | None]:
    """A second socket, where `cloud up --tls` has made a certificate; at the port of last time if that is free."""
    if not data.certificate.exists():
        yield None
        return
    context = tls_context(data)
    last = data.endpoint()
    wanted = [*([int(last.tls_url.rsplit(":", 1)[1])] if last and last.tls_url else []), DEFAULT_TLS_PORT, 0]
    with listening(wanted) as listener:
        yield listener, context


def tls_context(data: Data) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(data.certificate)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"The certificate {data.certificate} cannot be used ({error}). Remove it, then: skylift cloud up --tls"
        ) from error
    return context


@contextmanager
def listening(wanted: list[int]) -> Iterator[socket.socket]:
    """A socket at the first of these ports that is free; 0 is any."""
    with ExitStack() as stack:
        for number in wanted:
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            try:
                listener.bind(("127.0.0.1", number))
                # Another cloud that starts now may have bound the port too. Only one of the two can listen.
                listener.listen(512)
            except OSError as error:
                if number == wanted[-1]:
                    raise CannotStart(
                        f"Port {number} on 127.0.0.1: {error.strerror}. Choose another one with --port."
                    ) from error
            else:
                break
        yield listener
