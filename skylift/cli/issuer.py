"""`skylift cloud issuer`: the keys of issuers whose ID tokens open roles here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from skylift.cli.market import AsJson, needed, show

LARGEST = 262_144


def register(cloud: typer.Typer) -> None:
    cloud.command("issuer")(issuer)


def issuer(
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="An issuer, like https://issuer.example.com.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="Its public keys, a JSON Web Key Set; - reads standard input.", show_default=False
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget the issuer's keys.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the keys that verify an issuer's ID tokens. Without arguments: show settings.

    AWS fetches them from the issuer. This cloud asks no issuer, so that AssumeRoleWithWebIdentity needs them.
    """
    from skylift.client.errors import UsageError
    from skylift.place.control import Control

    call = Control().call
    if reset and file is not None:
        raise UsageError("--reset goes without a FILE.")
    if reset:
        call("reset_issuer_keys", Issuer=needed(url, "URL"))
    elif file is not None:
        call("put_issuer_keys", Issuer=needed(url, "URL"), KeySet=_text(file))
    found = call("describe_issuer_keys")["Issuers"]
    chosen: list[dict[str, Any]] = [one for one in found if url in (None, one["Issuer"])]
    show(
        chosen if as_json else [{**one, "KeyIds": " ".join(one["KeyIds"])} for one in chosen],
        ("Issuer", "KeyCount", "KeyIds", "UpdateTime"),
        as_json=as_json,
    )


def _text(file: str) -> str:
    """Raises UsageError for what cannot be read, or is too large for a key set."""
    from skylift.client.errors import UsageError

    try:
        if file == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(LARGEST + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(f"{file} cannot be read: {why}.") from error
    if len(content) > LARGEST:
        raise UsageError(f"{file} is larger than {LARGEST} bytes.")
    return text
