"""User data as cloud-init takes it: what its parts are, and what becomes of each."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from skylift.cloud.compute.image.debian13 import userdata
from skylift.cloud.compute.image.debian13.userdata import Unusable, parts

FOLDER = Path(userdata.__file__).parent


def multipart(*contents: tuple[str, str]) -> bytes:
    message = MIMEMultipart()
    for subtype, content in contents:
        message.attach(MIMEText(content, subtype))
    return message.as_bytes()


def test_the_start_tells_the_kind() -> None:
    assert list(parts(b"#!/bin/sh\ntrue\n")) == [("text/x-shellscript", b"#!/bin/sh\ntrue\n")]
    assert list(parts(b"#cloud-config\nx: 1\n")) == [("text/cloud-config", b"#cloud-config\nx: 1\n")]
    assert list(parts(b"hello")) == [("unknown", b"hello")]


def test_gzip_is_unpacked() -> None:
    assert list(parts(gzip.compress(b"#!/bin/sh\n"))) == [("text/x-shellscript", b"#!/bin/sh\n")]


@pytest.mark.parametrize("data", [b"\x1f\x8bnot gzip at all", gzip.compress(b"#!/bin/sh\n" * 99, mtime=0)[:-12]])
def test_damaged_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(Unusable, match="gzip"):
        list(parts(data))


def test_mime_parts_come_in_order_and_are_known_by_type_or_start() -> None:
    data = multipart(
        ("x-shellscript", "#!/bin/sh\necho 1\n"), ("cloud-config", "runcmd: []\n"), ("plain", "#!/bin/sh\n")
    )
    assert [kind for kind, _ in parts(data)] == ["text/x-shellscript", "text/cloud-config", "text/x-shellscript"]


def run(data: bytes, tmp_path: Path) -> tuple[int, str]:
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "scripts").mkdir(exist_ok=True)
    command = [sys.executable, "-I", str(FOLDER / "userdata.py"), str(tmp_path / "data"), str(tmp_path / "scripts")]
    environment = {**os.environ, "PLACE": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_configuration_is_applied_before_scripts_run(tmp_path: Path) -> None:
    data = multipart(
        ("x-shellscript", '#!/bin/sh\necho second; cat "$PLACE/note"\n'),
        ("cloud-config", f"runcmd: ['echo first >{tmp_path}/note', [echo, done]]\n"),
    )
    assert run(data, tmp_path) == (0, "done\nsecond\nfirst\n")


def test_a_failed_script_is_told_and_the_next_one_runs(tmp_path: Path) -> None:
    data = multipart(("x-shellscript", "#!/bin/sh\nexit 3\n"), ("x-shellscript", "#!/bin/sh\necho still\n"))
    assert run(data, tmp_path) == (1, "user data: part-001 exited with 3\nstill\n")


def test_a_script_without_its_interpreter_is_told(tmp_path: Path) -> None:
    code, said = run(multipart(("x-shellscript", "#!/no/such/shell\n")), tmp_path)
    assert code == 1
    assert "No such file or directory" in said


def test_what_is_not_supported_is_named(tmp_path: Path) -> None:
    code, said = run(
        multipart(("cloud-boothook", "#cloud-boothook\n"), ("cloud-config", "ntp: {}\nssh_pwauth: true")), tmp_path
    )
    assert code == 1
    assert "text/cloud-boothook is not supported" in said
    assert "ntp: {} is not supported" in said
    assert "ssh_pwauth: True is not supported" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("a: [", "not valid YAML"),
        ("- 1\n", "a mapping is expected, not list"),
        ("runcmd: true\n", "runcmd: a list is expected"),
        ("write_files: [{content: x}]\n", "no path"),
        ("write_files: [{path: /x, source: {uri: 'http://x'}}]\n", "source: not supported"),
        ("write_files: [{path: PLACE/x, content: '%', encoding: b64}]\n", "content is not b64"),
        ("users: [{name: bob, passwd: x}]\n", "passwd: not supported"),
        ("users: [{name: bob, plain-text-passwd: x}]\n", "plain_text_passwd: not supported"),
        ("users: [{name: bob, lock-passwd: false}]\n", "lock_passwd: false is not supported"),
        ("users: [{ssh-authorized-keys: [x]}]\n", "no name in {'ssh_authorized_keys': ['x']}"),
        ("users: [[bob]]\n", "a mapping is expected, not ['bob']"),
        ("users: [{1: x}]\n", "1: not supported"),
        ("write-files: []\n", "write-files: [] is not supported"),
        ("power-state: {mode: poweroff}\n", "power-state: {'mode': 'poweroff'} is not supported"),
        ("write_files: [{path: /x, 'de-fer': true}]\n", "de-fer: not supported"),
        ("power_state: {mode: sleep}\n", "mode 'sleep' is none of"),
    ],
)
def test_bad_configuration_is_told_and_does_not_stop_the_rest(tmp_path: Path, config: str, said: str) -> None:
    config = config.replace("PLACE", str(tmp_path))
    code, output = run(multipart(("cloud-config", config), ("x-shellscript", "#!/bin/sh\necho after\n")), tmp_path)
    assert code == 1
    assert said in output
    assert output.endswith("after\n")


def test_files_are_written_with_mode_and_encoding(tmp_path: Path) -> None:
    uid, gid = os.getuid(), os.getgid()
    config = (
        f"#cloud-config\nwrite_files:\n"
        f"- {{path: {tmp_path}/deep/a, content: aGk=, encoding: b64, permissions: '0640', owner: '{uid}:{gid}'}}\n"
        f"- {{path: {tmp_path}/deep/a, content: '!', append: true, owner: '{uid}', permissions: '0600', defer: true}}\n"
    )
    assert run(config.encode(), tmp_path) == (0, "")
    assert (tmp_path / "deep/a").read_text() == "hi!"
    assert (tmp_path / "deep/a").stat().st_mode & 0o777 == 0o600


def test_a_user_key_in_both_spellings_is_told_and_the_last_one_is_taken(tmp_path: Path) -> None:
    """As cloud-init takes them: https://github.com/canonical/cloud-init/blob/main/cloudinit/distros/ug_util.py"""
    entry = "{name: bob, lock_passwd: true, lock-passwd: false}"
    code, output = run(f"#cloud-config\nusers: [{entry}]\n".encode(), tmp_path)
    assert code == 1
    assert output.splitlines() == [
        "cloud-config: users: lock_passwd: written with hyphens and with underscores; the last one is taken",
        "cloud-config: users: lock_passwd: false is not supported: there is no login by password",
    ]
