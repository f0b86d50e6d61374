"""What the shell offers for a word that is being typed: asked as bash asks, in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.cli import main
from skylift.cli.early import SUMMARIES, early_answer


def offered(folder: Path, line: str) -> list[str]:
    words = line.split(" ")
    environment = {**os.environ, "SKYLIFT_HOME": str(folder / "home"), "SKYLIFT_DATA": str(folder / "data")}
    environment |= {"_SKYLIFT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "skylift.cli.main"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("skylift pri", {"price"}),
        ("skylift run --type c7g.met", {"c7g.metal"}),
        ("skylift price -t t3.mic", {"t3.micro"}),
        ("skylift types m7i.48", {"m7i.48xlarge"}),
        ("skylift types --region us-east-", {"us-east-1"}),
        ("skylift run --image deb", {"debian-12", "debian-13"}),
        ("skylift run --on l", {"local"}),
        ("skylift run --arch a", {"arm64"}),
        ("skylift ps --state run", {"running"}),
    ],
)
def test_words(tmp_path: Path, line: str, words: set[str]) -> None:
    found = set(offered(tmp_path, line))
    assert found & words, found
    assert all(word.startswith(line.rsplit(" ", maxsplit=1)[-1]) for word in found)


def shell_asks(shell: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SKYLIFT_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"skylift {typed}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.delenv("COMP_CWORD", raising=False)
    if shell == "bash":
        monkeypatch.setenv("COMP_WORDS", f"skylift\n{typed}")
        monkeypatch.setenv("COMP_CWORD", "1")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("typed", ["", "r", "map", "map-", "nothing"])
def test_commands_are_offered_as_typer_would(
    shell: str, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell_asks(shell, typed, monkeypatch)
    if shell != "fish" or typed != "nothing":
        assert main.perform([]) == 0
    ours = capsys.readouterr().out
    monkeypatch.setattr(main, "early_answer", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main.perform([])
    assert end.value.code == 0
    assert capsys.readouterr().out.rstrip("\n") == ours.rstrip("\n")


@pytest.mark.parametrize("line", ["-", "--ver", "'r", '"', "run ", "run --o", "bogus x"])
def test_what_is_no_name_of_a_command_is_left_to_typer(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        shell_asks(shell, line, monkeypatch)
        if shell == "bash":
            monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        assert early_answer([], os.environ) is None


@pytest.mark.parametrize("number", ["", "-1", "x", "9" * 9999, "0"])
def test_a_place_in_the_line_that_is_none_offers_nothing_early(number: str) -> None:
    environment = {"_SKYLIFT_COMPLETE": "complete_bash", "COMP_WORDS": "skylift r", "COMP_CWORD": number}
    assert early_answer([], environment) is None


def test_every_command_has_its_summary() -> None:
    assert list(SUMMARIES) == list(main.COMMANDS)


@pytest.mark.parametrize(("typed", "answer"), [("skylift --version", "skylift 0"), ("skylift r", "run\nresults\nrm")])
def test_an_early_answer_does_not_wait_for_typer(typed: str, answer: str) -> None:
    code = (
        "import sys; from skylift.cli.main import perform; perform(sys.argv[1:]);"
        "print(sorted({'typer', 'asyncio', 'dataclasses'} & set(sys.modules)))"
    )
    arguments = [each for each in typed.split()[1:] if each.startswith("-")]
    asks = {} if arguments else {"_SKYLIFT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env={**os.environ, **asks}
    )
    assert done.stdout.startswith(answer)
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_the_file_of_the_command_in_the_line_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    shell_asks("zsh", "ps --sta", monkeypatch)
    code = (
        "import sys; from skylift.cli.main import perform\n"
        "try: perform([])\n"
        "finally: print(sorted({'skylift.cli.ps', 'skylift.cli.run'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert '"--state"' in done.stdout
    assert done.stdout.splitlines()[-1] == "['skylift.cli.ps']"


def test_a_script_is_written_without_any_command() -> None:
    code = (
        "import sys; from skylift.cli.main import perform\n"
        "try: perform([])\n"
        "finally: print(sorted({'skylift.cli.ps', 'skylift.cli.run'} & set(sys.modules)))"
    )
    environment = {**os.environ, "_SKYLIFT_COMPLETE": "source_zsh"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "#compdef" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_jobs_of_a_cloud_that_is_down_are_none_and_it_stays_down(tmp_path: Path) -> None:
    assert offered(tmp_path, "skylift logs -f x") == []
    assert list(tmp_path.iterdir()) == []


def test_either_side_of_a_copy_may_be_a_file_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    (tmp_path / "date").touch()
    assert offered(tmp_path, "skylift cp da") == ["data/", "date"]
    assert offered(tmp_path, "skylift cp data/") == ["data/a.csv"]
    assert offered(tmp_path, "skylift cp nowhere/x") == []
    assert offered(tmp_path, "skylift cp job:da") == []


def test_a_project_that_cannot_be_read_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.skylift\n")
    assert offered(tmp_path, "skylift run --type t3.nan") == ["t3.nano"]
    assert offered(tmp_path, "skylift logs x") == []
