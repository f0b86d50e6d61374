"""What a map runs on: files, objects of S3, and values."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from skylift.client.errors import RunError, UsageError
from skylift.client.map.inputs import Inputs, InputWords, find_inputs, read_split
from skylift.client.map.sending import blob_of
from skylift.client.ship.s3_input import S3Object, S3Source
from skylift.contract.map_spec import ObjectRange


def s3(text: str) -> S3Source:
    """A bucket with three objects, two of which a glob finds."""
    if text == "s3://data/none*":
        raise UsageError(f"{text}: nothing is there.")
    names = [text[-5]] if text.endswith(("/a.csv", "/b.csv")) else ["a", "b"]
    objects = tuple(S3Object(f"in/{name}.csv", "etag", 12, name) for name in names)
    return S3Source("data", "us-east-1", "arn:aws:s3:::data/in/*.csv", objects)


def content(bucket: str, found: S3Object) -> IO[bytes]:
    """As if the first one was compressed."""
    assert bucket == "data"
    return io.BytesIO(b"\x1f\x8b..." if found.key == "in/a.csv" else b"x,y\n1,2\n3,4\n")


def find(
    cwd: Path, *words: str, listed: str | None = None, numbers: str | None = None, split: int | None = None
) -> Inputs:
    data = None if listed is None else listed.encode()
    return find_inputs(InputWords(words, data, "list.txt", numbers, split), cwd, s3, content)


def texts(found: Inputs) -> list[str]:
    return [each.text for each in found.found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "sub/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name},x\n1,2\n3,4\n")
    return tmp_path


def test_files_and_globs_in_the_order_of_the_words(folder: Path) -> None:
    found = find(folder, "sub/c.csv", "*.csv")
    assert texts(found) == ["sub/c.csv", "a.csv", "b.csv"]
    assert [each.name for each in found.found] == ["c.csv", "a.csv", "b.csv"]
    assert found.notes == ()
    # What a glob matches besides files is not an input.
    assert texts(find(folder, "*")) == ["a.csv", "b.csv"]
    assert texts(find(folder, "**/*.csv")) == ["a.csv", "b.csv", "sub/c.csv"]
    assert texts(find(folder, str(folder / "?.csv"))) == [str(folder / "a.csv"), str(folder / "b.csv")]


def test_a_file_outside_of_the_working_directory_is_an_input_too(folder: Path) -> None:
    assert texts(find(folder / "sub", "../a.csv")) == ["../a.csv"]
    assert texts(find(folder / "sub", "../*.csv")) == ["../a.csv", "../b.csv"]


def test_what_is_named_twice_is_run_once_and_told(folder: Path) -> None:
    found = find(folder, "b.csv", "*.csv", "./a.csv")
    assert texts(found) == ["b.csv", "a.csv"]
    assert found.notes == ("Named twice, and run once: b.csv, ./a.csv.",)
    assert texts(find(folder, listed="x\ny\nx\n")) == ["x", "y"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("*.parquet", r"\*\.parquet: nothing matches"),
        ("s*", "nothing matches"),  # a folder alone
        ("none.csv", "there is no such file"),
        ("sub", "is a folder, not an input"),
        ("pipe", "not a regular file"),
        ("broken", "there is no such file|No such file"),
        ("circle", "cannot be read"),
        ("s3://data/none*", "nothing is there"),
    ],
)
def test_a_word_that_is_no_input_is_refused(folder: Path, word: str, message: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "broken").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match=message):
        find(folder, "a.csv", word)


def test_a_file_whose_name_is_a_glob_is_taken_by_its_name(folder: Path) -> None:
    (folder / "[a].csv").write_text("")
    assert texts(find(folder, "[a].csv")) == ["[a].csv"]
    assert texts(find(folder, "[b].csv")) == ["b.csv"]


def test_a_name_that_is_not_text_is_refused(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.csv")).write_text("")
    with pytest.raises(UsageError, match="not UTF-8"):
        find(folder, "*.csv")


def test_objects_of_s3_stay_there_and_may_be_read(folder: Path) -> None:
    found = find(folder, "s3://data/in/*.csv", "a.csv")
    assert texts(found) == ["s3://data/in/a.csv", "s3://data/in/b.csv", "a.csv"]
    assert [each.file is None for each in found.found] == [True, True, False]
    assert (found.arns, found.buckets) == (("arn:aws:s3:::data/in/*.csv",), ("data",))


def test_lines_are_files_and_objects_or_else_values(folder: Path) -> None:
    found = find(folder, listed="a.csv\r\n\nsub/c.csv\ns3://data/k*y\n")
    assert texts(found) == ["a.csv", "sub/c.csv", "s3://data/k*y"]
    assert found.arns == ("arn:aws:s3:::data/k${*}y",)
    found = find(folder, listed="alpha\nbeta gamma\n*.csv")
    assert texts(found) == ["alpha", "beta gamma", "*.csv"]
    assert not any(each.file for each in found.found)


def test_one_line_that_is_no_file_among_files_is_a_slip(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"list.txt: line 2 names no file: gone.csv. Others do, like a.csv"):
        find(folder, listed="a.csv\ngone.csv\n")
    with pytest.raises(UsageError, match="line 1 names no file"):
        find(folder, listed="gone.csv\ns3://data/a\n")
    with pytest.raises(UsageError, match="this is not a place in S3"):
        find(folder, listed="s3://DATA/a\n")


def test_many_objects_of_a_list_are_permitted_by_their_folder(folder: Path) -> None:
    found = find(folder, listed="".join(f"s3://data/day/{number:03}.csv\n" for number in range(100)))
    assert found.arns == ("arn:aws:s3:::data/day/*",)
    assert find(folder, listed="".join(f"s3://data/{number}\n" for number in range(100))).arns == (
        "arn:aws:s3:::data/*",
    )


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (b"a\xffb", "not UTF-8 text: byte 1"),
        (b"a\0b", "null character"),
        (b"x" * (128 << 10), "131072 bytes"),
        (b"\n\n", "no inputs"),
    ],
)
def test_lines_that_no_argument_can_have_are_refused(tmp_path: Path, listed: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_inputs(InputWords(listed=listed), tmp_path, s3, content)


def test_the_longest_input_can_be_an_argument_and_a_variable(tmp_path: Path) -> None:
    def find_text(size: int) -> str:
        (found,) = find_inputs(InputWords(listed=b"x" * size), tmp_path, s3, content).found
        return found.text

    size = (128 << 10) - len("SKYLIFT_INPUT=\0")
    longest = find_text(size)
    said = subprocess.check_output(
        [sys.executable, "-c", "import os, sys; print(os.environ['SKYLIFT_INPUT'] == sys.argv[1])", longest],
        env={"SKYLIFT_INPUT": longest},
    )
    assert said == b"True\n"
    with pytest.raises(UsageError, match=f"{size} are the most"):
        find_text(size + 1)


def test_a_range_has_both_its_ends(tmp_path: Path) -> None:
    assert texts(find(tmp_path, numbers="1..3")) == ["1", "2", "3"]
    assert texts(find(tmp_path, numbers="08..10")) == ["08", "09", "10"]
    assert texts(find(tmp_path, numbers="-1..0")) == ["-1", "0"]
    assert texts(find(tmp_path, numbers="0..0")) == ["0"]


@pytest.mark.parametrize("numbers", ["3..1", "1..", "a..b", "1...3", "1-3", "0..1000000", "0..999999999999999999"])
def test_a_range_that_is_none_is_refused_at_once(tmp_path: Path, numbers: str) -> None:
    with pytest.raises(UsageError):
        find(tmp_path, numbers=numbers)


def test_no_input_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There are no inputs"):
        find(tmp_path)


def test_parts_of_a_file_have_names_of_their_own_and_its_header(folder: Path) -> None:
    found = find(folder, "a.csv", "b.csv", split=12)
    assert [each.name for each in found.found] == ["a-0000.csv", "a-0001.csv", "b-0000.csv", "b-0001.csv"]
    assert texts(found) == ["a.csv", "a.csv", "b.csv", "b.csv"]
    contents = []
    for each in found.found:
        with each.open() as file:
            contents.append(file.read())
    assert contents[:2] == [b"a.csv,x\n1,2\n", b"a.csv,x\n3,4\n"]
    assert [each.size for each in found.found] == [len(each) for each in contents]
    # A file that is small enough is itself.
    assert [each.name for each in find(folder, "a.csv", split=1000).found] == ["a.csv"]


@pytest.mark.parametrize("how", ["word", "listed"])
def test_an_object_is_split_between_rows_where_it_is(folder: Path, how: str) -> None:
    """The server fetches the parts, of the version whose rows were looked at."""
    place = "s3://data/in/b.csv"
    found = find(folder, place, split=9) if how == "word" else find(folder, listed=place, split=9)
    where = ("data", "us-east-1", "in/b.csv", "etag")
    assert [each.object for each in found.found] == [
        ObjectRange(*where, 4, 4, 8, "b-0000.csv"), ObjectRange(*where, 4, 8, 12, "b-0001.csv"),
    ]  # fmt: skip
    assert [(each.text, each.name) for each in found.found] == [(place, "b-0000.csv"), (place, "b-0001.csv")]
    # One that is small enough becomes a file, too, as the others do.
    assert [each.object for each in find(folder, place, split=1000).found] == [ObjectRange(*where, 4, 4, 12, "b.csv")]


def test_what_cannot_be_split_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--split: s3://data/in/a\.csv cannot be split: it is packed \(gzip\)"):
        find(folder, "s3://data/in/*.csv", split=1 << 20)
    with pytest.raises(UsageError, match=r"--split: s3://data/in is a folder"):
        find(folder, listed="s3://data/in", split=1 << 20)
    with pytest.raises(UsageError, match="--split is for files and for objects of S3; 1 is neither"):
        find(folder, numbers="1..2", split=1 << 20)


def test_a_size_of_parts() -> None:
    assert read_split("256MiB") == 256 << 20
    assert [read_split(each) for each in ("1KiB", "64k", "2kb")] == [1024, 65536, 2000]
    for text in ("", "0", "-1", "0.0001MiB", "1KB", "many", "1 nibble"):
        with pytest.raises(UsageError, match="--split"):
            read_split(text)


def test_what_travels_is_known_by_its_content(folder: Path) -> None:
    for each in find(folder, "a.csv", "b.csv", split=12).found:
        blob = blob_of(each)
        with blob.open() as file:
            content = file.read()
        assert (blob.sha256, blob.size) == (hashlib.sha256(content).hexdigest(), len(content))
        assert blob.key == f"inputs/sha256/{blob.sha256}"


@pytest.mark.parametrize("change", ["remove", "replace", "shrink"])
def test_an_input_that_is_gone_meanwhile_is_told_by_name(folder: Path, change: str) -> None:
    path = folder / "a.csv"
    found = find(folder, "a.csv", split=12).found[1]
    if change == "shrink":
        path.write_text("a.csv,x\n")
        with pytest.raises(RunError, match=r"a.csv became shorter"):
            blob_of(found)
        return
    path.rename(folder / "elsewhere")
    if change == "replace":
        path.write_text("another\n")
    with pytest.raises(UsageError, match=r"a.csv cannot be read"):
        blob_of(found)
