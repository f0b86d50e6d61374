"""What is an environment of wheels alone, and what only looks like one."""

from __future__ import annotations

import base64
import hashlib

import pytest

from skylift.agent.environment.environment_index import Changed
from skylift.agent.environment.wheel_check import check_files, check_lock

SITE = "lib/python3.13/site-packages"
RECORD = f"{SITE}/leaf-1.0.dist-info/RECORD"


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def row(path: str, text: str) -> str:
    return f"{path},sha256={base64.urlsafe_b64encode(digest(text)).decode().rstrip('=')},{len(text)}\n"


def check(files: dict[str, str], record: str, links: dict[str, str] | None = None) -> None:
    files = {RECORD: f"{record}leaf-1.0.dist-info/RECORD,,\n", "pyvenv.cfg": "home = /usr/bin", **files}
    found = {path: ("f", digest(text).hex()) for path, text in files.items()}
    found |= {path: ("l", target) for path, target in (links or {"bin/python": "/usr/bin/python3"}).items()}
    check_files({**found, "lib": ("d", "")}, lambda path: files[path].encode())


def test_what_wheels_list_is_theirs() -> None:
    record = row("leaf.py", "x") + row("../../../bin/leaf", "#!") + row('"a,b.py"', "y")
    check({f"{SITE}/leaf.py": "x", "bin/leaf": "#!", f"{SITE}/a,b.py": "y", "bin/activate.fish": "z"}, record)


def test_two_packages_may_have_the_same_file_and_one_of_them_another() -> None:
    other = f"{SITE}/twig-1.0.dist-info/RECORD"
    files = {f"{SITE}/shared.py": "x", other: row("shared.py", "y")}
    check(files, row("shared.py", "x"))
    with pytest.raises(Changed, match="no package has this file"):
        check({**files, f"{SITE}/shared.py": "z"}, row("shared.py", "x"))


@pytest.mark.parametrize(
    ("path", "record"),
    [
        (f"{SITE}/leaf.py", row("leaf.py", "another")),
        (f"{SITE}/leaf.py", "leaf.py,,\n"),
        (f"{SITE}/leaf.py", row("/leaf.py", "x")),
        (f"{SITE}/evil.pth", ""),
        (f"{SITE}/sitecustomize.py", ""),
        (f"{SITE}/pyvenv.cfg", ""),
        (f"{SITE}/leaf-1.0.dist-info/direct_url.json", ""),
        ("bin/leaf", ""),
        ("bin/python", ""),
        ("lib/RECORD", ""),
    ],
)
def test_a_file_that_no_wheel_lists_with_its_hash(path: str, record: str) -> None:
    with pytest.raises(Changed, match="no package has this file"):
        check({path: "x"}, record, {"bin/python3": "python"})


@pytest.mark.parametrize("path", ["pyvenv.cfg", "bin/python", "bin/python3.13", "bin/activate", "lib64", ".lock"])
def test_no_wheel_lists_a_file_of_uvs(path: str) -> None:
    """uv would put it in the place of its own, and who starts Python there would run it."""
    with pytest.raises(Changed, match="in the place of uv's own"):
        check({}, row(f"../../../{path}", "home = /usr/bin"))


@pytest.mark.parametrize("path", [f"{SITE}/leaf", "bin/leaf", "lib65"])
def test_a_link_that_is_not_uvs(path: str) -> None:
    with pytest.raises(Changed, match="no package has this file"):
        check({}, row("leaf", "x"), {path: "/tmp"})


@pytest.mark.parametrize("record", ["leaf.py,sha256=ü,1\n", "leaf.py,md5=x,1\n", "leaf.py\n", "a,sha256=x,1\n"])
def test_a_record_that_is_none(record: str) -> None:
    with pytest.raises(Changed):
        check({}, record)


LOCK = """version = 1
[[package]]
name = "leaf"
source = { registry = "https://index.example/simple" }
sdist = { url = "https://files.example/leaf.tar.gz", hash = "sha256:HASH", size = 1 }
wheels = [
    { url = "https://files.example/leaf.whl", hash = "sha256:HASH", size = 1 },
]

[[package]]
name = "work"
source = { virtual = "." }
""".replace("HASH", "0f" * 32)


def test_locks_with_hashes() -> None:
    check_lock(LOCK)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('.whl", hash = "sha256:' + "0f" * 32, '.whl"'[:-1]),
        ("sha256", "md5"),
        ('registry = "https://index.example/simple"', 'git = "https://code.example"'),
        ('registry = "https://index.example/simple"', 'registry = "packages"'),
        ('virtual = "."', 'editable = "../leaf"'),
        ('virtual = "."', 'url = "https://files.example/work.whl"'),
    ],
)
def test_locks_without_hashes_or_of_no_index(old: str, new: str) -> None:
    assert old in LOCK
    with pytest.raises(Changed, match="no hash"):
        check_lock(LOCK.replace(old, new))
