"""A server's init for real: boots servers without a network but their own."""

from __future__ import annotations

import contextlib
import secrets
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from support.booted_server import Booted, wait_for
from support.real_server import until

from skylift.agent.workers import input_helper
from skylift.cloud.compute.image.image import default_image
from skylift.cloud.compute.server.rootfs import NoRoomForRoot, Rootfs, SeedFile
from skylift.cloud.compute.server.server import EXIT_POWEROFF, EXIT_REBOOT, HostKeys, no_host_keys
from skylift.cloud.state.home import Home
from skylift.cloud.wiring.host_keys import host_keys

pytestmark = pytest.mark.real


class Boot(Protocol):
    def __call__(
        self, user_data: str | bytes = "", programs: Mapping[str, str] | None = None, host_keys: HostKeys = no_host_keys
    ) -> Booted: ...


@pytest.fixture
def boot(image_home: Home, tmp_path: Path) -> Iterator[Boot]:
    image = default_image(image_home.data)
    assert image is not None
    with contextlib.ExitStack() as stack:

        def start(
            user_data: str | bytes = "", programs: Mapping[str, str] | None = None, host_keys: HostKeys = no_host_keys
        ) -> Booted:
            server = Booted(tmp_path / secrets.token_hex(4), image.root, user_data, programs or {}, host_keys)
            stack.callback(server.close)
            server.boot()
            return server

        # /tmp/pytest-of-root is 0700, which a user namespace's runtime cannot pass; the disks need no such way.
        yield start


def test_a_disk_that_cannot_keep_its_seed_has_it_written_again(
    image_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = default_image(image_home.data)
    assert image is not None

    def fail(rootfs: Rootfs, _files: object) -> None:
        raise NoRoomForRoot(f"no space for {rootfs.disk}")

    server = Booted(tmp_path / "place", image.root, "", {})
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Rootfs, "sync", fail)
            with pytest.raises(NoRoomForRoot):
                server.boot()
        server.off()
        (server.upper / "etc/hostname").unlink()
        server.boot()
        assert server.said("cat /etc/hostname") == "ip-10-0-0-5.ec2.internal\n"
    finally:
        server.close()


def test_a_script_runs_once_as_root_with_the_servers_environment(boot: Boot) -> None:
    server = boot(
        "#!/bin/bash\nid -un; echo $AWS_ENDPOINT_URL $HOME $PIP_INDEX_URL\necho err >&2\necho x >>/root/runs\nexit 4\n"
    )
    server.until_first_boot_is_over()
    log = server.said("cat /var/log/cloud-init-output.log")
    assert log.splitlines() == [
        "root",
        "http://169.254.169.252 /root https://user:pa$s@index.test/?a=b&c=d",
        "err",
        "init: user data: part-001 exited with 4",
    ]
    # It is passed on by a program of its own: what init says itself may come in between, or half a line of a service.
    until(lambda: all(f"{each}\n" in server.console() for each in log.splitlines()), "the log on the console")
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    server.off()
    server.boot()
    assert server.said("sudo cat /root/runs") == "x\n"


def test_user_data_that_cannot_be_copied_is_run_by_the_next_boot(boot: Boot) -> None:
    full = "#!/bin/sh\necho 'cp: no space' >&2\nexit 1\n"
    server = boot("#!/bin/sh\necho x >>/root/runs\n", programs={"usr/bin/cp": full})
    until(lambda: "and the next boot tries again" in server.console(), "a word on the console")
    assert "cp: no space" in server.console()
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    server.off()
    (server.upper / "usr/bin/cp").unlink()
    server.boot()
    server.until_first_boot_is_over()
    assert server.said("sudo cat /root/runs") == "x\n"


def test_host_keys_are_made_at_first_boot_and_shown_on_the_console(boot: Boot) -> None:
    """In one piece, whatever else is written there."""
    server = boot("#!/bin/sh\nfor n in $(seq 2000); do echo line $n; done\n")
    server.until_first_boot_is_over()
    keys = server.console().split("-----BEGIN SSH HOST KEY KEYS-----\n")[1].split("-----END")[0]
    assert server.said("cat /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub") == keys
    assert len(keys.splitlines()) == 2
    server.ssh("sudo poweroff")
    server.ended()
    server.off()
    server.boot()
    assert server.said("cat /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub") == keys


