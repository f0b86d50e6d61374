"""Commands are values: each is asserted to the word."""

from __future__ import annotations

import ast
import io
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from support.agent_bench import boot_arguments

from skylift.client.errors import LaunchFailed
from skylift.client.job.commands import (
    USER_DATA_LIMIT,
    attach_argv,
    boot_argv,
    boot_script,
    program_argv,
    socket_path,
    ssh_argv,
)
from skylift.client.job.job import Program
from skylift.client.ship.archive import boot_archive, slim, whole_archive

TOP = Path(__file__).parents[3]
SUPERVISOR, CONTRACT = TOP / "skylift/agent", TOP / "skylift/contract"


def test_program() -> None:
    assert program_argv(Program("script", "a/b.py", ("-x", "y z"))) == ["python", "a/b.py", "-x", "y z"]
    assert program_argv(Program("module", "a.b", ("-m",))) == ["python", "-m", "a.b", "-m"]
    assert program_argv(Program("command", "make", ("all",))) == ["make", "all"]


def test_boot() -> None:
    assert boot_argv("bucket", "jobs/x", "eu-west-1", 1234, "admin", "abc") == [
        "python3",
        "/var/lib/skylift/boot.pyz",
        "boot",
        "--bucket=bucket",
        "--prefix=jobs/x",
        "--region=eu-west-1",
        "--deadline=1234",
        "--user=admin",
        "--sha256=abc",
    ]


def test_attach_and_socket() -> None:
    assert attach_argv("x") == ["python3", "/var/lib/skylift/supervisor.pyz", "attach", "x"]
    assert socket_path("x") == "/run/skylift/x.sock"


def test_ssh() -> None:
    options = ["-F", "none", "-o", "IdentityFile=/k", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=/h"]
    options += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]
    options += ["-o", "ConnectTimeout=5", "-o", "ConnectionAttempts=15", "-o", "ServerAliveInterval=15"]
    plain = ssh_argv(Path("/k"), Path("/h"), "me", "127.9.0.1", ())
    assert plain == ["ssh", *options, "-l", "me", "--", "127.9.0.1"]
    words = ("echo", "two words", "$HOME;")
    assert ssh_argv(Path("/k"), Path("/h"), "me", "h", words)[-1] == "echo 'two words' '$HOME;'"
    assert ssh_argv(Path("/k"), Path("/h"), "me", "h", ("cd job; exit 3",))[-1] == "cd job; exit 3"
    shown = ssh_argv(Path("/k"), Path("/h"), "me", "h", ("top",), terminal=True)
    assert shown == ["ssh", *options, "-t", "-l", "me", "--", "h", "top"]


@pytest.mark.parametrize("name", ["a b", "größe", "100%", "%h", "it's", 'say "hi"', "back\\slash", "#1", "$HOME"])
def test_openssh_reads_any_path(name: str) -> None:
    argv = ssh_argv(Path("/x", name, "k"), Path("/x", name, "h"), "me", "there", ())
    told = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout.splitlines()
    assert f"userknownhostsfile /x/{name}/h" in told
    # Tokens in this one are replaced when it is opened.
    assert f"identityfile /x/{name.replace('%', '%%')}/k" in told


def test_no_word_of_a_server_is_an_option_of_ssh(tmp_path: Path) -> None:
    """OpenSSH itself says what it has understood."""
    made = tmp_path / "made"
    evil = f"-oProxyCommand=touch {made}"
    for user, address, command in ((evil, "h", ()), ("me", evil, ()), ("me", "h", (evil,))):
        argv = ssh_argv(Path("/k"), Path("/h"), user, address, command)
        told = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=False)
        assert "proxycommand" not in told.stdout.lower().replace(evil.lower(), ""), told.stdout
        subprocess.run([argv[0], "-o", "ConnectTimeout=1", *argv[1:]], capture_output=True, check=False)
        assert not made.exists()


def test_user_data_has_what_fetches_the_supervisor_and_fits() -> None:
    bucket, prefix = "skylift-123456789012-ap-southeast-2", "jobs/" + "x" * 40
    argv = boot_argv(bucket, prefix, "ap-southeast-2", 1795575707, "ec2-user", "f" * 64)
    script = boot_script(boot_archive(), argv, 1795575707)
    assert script.startswith("#!/bin/sh\n")
    ast.parse(script, feature_version=(3, 9))
    assert len(script.encode()) <= USER_DATA_LIMIT
    assert boot_arguments(script) == (boot_archive(), argv[2:])


