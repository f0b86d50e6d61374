"""multipart/form-data as it comes in, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.multipart import LARGEST_PART_HEAD, MOST_BEFORE_FILE, FormReader, Take, boundary_of

HEAD = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return HEAD % (name, more) + value + b"\r\n"


def file(data: bytes, more: bytes = b'; filename="f"') -> bytes:
    return part(b"file", data, more)


class Form:
    """What a reader makes of a body."""

    def __init__(self, body: bytes, size: int = 1 << 20) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.data = b""
        reader = FormReader(b"b", self._open)
        for start in range(0, len(body), size):
            reader.feed(body[start : start + size])
        reader.finish()

    def _open(self, fields: dict[str, str], file_name: str | None) -> Take:
        self.fields, self.file_name = dict(fields), file_name
        return self._take

    def _take(self, data: memoryview) -> None:
        self.data += data


@given(
    st.text(max_size=30).filter(lambda text: "\r\n--b" not in text),
    st.binary(max_size=200).filter(lambda data: b"\r\n--b" not in data + b"\r\n"),
    st.integers(1, 40),
)
def test_fields_and_file_in_pieces_of_any_size(value: str, data: bytes, size: int) -> None:
    form = Form(part(b"Key", value.encode()) + file(data) + b"--b--\r\n", size)
    assert (form.fields, form.file_name, form.data) == ({"key": value}, "f", data)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_a_form_or_are_refused(noise: bytes, size: int) -> None:
    for body in (noise, b"--b\r\n" + noise, HEAD % (b"a", noise), file(noise), b"--b\r\nContent-Disposition: " + noise):
        try:
            Form(body, size)
        except ServiceError as error:
            assert error.code in ("MalformedPOSTRequest", "IncorrectNumberOfFilesInPostRequest", "InvalidArgument")


def test_lines_that_almost_are_delimiters_belong_to_the_file() -> None:
    data = b"\r\n-\r\n--\r\n--c\r\r\n-\r\n"
    assert Form(file(data) + b"--b--", 1).data == data


def test_what_follows_the_file_is_not_looked_at() -> None:
    form = Form(part(b"a", b"1") + file(b"data") + part(b"b", b"2") + b"\xff" * MOST_BEFORE_FILE + file(b"more"))
    assert (form.fields, form.data) == ({"a": "1"}, b"data")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (b"", None),
        (b'; filename=""', ""),
        (b'; filename="a \\"b\\"; c"', 'a "b"; c'),
        ('; filename="é"'.encode(), "é"),
        (b"; filename*=utf-8''%C3%A9", "é"),
    ],
)
def test_the_file_s_name(more: bytes, expected: str | None) -> None:
    assert Form(file(b"", more) + b"--b--").file_name == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"no form", "MalformedPOSTRequest"),
        (b"--b--\r\n", "IncorrectNumberOfFilesInPostRequest"),
        (part(b"a", b"1") + b"--b--\r\n", "IncorrectNumberOfFilesInPostRequest"),
        (part(b"a", b"1"), "MalformedPOSTRequest"),
        (file(b"data"), "MalformedPOSTRequest"),
        (b"--bc\r\n", "MalformedPOSTRequest"),
        (b"--b\r\n\r\n\r\n--b--", "MalformedPOSTRequest"),
        (b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--b--", "MalformedPOSTRequest"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n\r\n--b--", "MalformedPOSTRequest"),
        (file(b"", b"; filename*=utf-8''%FF") + b"--b--", "MalformedPOSTRequest"),
        (file(b"", b"; filename*=utf-16-le''%00%D8") + b"--b--", "MalformedPOSTRequest"),
        (b"--b\r\n" + b"x" * LARGEST_PART_HEAD, "MalformedPOSTRequest"),
        (part(b"a", b"1") + part(b"A", b"2") + file(b"") + b"--b--", "InvalidArgument"),
        (part(b"a", b"\xff") + file(b"") + b"--b--", "InvalidArgument"),
        (b"x" * MOST_BEFORE_FILE, "MaxPostPreDataLengthExceededError"),
        (part(b"a", b"x" * MOST_BEFORE_FILE), "MaxPostPreDataLengthExceededError"),
        (b"".join(part(b"%d" % n, b"") for n in range(500)) + file(b""), "MaxPostPreDataLengthExceededError"),
    ],
)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_what_is_refused(body: bytes, code: str, size: int) -> None:
    with pytest.raises(ServiceError) as refused:
        Form(body, size)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=b", b"b"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=é", None),
        (f"multipart/form-data; boundary={'x' * 71}", None),
        ("multipart/mixed; boundary=b", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