class GivenKeys:
    """A server's host keys, made here."""

    def __init__(self) -> None:
        self.files: list[SeedFile] = []

    def __call__(self, server_id: str, hostname: str) -> list[SeedFile]:
        self.files += host_keys(server_id, hostname)
        return self.files

    def public(self) -> list[str]:
        return [file.content.decode() for file in self.files if file.path.endswith(".pub")]


def test_host_keys_of_its_first_files_are_the_servers_own(boot: Boot) -> None:
    given = GivenKeys()
    server = boot(host_keys=given)
    server.until_first_boot_is_over()
    keys = server.said("cat /etc/ssh/ssh_host_*_key.pub")
    assert sorted(keys.splitlines(keepends=True)) == sorted(given.public())
    assert f"-----BEGIN SSH HOST KEY KEYS-----\n{keys}-----END" in server.console()
    assert server.said("stat -c '%a %U' /etc/ssh/ssh_host_*_key") == "600 root\n600 root\n"
    # sshd has both, and no others.
    shown = server.said("ssh-keyscan -t ed25519,ecdsa,rsa 127.0.0.1 2>/dev/null").splitlines()
    offered = {line.split(" ", 1)[1] for line in shown if not line.startswith("#")}
    assert offered == {line.rpartition(" ")[0] for line in keys.splitlines()}
    server.ssh("sudo poweroff")
    server.ended()
    server.off()
    server.boot()
    assert server.said("cat /etc/ssh/ssh_host_*_key.pub") == keys


def test_where_host_keys_cannot_be_written_the_server_makes_its_own(boot: Boot) -> None:
    """Something else is at a key's place in an image of somebody's own."""
    given = GivenKeys()
    server = boot(programs={"etc/ssh/ssh_host_ecdsa_key/file": ""}, host_keys=given)
    (key,) = server.said("cat /etc/ssh/ssh_host_ed25519_key.pub").splitlines(keepends=True)
    assert key.startswith("ssh-ed25519 ") and key not in given.public()


@pytest.mark.parametrize("deletes", [True, False])
def test_host_keys_of_an_image_with_cloud_init_are_not_written_over(boot: Boot, deletes: bool) -> None:
    """cloud-init may delete them and make none that sshd has, or leave the image's, as it is told."""
    image = {file.path[1:]: file.content.decode() for file in host_keys("i-of-the-image", "image")}
    act = "rm -f /etc/ssh/ssh_host_*" if deletes else "chmod 600 /etc/ssh/ssh_host_*_key"
    program = f'#!/bin/sh\n[ "$1" != init ] || {act}\n'
    given = GivenKeys()
    server = boot(programs={**image, "usr/bin/cloud-init": program}, host_keys=given)
    keys = server.said("cat /etc/ssh/ssh_host_*_key.pub").splitlines(keepends=True)
    assert given.files == []
    assert len(keys) == 2
    its_own = [key for key in keys if key in image.values()]
    assert its_own == ([] if deletes else keys)


@pytest.mark.parametrize("way", ["told inside", "button"])
def test_a_shutdown_while_host_keys_are_made_leaves_none_by_halves(boot: Boot, way: str) -> None:
    held = "#!/bin/sh\ntouch /run/asked\nuntil test -e /run/pressed; do sleep 0.05; done\n"
    server = boot(programs={"usr/bin/ssh-keygen": held})
    server.do(wait_for("/run/asked"))
    # The shutdown may end the shells of these commands, too.
    if way == "button":
        server.press_power_button()
        server.do("touch /run/pressed", check=False)
    else:
        server.do("/usr/sbin/poweroff", check=False)
    assert server.ended() == EXIT_POWEROFF
    server.off()
    (server.upper / "usr/bin/ssh-keygen").unlink()
    server.boot()
    assert len(server.said("cat /etc/ssh/ssh_host_*_key.pub").splitlines()) == 2