@pytest.mark.parametrize(("seconds", "minutes"), [(3630, "60"), (-100, "1")])
def test_user_data_arms_the_timer_before_there_is_any_python(tmp_path: Path, seconds: int, minutes: str) -> None:
    deadline = int(time.time()) + seconds
    script, said = tmp_path / "user-data", tmp_path / "said"
    script.write_text(boot_script(boot_archive(), [], deadline))
    os.mkfifo(tmp_path / "armed")
    for name, words in (
        ("shutdown", f'echo "shutdown $*" >>{said}; echo >{tmp_path}/armed'),
        # The timer need not be there first, only be on its way.
        ("python3", f'read -r line <{tmp_path}/armed; echo "python3 $* $SKYLIFT_TIMER" >>{said}'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o755)
    subprocess.run(["sh", str(script)], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=120)
    assert said.read_text().splitlines() == [f"shutdown -P +{minutes}", f"python3 {script} {deadline}"]


def test_under_systemd_what_the_boot_says_is_on_the_console_too() -> None:
    """Without that, "the end of its console" is empty there when a server ends before it has the job."""
    assert '"--property=StandardOutput=journal+console"' in boot_script(boot_archive(), [], 1795575707)


def test_user_data_of_a_schedule_fits() -> None:
    argv = boot_argv(
        "skylift-123456789012-ap-southeast-2", "schedules/" + "x" * 24, "ap-southeast-2", None, "ec2-user", "f" * 64
    )
    script = boot_script(boot_archive(), argv, None, 86400)
    ast.parse(script, feature_version=(3, 9))
    assert len(script.encode()) <= USER_DATA_LIMIT
    assert boot_arguments(script) == (boot_archive(), argv[2:])
    assert not any(each.startswith("--deadline") for each in argv)


def test_a_server_of_a_schedule_keeps_the_deadline_of_its_first_boot(tmp_path: Path) -> None:
    kept = tmp_path / "lib"
    script = boot_script(boot_archive(), [], None, 3630).replace("/var/lib/skylift", str(kept))
    (tmp_path / "user-data").write_text(script)
    for name in ("shutdown", "python3"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $* $SKYLIFT_TIMER" >>{tmp_path}/said\n')
        (tmp_path / name).chmod(0o755)

    def boot() -> str:
        subprocess.run(
            ["sh", str(tmp_path / "user-data")], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=120
        )
        said = (tmp_path / "said").read_text().splitlines()
        return next(each for each in reversed(said) if each.startswith("python3")).split()[-1]

    before = int(time.time())
    first = boot()
    assert before + 3630 <= int(first) <= time.time() + 3630
    assert kept.stat().st_mode & 0o777 == 0o711
    (kept / "off").write_text("1795575707\n")
    assert boot() == "1795575707"
    # A server that lost its power while it wrote.
    (kept / "off").write_text("")
    assert int(boot()) >= int(first)


def test_user_data_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LaunchFailed, match="user data may have 16384"):
        boot_script(random.Random(0).randbytes(14000), [], 0)


def test_the_whole_supervisor_travels_with_what_this_python_made_of_it() -> None:
    with zipfile.ZipFile(io.BytesIO(whole_archive())) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(TOP).as_posix() for path in SUPERVISOR.rglob("*.py")}
    assert modules <= names
    assert {f"{module}c" for module in modules} <= names


def test_slim_takes_what_does_not_run_and_nothing_else() -> None:
    source = '"""Doc."""\n# why\ndef f():\n    """Doc."""\n    return "kept # text"\nclass C:\n    """Doc."""\n'
    assert slim(source) == "def f():\n    return 'kept # text'\n\nclass C:\n    pass"
    assert slim("def f(a: int, *b: str, c: bool = True) -> None: pass") == "def f(a, *b, c=True):\n    pass"
    assert slim("class C(NamedTuple):\n    a: int") == "class C(NamedTuple):\n    a: int"


@pytest.mark.parametrize(
    "path", sorted([*SUPERVISOR.rglob("*.py"), *CONTRACT.glob("*.py")]), ids=lambda path: path.stem
)
def test_supervisor_needs_nothing_newer_than_python_39_and_nothing_installed(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = {
        node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    strange = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in strange if not name.startswith(("skylift.agent", "skylift.contract"))} == set()


def test_a_script_that_is_called_like_an_option() -> None:
    assert program_argv(Program("script", "-c.py", ("-v",))) == ["python", "./-c.py", "-v"]
