"""A company's index and proxy, which take a password, as jobs have them: packages come, the password does not."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from support.kernel_world import beside_the_host
from support.killed_runs import ending_with_us
from support.own_certificate import make_certificate
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.server.inheritance import BUNDLE
from skylift.cloud.domain.upstream import FORWARDER

pytestmark = pytest.mark.real

NEAR, FAR = (str(IPv4Address("10.215.0.0") + 4 * (os.getpid() % 16384) + end) for end in (1, 2))
INDEX, PROXY, TLS = 8080, 3128, 8443
SECRET = "s3cret-w0rd"
AUTHORIZATION = "bWU6czNjcmV0LXcwcmQ="

COMPANY = Path(__file__).with_name("company_services.py")

HELPERS = ("pasta", "pasta.avx2", "lxcfs", "conmon")

LOOK = r"""
import glob, os, re, subprocess
wanted = re.compile(rb"s3cre[t]|bWU6czNjcmV[0]")
found = set()
for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("proc", "sys", "dev")]
    for name in names:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and not os.path.islink(path) and wanted.search(open(path, "rb").read(64 << 20)):
                found.add(path)
        except OSError:
            pass
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        if wanted.search(open(path, "rb").read()):
            found.add(path)
    except OSError:
        pass
print(sorted(found))
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both on a LAN of the host's. The folder has what they were asked, a line a request."""
    folder = tmp_path_factory.mktemp("company")
    (folder / "trusted.pem").write_text(make_certificate(FAR, folder / "tls"))
    with beside_the_host(NEAR, FAR) as there, serving(there, folder):
        yield folder


@contextmanager
def serving(namespace: Namespace, folder: Path) -> Iterator[None]:
    command = ending_with_us(
        "ip", "netns", "exec", namespace.name, sys.executable, str(COMPANY), str(folder), *map(str, (INDEX, PROXY, TLS))
    )
    process = subprocess.Popen(command)
    try:
        until(lambda: all(map(listens, (INDEX, PROXY, TLS))), "the company's services")
        yield
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex((FAR, port)) == 0


@pytest.fixture(scope="module")
def guarded(own_cloud: RealCloud, company: Path) -> RealCloud:
    own_cloud.down()
    plain, tls = (f"{scheme}://me:{SECRET}@{FAR}:{port}" for scheme, port in (("http", INDEX), ("https", TLS)))
    own_cloud.environment["UV_INDEX"] = f"{plain}/pypi/simple tls={tls}/tls/simple"
    own_cloud.environment["PIP_EXTRA_INDEX_URL"] = f"{plain}/pypi/simple {tls}/debian"
    # What this machine trusts, and the company's own authority.
    trusted = Path(ssl.get_default_verify_paths().cafile or BUNDLE).read_text()
    bundle = company / "bundle.pem"
    bundle.write_text(trusted + (company / "trusted.pem").read_text())
    own_cloud.environment |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), str(bundle))
    own_cloud.environment["http_proxy"] = f"http://me:{SECRET}@{FAR}:{PROXY}"
    own_cloud.environment["NO_PROXY"] = f"{FAR},127.0.0.1"
    own_cloud.up()
    return own_cloud


@pytest.fixture(scope="module")
def server(guarded: RealCloud) -> Server:
    return guarded.launch()


def test_a_job_gets_its_package_and_not_the_password(guarded: RealCloud) -> None:
    script = guarded.work / "job.py"
    script.write_text(
        '# /// script\n# dependencies = ["from-the-company"]\n# ///\n'
        "import from_the_company, os, subprocess\n"
        "print(from_the_company.said)\n"
        f"command = ['sudo', 'python3', '-c', {LOOK!r}]\n"
        "print(subprocess.run(command, capture_output=True, text=True).stdout)\n"
        'print(os.environ["UV_INDEX"])\n'
    )
    done = guarded.skylift("run", "job.py")
    said, found, index = [line for line in done.stdout.splitlines() if line]
    assert said == "from the company"
    assert found == "[]"
    assert re.fullmatch(rf"http://{FORWARDER}:\d+/pypi/simple tls=http://{FORWARDER}:\d+/tls/simple", index)
    assert SECRET not in done.stdout + done.stderr


def test_pip_and_uv_have_the_index_as_well(server: Server) -> None:
    server.ssh("uv venv -q ~/env && uv pip install -q --python ~/env from-the-company")
    server.ssh("python3 -m pip install -q --target ~/pip from-the-company")
    assert (
        server.says("PYTHONPATH=~/pip python3 -c 'import from_the_company as it; print(it.said)'") == "from the company"
    )


def test_an_index_over_tls_is_verified_here_and_gives_its_package(server: Server, company: Path) -> None:
    server.ssh("uv pip install -q --no-cache --target ~/tls over-tls")
    assert server.says("PYTHONPATH=~/tls python3 -c 'import over_tls as it; print(it.said)'") == "over tls"
    asked = (company / "asked.tls").read_text().splitlines()
    assert f"GET /tls/simple/over-tls/ Basic {AUTHORIZATION}" in asked


def test_apt_installs_from_a_mirror_over_tls(server: Server) -> None:
    """By the address that servers have for it, and with nothing else of apt's."""
    server.ssh(
        'echo "deb [trusted=yes] ${PIP_EXTRA_INDEX_URL##* } trixie main" | sudo tee /etc/apt/company.list && '
        "only='-o Dir::Etc::sourcelist=/etc/apt/company.list -o Dir::Etc::sourceparts=-' && "
        "sudo apt-get -q $only update && sudo apt-get -q -y $only install from-the-company"
    )
    assert server.says("cat /opt/from-the-company") == "by apt"
    assert server.python(LOOK, root=True) == "[]"