def test_the_firmware_says_that_it_is_ec2(boot: Boot) -> None:
    server = boot()
    dmi = "/sys/class/dmi/id"
    assert server.said(f"cd {dmi} && cat sys_vendor product_name board_asset_tag") == (
        f"Amazon EC2\nt3.micro\n{server.id}\n"
    )
    assert server.said("cat /sys/devices/virtual/dmi/id/board_asset_tag") == f"{server.id}\n"
    uuid = server.said(f"sudo cat {dmi}/product_uuid {dmi}/product_serial").split()
    assert uuid[0].startswith("ec2") and uuid[0] == uuid[1]
    assert server.ssh(f"cat {dmi}/product_uuid").returncode != 0, "a secret of root's"
    assert server.ssh(f"echo Xen | sudo tee {dmi}/sys_vendor {dmi}/new").returncode != 0
    # The rest of /sys is the kernel's own, in its places.
    assert server.said("ls /sys/class/net") == "lo\n"
    assert server.said("cat /sys/class/net/lo/mtu /sys/devices/virtual/net/lo/mtu") == "65536\n65536\n"
    # An interface that is there only after somebody has looked for it.
    assert server.ssh("ls /sys/class/net/extra /sys/devices/virtual/net/extra").returncode != 0
    server.do("ip link add name extra type veth peer name other")
    assert server.said("ls /sys/class/net").split() == ["extra", "lo", "other"]
    assert server.said("cat /sys/class/net/extra/mtu /sys/devices/virtual/net/extra/mtu") == "1500\n1500\n"
    assert server.said("readlink -f /sys/class/net/extra") == "/sys/devices/virtual/net/extra\n"
    assert server.ssh("echo 1400 | sudo tee /sys/class/net/extra/mtu").returncode != 0
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    server.off()
    server.boot()
    assert server.said(f"sudo cat {dmi}/product_uuid").split() == uuid[:1]


BEACON = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          beacon
# Required-Start:
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: a service that does nothing but be there
### END INIT INFO
how="--pidfile /run/beacon.pid --exec /usr/bin/sleep"
case $1 in
    start)
        # As most scripts do it; between its two halves somebody else writes a line.
        printf "beacon: "
        echo "meanwhile" >/proc/1/fd/1
        echo "start"
        start-stop-daemon --start --oknodo --background --make-pidfile $how -- infinity
        until start-stop-daemon --status $how; do sleep 0.05; done
        ;;
    stop) exec start-stop-daemon --stop --oknodo --remove-pidfile $how ;;
    restart | force-reload) $0 stop && exec $0 start ;;
    status) start-stop-daemon --status $how && echo "beacon runs" || { echo "beacon does not run"; exit 3; } ;;
    *) exit 2 ;;
