"""scripts/recorded.py: what AWS was recorded with, compared with our own answers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts/recorded.py"


@dataclass(frozen=True)
class Script:
    """The script and its parts, as they are when it is run."""

    recorded: ModuleType
    recordings: ModuleType
    error_codes: ModuleType

    def compare(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
        """What it prints. In this process, as it needs models that are read here."""
        assert self.recorded.main([str(folder)]) == 0
        return capsys.readouterr()


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        yield Script(
            importlib.import_module("recorded"),
            importlib.import_module("comparison.recordings"),
            importlib.import_module("comparison.error_codes"),
        )


def record(folder: Path, name: str, data: Any, status: int = 200) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"status_code": status, "data": data}))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_members_are_places_whatever_is_there(script: Script) -> None:
    date = {"__class__": "datetime", "year": 2026}
    answer = {
        "Users": [{"UserName": "a", "CreateDate": date}, {"Tags": [{"Key": "k"}]}],
        "IsTruncated": False,
        "Nothing": None,
        "PolicyDocument": {"Statement": []},
        "ResponseMetadata": {"RequestId": "1"},
    }
    assert set(script.recordings.members(answer)) == {
        "Users[].UserName",
        "Users[].CreateDate",
        "Users[].Tags[].Key",
        "IsTruncated",
        "PolicyDocument",
    }


def test_our_codes_are_those_that_errors_are_made_with(script: Script, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "STATUS = {'OnlyOfTheTable': 404}\nLATE = 'ByName'\n"
        "class Kind:\n    prefix: str\n    not_found: str\n"
        "def refused(name, code):\n    return ServiceError(code, name)\n"
        "class Codec:\n"
        "    @property\n    def _invalid(self):\n        return 'ByProperty'\n"
        "    def check(self, late):\n        refused('OnlyAName', self._invalid)\n"
        "        raise ServiceError(LATE if late else 'ByChoice', 'OnlyAMessage')\n"
    )
    (tmp_path / "two.py").write_text(
        "ROWS = (Kind('OnlyAPrefix', 'ByField'), Kind('x', not_found='ByFieldsName'))\n"
        "error.ServiceError(code='ByKeyword', message='OnlyAMessage')\n"
        "if error.code == 'OnlyCompared': refused('OnlyAName', 'ByArgument')\n"
    )
    ways = ("Argument", "Choice", "Field", "FieldsName", "Keyword", "Name", "Property")
    assert script.error_codes.codes_of_errors(tmp_path) == {f"By{way}" for way in ways}


def test_what_is_left_out_has_a_reason(script: Script) -> None:
    rows = script.recorded.left_out()
    assert rows and all(row.reason and row.members for row in rows)
    row = script.recorded.LeftOut("ec2.Describe*", ("Vpcs[].Tags", "*KmsKeyId"), "why")
    assert row.has("ec2.DescribeVpcs", "Vpcs[].Tags[].Key") and row.has("ec2.DescribeVolumes", "Volumes[].KmsKeyId")
    assert not row.has("ec2.DescribeVpcs", "Vpcs[].TagsOfAnother") and not row.has("iam.ListUsers", "Vpcs[].Tags")


def test_what_aws_has_and_we_lack_is_printed(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = {"UserName": "a", "Path": "/", "Shoe": 42, "PasswordLastUsed": {"__class__": "datetime"}}
    record(tmp_path / "placebo/one", "iam.ListUsers_1.json", {"Users": [user], "IsTruncated": False})
    record(tmp_path / "placebo/two", "iam.ListUsers_1.json", {"Users": [{"Arn": "a"}], "IsTruncated": False})
    record(tmp_path / "placebo/two", "iam.GetRole_1.json", {"Error": {"Code": "NoSuchEntity"}}, 404)
    record(tmp_path / "placebo/two", "iam.DeleteSSHPublicKey_1.json", {"Deleted": True})
    record(tmp_path / "placebo/two", "iam.DreamUsers_1.json", {"Users": [user]})
    record(tmp_path / "placebo/two", "dynamodb.ListTables_1.json", {"TableNames": ["a"]})
    (tmp_path / "placebo/two/iam.ListRoles_1.json").write_text("{")
    (tmp_path / "placebo/two/iam.ListGroups_1.json").write_text('["no", "recording"]')
    (tmp_path / "iam").mkdir()
    errors = {"test": {"recorded-content": {"first": {"Error": {"Code": "NeverHeardOf", "Message": "m"}}}}}
    (tmp_path / "iam/test_iam.snapshot.json").write_text(json.dumps(errors))
    out, err = script.compare(tmp_path, capsys)
    assert "iam.ListUsers: 4 of 6 members of 2 answers; lacks Users[].Shoe\n" in out
    assert "iam.DeleteSSHPublicKey: not asked, as it changes what the scene has none of" in out
    assert "iam.DreamUsers: not asked, as botocore does not know it any more" in out
    assert "iam: the error NeverHeardOf is never answered" in out and "NoSuchEntity" not in out
    assert "ListTables" not in out
    last = out.splitlines()[-1]
    assert last.startswith(
        "1 operations of 4 recorded answers compared: 4 members are there, 1 are lacking, 1 are left out"
    )
    assert "iam.ListRoles_1.json' is passed over: Expecting property name" in err
    assert last.endswith(" 1 file was passed over.")


def test_what_strangers_wrote_does_not_reach_the_terminal(tmp_path: Path) -> None:
    """As a process: in this one pytest has what is logged, and what a thread ends with."""
    bad = "\x1b]0;title\x07"
    record(tmp_path, "iam.ListUsers_1.json", {"Users": [{f"User{bad}": "a", bad: {"Inner": 1}}], "IsTruncated": False})
    record(tmp_path, "iam.GetRole_1.json", {"Error": {"Code": f"No{bad}"}}, 404)
    record(tmp_path, "iam.GetUser_1.json", {"Error": {"Code": {"not": "text"}}}, 404)
    (tmp_path / "iam.ListGroups_1.json").write_text('{"data": ' + '{"a": ' * 5000 + "1" + "}" * 5001)
    (tmp_path / "iam.ListRoles_1.json").symlink_to(tmp_path / "gone")
    (tmp_path / f"folder{bad}").mkdir()
    (tmp_path / f"folder{bad}" / "iam.ListPolicies_1.json").write_text("{")
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam/test_deep.snapshot.json").write_text("[" * 900 + '{"Error": {"Code": "NoSuchEntity"}}' + "]" * 900)
    done = run(str(tmp_path))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "iam.ListUsers: 1 of 1 members of 1 answers\n" in done.stdout
    assert done.stdout.endswith(" files were passed over.\n")


@pytest.mark.parametrize(("arguments", "words"), [((), "FOLDER"), (("missing",), "missing is not a folder")])
def test_what_cannot_be_asked(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    done = run(str(tmp_path))
    assert (done.returncode, "no recordings" in done.stderr) == (2, True)
