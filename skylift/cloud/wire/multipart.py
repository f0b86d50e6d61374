"""`multipart/form-data` on its way in, as HTML forms and S3's POST uploads send it: fields, then one file.

What stands before the file is kept in memory and bounded; the file is passed on as it comes. Sources: RFC 7578 and
RFC 2046, section 5.1.1; for the bounds and for the file as the last field that counts, "POST Object" in S3's API
reference.
"""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message

from skylift.cloud.domain.error import ServiceError

MOST_BEFORE_FILE = 20 * 1024
"""S3's own limit of the bytes before the file."""
LARGEST_PART_HEAD = 4 * 1024
LONGEST_BOUNDARY = 70
FILE = "file"
"""The name of the field with the file, with or without a file name."""

Take = Callable[[memoryview], None]
OpenFile = Callable[[dict[str, str], str | None], Take]
"""(fields by name in small letters, file name) -> the receiver of the file's bytes. Called once, where the file begins.
"""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type announces; None for another type, or without a valid boundary."""
    message = Message()
    message["content-type"] = content_type
    found = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(found, str):
        return None
    fits = found.isascii() and found.isprintable() and 1 <= len(found) <= LONGEST_BOUNDARY and not found.endswith(" ")
    return found.encode() if fits else None


class FormReader:
    """`feed` for each piece of the body, then `finish`. Both raise ServiceError if the body is not such a form."""

    def __init__(self, boundary: bytes, open_file: OpenFile) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._open_file = open_file
        # The first delimiter has a line end before it too, unless the body begins with it.
        self._buffer = bytearray(b"\r\n")
        self._spent = 0
        self._fields: dict[str, str] = {}
        self._name = ""
        self._take: Take | None = None
        self._step: Callable[[], bool] = self._before

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass
        if self._take is None and self._spent + len(self._buffer) > MOST_BEFORE_FILE:
            raise _too_much()

    def finish(self) -> None:
        """Return when there was a file, and all of it."""
        if self._step != self._over:
            raise _malformed()
        if self._take is None:
            raise ServiceError(
                "IncorrectNumberOfFilesInPostRequest", "POST requires exactly one file upload per request."
            )

    def _before(self) -> bool:
        """Up to the first delimiter."""
        return self._until_delimiter() is not None

    def _after_delimiter(self) -> bool:
        if len(self._buffer) < 2:
            return False
        end = self._cut(2)
        if end not in (b"--", b"\r\n"):
            raise _malformed()
        self._step = self._head if end == b"\r\n" else self._over
        return True

    def _head(self) -> bool:
        """The header lines of a part."""
        end = self._buffer.find(b"\r\n\r\n", 0, LARGEST_PART_HEAD)
        if end < 0:
            if len(self._buffer) >= LARGEST_PART_HEAD:
                raise _malformed()
            return False
        self._name, file_name = _disposition(self._cut(end + 4))
        if self._name == FILE:
            self._take = self._open_file(self._fields, file_name)
            self._step = self._file
        else:
            self._step = self._field
        return True

    def _field(self) -> bool:
        value = self._until_delimiter()
        if value is None:
            return False
        if self._name in self._fields:
            raise _invalid(self._name, "A form may contain each field once.")
        try:
            self._fields[self._name] = value.decode()
        except UnicodeDecodeError:
            raise _invalid(self._name, "The fields of a form must be UTF-8.") from None
        return True

    def _file(self) -> bool:
        assert self._take is not None, "_head() has opened it"
        end = self._buffer.find(self._delimiter)
        ready = end if end >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        # Not a view of the buffer, which could not change while anybody has it.
        piece = bytes(self._buffer[:ready])
        del self._buffer[:ready]
        if piece:
            self._take(memoryview(piece))
        if end >= 0:
            self._step = self._over
        return end >= 0

    def _over(self) -> bool:
        """Ignore what follows the file or the last delimiter."""
        self._buffer.clear()
        return False

    def _until_delimiter(self) -> bytes | None:
        """The bytes before the next delimiter, if that has come."""
        end = self._buffer.find(self._delimiter)
        if end < 0:
            return None
        found = self._cut(end + len(self._delimiter))[:end]
        self._step = self._after_delimiter
        return found

    def _cut(self, size: int) -> bytes:
        self._spent += size
        if self._spent > MOST_BEFORE_FILE:
            raise _too_much()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


def _disposition(head: bytes) -> tuple[str, str | None]:
    """The name of a part's field, in small letters, and the name of its file."""
    message = Message()
    try:
        for line in head.decode().split("\r\n"):
            header, _, value = line.partition(":")
            if header.strip().lower() == "content-disposition":
                message["content-disposition"] = value.strip()
        name, file_name = _text(message, "name"), _text(message, "filename")
    except ValueError:
        raise _malformed() from None
    if message.get_content_disposition() != "form-data" or not name:
        raise _malformed()
    return name.lower(), file_name


def _text(message: Message, parameter: str) -> str | None:
    """ValueError when it is not UTF-8, which also those send that name it in the way of RFC 2231."""
    found = message.get_param(parameter, header="content-disposition")
    if isinstance(found, tuple):
        return found[2].encode("latin-1").decode()
    return found


def _malformed() -> ServiceError:
    return ServiceError("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")


def _too_much() -> ServiceError:
    return ServiceError(
        "MaxPostPreDataLengthExceededError",
        "Your POST request fields preceding the upload file were too large.",
        MaxPostPreDataLengthBytes=str(MOST_BEFORE_FILE),
    )


def _invalid(name: str, message: str) -> ServiceError:
    return ServiceError("InvalidArgument", message, ArgumentName=name)