esac
"""


def test_units_are_the_distributions_service_scripts(boot: Boot) -> None:
    server = boot(programs={"etc/init.d/beacon": BEACON})

    def systemctl(arguments: str) -> tuple[int, str]:
        done = server.ssh(f"sudo systemctl {arguments}")
        return done.returncode, done.stdout

    assert systemctl("status beacon") == (3, "beacon does not run\n")
    assert systemctl("is-active beacon.service") == (3, "inactive\n")
    assert systemctl("is-enabled --quiet beacon") == (1, "")
    assert systemctl("enable --now beacon")[0] == 0
    assert systemctl("is-enabled beacon") == (0, "enabled\n")
    assert systemctl("status beacon --no-pager") == (0, "beacon runs\n")
    pid = server.said("cat /run/beacon.pid")
    assert systemctl("restart beacon")[0] == 0
    assert server.said("cat /run/beacon.pid") != pid
    until(lambda: systemctl("is-active cron")[0] == 0, "cron to be started by the boot")
    assert systemctl("show beacon cron")[1].split() == [
        *("Id=beacon.service", "LoadState=loaded", "ActiveState=active", "UnitFileState=enabled"),
        *("Id=cron.service", "LoadState=loaded", "ActiveState=active", "UnitFileState=enabled"),
    ]
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    server.off()
    server.boot()
    until(lambda: systemctl("is-active beacon") == (0, "active\n"), "the service to be started by the boot")
    until(lambda: "beacon: start" in server.console().splitlines(), "the start of the service on a line of its own")
    assert "meanwhile" in server.console().splitlines()
    assert systemctl("disable --now beacon")[0] == 0
    assert systemctl("is-active beacon") == (3, "inactive\n")
    assert systemctl("is-enabled beacon") == (1, "disabled\n")


def test_what_systemctl_does_not_know_is_refused_by_name(boot: Boot) -> None:
    server = boot()
    for arguments, code, words in (
        ("start nothing", 5, "there is no service script /etc/init.d/nothing for the unit nothing"),
        ("status nothing", 4, "/etc/init.d/nothing"),
        ("start ../../bin/sh", 4, "'../../bin/sh' is no name of a unit"),
        ("start apt-daily.timer", 5, "/etc/init.d/apt-daily.timer"),
        ("--user start cron", 1, "it knows no option --user"),
        ("list-units", 1, "it knows poweroff, reboot, halt, daemon-reload, and start"),
        ("start", 1, "start of which unit?"),
        ("disable ssh", 1, "sshd is the way into this server"),
    ):
        done = server.ssh(f"sudo systemctl {arguments}")
        assert (done.returncode, done.stdout, words in done.stderr) == (code, "", True), done
    for arguments in ("daemon-reload", "start ssh", "enable sshd.service", "reload ssh", "is-active ssh"):
        assert server.ssh(f"sudo systemctl {arguments}").returncode == 0, arguments


def test_cron_runs_and_takes_a_table_from_a_user(boot: Boot) -> None:
    """That it runs a job takes up to a minute."""
    server = boot()
    server.said("(echo '* * * * * touch /tmp/minute') | crontab - && crontab -l")
    until(lambda: server.ssh("ps -o comm= -p $(cat /run/crond.pid)").stdout == "cron\n", "cron to be there")
    assert server.said("crontab -l") == "* * * * * touch /tmp/minute\n"


def test_each_boot_has_an_id_and_the_name_that_the_disk_says(boot: Boot) -> None:
    server = boot()
    identity = "cat /proc/sys/kernel/random/boot_id; hostname"
    first = server.said(identity).split()
    assert first[0] == server.said(identity).split()[0] != Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert first[1] == "ip-10-0-0-5.ec2.internal"
    assert server.ssh("echo x | sudo tee /proc/sys/kernel/random/boot_id").returncode != 0
    server.said("echo web-1 | sudo tee /etc/hostname")
    server.ssh("sudo poweroff")
    server.ended()
    server.off()
    server.boot()
    second = server.said(identity).split()
    assert second[0] != first[0] and second[1] == "web-1"


CLOUD_INIT = """\
#!/bin/sh
# What its stage `init` leaves behind: the instance it knows, and host keys.
[ "$*" = init ] && [ ! -e /var/lib/cloud/instance/obj.pkl ] || exit 0
read -r id </var/lib/cloud/seed/instance-id
mkdir -p /var/lib/cloud/instances/$id
ln -s /var/lib/cloud/instances/$id /var/lib/cloud/instance
touch /var/lib/cloud/instance/obj.pkl
ssh-keygen -q -A
"""


def test_a_first_boot_by_cloud_init_is_not_done_again_without_it(boot: Boot) -> None:
    server = boot("#!/bin/sh\ntouch /root/ran\n", programs={"usr/bin/cloud-init": CLOUD_INIT})
    show_keys = "cat /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub"
    keys = server.said(show_keys)
    place = "/var/lib/cloud/scripts/per-boot"
    script = f"(echo '#!/bin/sh'; echo touch /run/per-boot) >{place}/own; chmod +x {place}/own"
    server.said(f'sudo mkdir -p /etc/cloud {place}; sudo touch /etc/cloud/cloud-init.disabled; sudo sh -c "{script}"')
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    server.off()
    server.boot()
    server.said(wait_for("/run/per-boot"))
    until(lambda: server.said("pgrep -xc init") == "1\n", "what the boot does beside sshd to be over")
    assert server.said(show_keys) == keys
    assert server.said("sudo find /root/ran /var/lib/cloud/instance/user-data.txt 2>/dev/null | wc -l") == "0\n"


def test_many_who_come_without_a_key_do_not_shut_out_the_one_who_has_it(boot: Boot) -> None:
    server = boot()
    assert server.said("echo in") == "in\n"
    server.do("for n in $(seq 40); do ssh-keyscan -q 127.0.0.1 >/dev/null 2>&1; done")
    assert server.said("echo in") == "in\n"


def test_the_endpoint_is_in_the_environment_of_sessions_and_of_sudo(boot: Boot) -> None:
    server = boot("")
    for command in ("env", "sudo env", "bash -lc env", "sudo -i env"):
        lines = server.said(command).splitlines()
        assert "AWS_ENDPOINT_URL=http://169.254.169.252" in lines, command
        assert "AWS_DEFAULT_REGION=eu-west-3" in lines, command
        assert "PIP_INDEX_URL=https://user:pa$s@index.test/?a=b&c=d" in lines, command


def test_cloud_config_makes_users_files_and_runs_commands(boot: Boot) -> None:
    config = """\
        #cloud-config
        users:
          - default
          - {name: ada, groups: [adm], sudo: 'ALL=(ALL) NOPASSWD:ALL', ssh_authorized_keys: [ssh-ed25519 AAAAada]}
          - {name: bob, primary-group: crew, ssh-authorized-keys: [ssh-ed25519 AAAAbob]}
        write_files:
          - {path: /opt/a, content: "hi\\n", owner: 'ada:ada', permissions: '0600', defer: true}
        runcmd: ['sudo -u ada sudo id -un', [cat, /opt/a]]
        mounts: []
        """
    server = boot(textwrap.dedent(config))
    server.until_first_boot_is_over()
    log = server.said("cat /var/log/cloud-init-output.log").splitlines()
    assert log == ["cloud-config: mounts: [] is not supported; it was ignored", "root", "hi"]
    assert server.said("sudo stat -c '%U %a' /opt/a /home/ada/.ssh/authorized_keys") == "ada 600\nada 600\n"
    assert server.said("sudo stat -c '%U %G' /home/bob/.ssh/authorized_keys") == "bob crew\n"
    assert server.said("sudo cat /home/bob/.ssh/authorized_keys") == "ssh-ed25519 AAAAbob\n"


def test_no_user_data_is_no_error(boot: Boot) -> None:
    server = boot("")
    server.until_first_boot_is_over()
    assert "user data" not in server.console()
    assert server.said("ls /var/lib/cloud/instance/") == "boot-finished\nscripts\n"


def test_reboot_is_told_from_poweroff(boot: Boot) -> None:
    server = boot("")
    server.ssh("sudo reboot")
    assert server.ended() == EXIT_REBOOT
    server.off()
    server.boot()
    server.ssh("sudo shutdown -h now")
    assert server.ended() == EXIT_POWEROFF


def test_per_boot_scripts_run_at_each_boot_and_before_the_user_data(boot: Boot) -> None:
    place = "/var/lib/cloud/scripts/per-boot"
    script = f"""#!/bin/sh
        mkdir -p {place}
        for name in 20-b 10-a; do
            printf '#!/bin/sh\\necho %s >>/var/ran; echo from %s\\n' $name $name >{place}/$name
            chmod +x {place}/$name
        done
        echo exit 3 >{place}/30-not-executable
        echo user data >>/var/ran
    """
    server = boot(textwrap.dedent(script))
    server.until_first_boot_is_over()
    assert server.said("cat /var/ran") == "user data\n"
    server.ssh("sudo reboot")
    assert server.ended() == EXIT_REBOOT
    server.off()
    server.boot()
    log = "/var/log/cloud-init-output.log"
    server.said(f"timeout 100 sh -c 'until grep -q 20-b {log}; do sleep 0.05; done'")
    assert server.said("cat /var/ran") == "user data\n10-a\n20-b\n"


def test_the_power_button_shuts_down_in_order(boot: Boot) -> None:
    server = boot("")
    program = "trap 'echo told >told; exit' TERM; touch up; while :; do sleep 1; done"
    server.said(f'nohup sh -c "{program}" >/dev/null 2>&1 & {wait_for("up")}')
    server.press_power_button()
    assert server.ended() == EXIT_POWEROFF
    assert (server.place / server.id / "upper/home/ec2-user/told").read_text() == "told\n"


DUTIFUL = """\
#!/bin/sh
name=${1:-script}
{
    # Once the other one has ended by the same signal: those that were there before it have, too.
    trap 'wait $other; echo "$name saves"; echo all >/var/saved-by-$name; exit' TERM
    sleep infinity &
    other=$!
    echo "$name is up"
    wait
} &
"""


def test_a_program_that_writes_while_it_is_stopped_does_its_last_work(boot: Boot) -> None:
    """Its output is the one that it was started with, as that of many daemons."""
    server = boot(DUTIFUL, programs={"etc/rc2.d/S01dutiful": DUTIFUL})
    for name in ("start", "script"):
        until(lambda name=name: f"{name} is up" in server.console().splitlines(), f"{name} to be up")
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF
    for name in ("start", "script"):
        assert (server.upper / f"var/saved-by-{name}").read_text() == "all\n"
        assert f"{name} saves" in server.console().splitlines()


def test_a_process_that_ignores_sigterm_does_not_hold_it_up(boot: Boot) -> None:
    server = boot("")
    program = "trap '' TERM HUP; touch up; while :; do sleep 1; done"
    server.said(f'nohup sh -c "{program}" >/dev/null 2>&1 & {wait_for("up")}')
    server.ssh("sudo poweroff")
    assert server.ended() == EXIT_POWEROFF


def test_a_scheduled_shutdown_outlives_the_session_can_be_replaced_and_cancelled(boot: Boot) -> None:
    server = boot("")
    assert "use 'shutdown -c' to cancel" in server.ssh("sudo shutdown -P +60").stderr
    assert "(power-off)" in server.said("sudo shutdown --show")
    server.said("sudo shutdown -r +30")
    assert "(reboot)" in server.said("sudo shutdown --show")
    until(lambda: server.said("pgrep -fc 'shutdown --asked'") == "1\n", "the replaced one to be gone")
    server.said("sudo shutdown -c")
    assert server.said("sudo shutdown --show") == "No shutdown is scheduled.\n"
    assert server.ssh("shutdown now").returncode == 1
    assert server.said("echo alive") == "alive\n"


def test_a_shutdown_that_cannot_end_the_server_leaves_what_is_scheduled(boot: Boot) -> None:
    server = boot("")
    server.said("sudo shutdown -P +60")
    scheduled = server.said("sudo shutdown --show")
    server.said("sudo rm /usr/lib/python3*/lib-dynload/_ctypes.*.so")
    for command in ("shutdown -P now", "shutdown -P +30", "poweroff"):
        assert "_ctypes" in server.ssh(f"sudo {command}").stderr
    assert server.said("sudo shutdown --show") == scheduled
    assert "(power-off)" in scheduled


JOB = """\
import ctypes, signal, subprocess, sys
sys.path.insert(0, "/opt")
from input_helper import SIGNALS, end_children
for each in SIGNALS:
    signal.signal(each, lambda number, frame: None)
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
subprocess.run(sys.argv[1:])
end_children()
"""


@pytest.mark.parametrize(("how", "code"), [("poweroff", EXIT_POWEROFF), ("shutdown -r now", EXIT_REBOOT)])
def test_a_shutdown_outlives_whoever_kills_all_that_has_come_from_its_caller(boot: Boot, how: str, code: int) -> None:
    """As the helper of a map's inputs does."""
    server = boot(programs={"opt/input_helper.py": Path(input_helper.__file__).read_text(), "opt/job.py": JOB})
    server.said("sudo shutdown -P +60")
    # The caller may be killed by the shutdown.
    server.do(f"python3 /opt/job.py {how}", check=False)
    assert server.ended() == code


