"""The one error that services answer with.

ServiceError                 an AWS error code and message; mapped to the wire once, in wire/errors
+-- (no subclasses: the code is the type, as it is for AWS's own clients)
"""

from __future__ import annotations

from collections.abc import Mapping


class ServiceError(Exception):
    """An error as AWS words it.

    `code` is AWS's own (`InvalidVpcID.NotFound`), `detail` are S3's members besides the message (`BucketName`, `Key`).
    The HTTP status follows from the protocol and the code; `status` overrides it where AWS deviates. `headers` are
    those that S3 answers about an object even when it refuses it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **detail: str,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = dict(headers or {})
        self.detail = detail


def no_room() -> ServiceError:
    """The disk is full. AWS has no error code for this. 507 is HTTP's status, which clients do not retry."""
    return ServiceError(
        "InsufficientStorage",
        "There is no space left where this cloud keeps its state; free some and send the request again.",
        status=507,
    )