def test_a_project_that_names_the_index_itself_is_told_what_to_do(guarded: RealCloud) -> None:
    folder = guarded.work / "names-it"
    folder.mkdir()
    (folder / "job.py").write_text("print('never')\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "names-it"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["from-the-company"]\n'
        '[tool.uv.sources]\nfrom-the-company = {index = "company"}\n'
        f'[[tool.uv.index]]\nname = "company"\nurl = "http://{FAR}:{INDEX}/pypi/simple"\nexplicit = true\n'
    )
    done = guarded.skylift("run", "job.py", cwd=folder, check=False)
    assert done.returncode == 123, done.stderr
    said = " ".join(done.stderr.split())
    assert "401 Unauthorized" in said
    assert f"The password for {FAR} stays on the machine of the cloud" in said
    assert f'SKYLIFT_SHARE_PASSWORDS="{FAR}" skylift cloud up' in said


def test_the_proxy_is_there_with_its_password_added(server: Server, company: Path) -> None:
    assert server.says("curl -s http://page.example.test/hello") == "GET http://page.example.test/hello"
    assert (company / "asked.proxy").read_text().splitlines()[
        -1
    ] == f"GET http://page.example.test/hello Basic {AUTHORIZATION}"
    assert AUTHORIZATION not in server.says("curl -s -X TRACE http://page.example.test/hello")


def test_nothing_else_of_the_company_is_reached(server: Server, company: Path) -> None:
    before = (company / "asked.index").read_text()
    base = server.says('echo "${UV_INDEX%%/pypi/simple*}"')
    for path in ("/admin", "/pypi/simple/../../admin", "/pypi/simple/%2e%2e/%2e%2e/admin", "//admin", "/pypi/simplex/"):
        got = server.says(f"curl -s --path-as-is -o /dev/null -w '%{{http_code}}' '{base}{path}'")
        assert got == "404", path
    assert server.says(f"curl -s -o /dev/null -w '%{{http_code}}' -X POST {base}/pypi/simple/") == "501"
    assert (company / "asked.index").read_text() == before
    assert SECRET not in server.says(f"curl -si {base}/pypi/simple/; curl -si {base}/admin")
    # Asked itself, without the password, the index gives nothing.
    assert (
        server.says(f"curl -s -o /dev/null -w '%{{http_code}}' --noproxy '*' http://{FAR}:{INDEX}/pypi/simple/")
        == "401"
    )


def test_nobody_but_this_clouds_servers_has_it(server: Server, cloud: RealCloud, guarded: RealCloud) -> None:
    port = int(server.says('echo "$UV_INDEX"').split(":")[2].split("/")[0])
    ask = f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' --noproxy '*' http://{FORWARDER}:{port}/pypi/simple/"
    assert server.says(ask) == "200"
    stranger = cloud.launch()
    assert stranger.ssh(ask, check=False).stdout.strip() in ("000", b"000")
    stranger.terminate()
    # On the host itself nobody has the address: what is sent there would leave the machine.
    for shown in (["ip", "-o", "address"], ["ip", "route"], ["ss", "-Htln"]):
        assert FORWARDER not in subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    # A server that no group lets out gets no further than before.
    mute = guarded.security_group("no-way-out", guarded.vpc, (22, "0.0.0.0/0"))
    guarded.ec2.revoke_security_group_egress(
        GroupId=mute, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    closed = guarded.launch(SecurityGroupIds=[mute])
    assert closed.ssh(ask, check=False).stdout.strip() in ("000", b"000")
    closed.terminate()


def test_the_host_shows_the_password_nowhere(guarded: RealCloud) -> None:
    shown = guarded.skylift("doctor", "--json").stdout + guarded.skylift("cloud", "status").stdout
    assert SECRET not in shown + guarded.home.data.log.read_text(errors="replace")
    assert f"{FAR}:{INDEX}, index; its password stays on this machine" in shown
    assert not [path for path in Path("/proc").glob("[0-9]*") if SECRET in of(path, "cmdline")]
    # What works for servers on this machine knows nothing of it, either.
    helpers = [path for path in Path("/proc").glob("[0-9]*") if of(path, "comm").strip() in HELPERS]
    assert helpers
    assert not [path for path in helpers if SECRET in of(path, "environ")]


def of(process: Path, name: str) -> str:
    """A file of /proc; empty where the process has ended meanwhile."""
    try:
        return (process / name).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_it_works_after_a_restart_of_the_cloud(guarded: RealCloud, server: Server) -> None:
    guarded.kill()
    guarded.up()
    server.ssh("uv pip install -q --no-cache --target ~/again from-the-company")


def test_a_host_that_is_named_is_handed_over(guarded: RealCloud) -> None:
    guarded.kill()
    guarded.environment["SKYLIFT_SHARE_PASSWORDS"] = FAR
    try:
        guarded.up()
        made = guarded.launch()
        assert made.says('echo "$UV_INDEX"') == guarded.environment["UV_INDEX"]
        made.ssh("uv pip install -q --no-cache --target ~/here from-the-company")
        assert "SKYLIFT_WITHHELD" not in made.says("cat /etc/environment")
        assert "/etc/environment" in made.python(LOOK, root=True)
        made.terminate()
    finally:
        del guarded.environment["SKYLIFT_SHARE_PASSWORDS"]
        guarded.kill()
        guarded.up()