def test_a_scheduled_shutdown_outlives_them_too_and_waits_as_long_as_another_goes_on(boot: Boot) -> None:
    server = boot(programs={"opt/input_helper.py": Path(input_helper.__file__).read_text(), "opt/job.py": JOB})
    server.do("python3 /opt/job.py shutdown -P +60")
    assert "(power-off)" in server.said("sudo shutdown --show")
    stubborn = "trap '' TERM HUP; touch up; while :; do sleep 1; done"
    server.said(f'nohup sh -c "{stubborn}" >/dev/null 2>&1 & {wait_for("up")}')
    # It ends by the signal that all get.
    server.do("poweroff", check=False)
    until(lambda: "going down for power-off NOW" in server.console(), "the shutdown")
    assert server.processes().count("shutdown --asked") == 2
    assert server.ended() == EXIT_POWEROFF


def test_an_init_that_does_not_answer_keeps_nobody_from_shutting_down(boot: Boot) -> None:
    server = boot()
    server.said("sudo kill -STOP $(cat /run/skylift/init.pid)")
    server.do("poweroff", check=False)
    assert server.ended() == EXIT_POWEROFF


def test_a_shutdown_from_user_data_happens(boot: Boot) -> None:
    server = boot("#!/bin/sh\nshutdown -P +60\nshutdown -P now\nsleep 60\n")
    assert server.ended() == EXIT_POWEROFF
    assert "going down for power-off NOW" in server.console()


def test_sshd_comes_back_when_it_was_killed(boot: Boot) -> None:
    server = boot("")
    first = server.said("cat /run/sshd.pid")
    server.ssh("sudo kill -9 $(cat /run/sshd.pid)")
    # The first attempts are refused, or taken by the one that is killed.
    after = until(lambda: server.ssh("cat /run/sshd.pid").stdout, "an sshd that answers")
    assert after != first
