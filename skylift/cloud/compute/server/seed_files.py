"""The files that turn an image into one server: names, keys and addresses of the cloud. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skylift.cloud.compute.server.rootfs import SeedFile
from skylift.cloud.domain.upstream import FORWARDER, Upstream

METADATA_ADDRESS = "169.254.169.254"
DNS_ADDRESS = "169.254.169.253"
ENDPOINT_ADDRESS = "169.254.169.252"

APT_SOURCES = "/etc/apt/sources.list.d/debian.sources"
APT_PROXIES = "/etc/apt/apt.conf.d/80skylift-host"

LOGIN_USER = "ec2-user"
LOGIN_UID = 1000


@dataclass(frozen=True)
class Inheritance:
    """What servers take over from their host: package indexes, proxies and certificate authorities. They know the
    forwarder in the place of `upstreams`, which have passwords."""

    environment: Mapping[str, str]
    files: Mapping[str, bytes]
    upstreams: tuple[Upstream, ...] = ()


def seed_files(
    *,
    instance_id: str,
    hostname: str,
    private_ip: str,
    name_servers: Sequence[str],
    search: str,
    region: str,
    public_key: str | None,
    user_data: bytes | None,
    inheritance: Inheritance,
) -> tuple[SeedFile, ...]:
    """`name_servers` and the domain to `search` are the VPC's DHCP options. `hostname` is the private DNS name; its
    first label is the short name."""
    short = hostname.partition(".")[0]
    files = [
        _text("/etc/hostname", f"{hostname}\n"),
        _text("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{private_ip} {hostname} {short}\n"),
        # As a DHCP client does it: by the VPC's current options.
        replace(_text("/etc/resolv.conf", _resolv_conf(name_servers, search)), each_boot=True),
        _text("/etc/environment", _environment(region, inheritance.environment)),
        _text("/var/lib/cloud/seed/instance-id", f"{instance_id}\n"),
        # The current user data, written at each boot, even if empty: the disk may be a copy of another server's.
        SeedFile("/var/lib/cloud/seed/user-data", user_data or b"", mode=0o600, each_boot=True),
    ]
    if public_key is not None:
        files.append(
            SeedFile(
                f"/home/{LOGIN_USER}/.ssh/authorized_keys",
                f"{public_key.strip()}\n".encode(),
                mode=0o600,
                uid=LOGIN_UID,
                gid=LOGIN_UID,
            )
        )
    files.extend(SeedFile(path, content) for path, content in inheritance.files.items())
    return tuple(files)


def _resolv_conf(name_servers: Sequence[str], search: str) -> str:
    lines = [f"nameserver {server}" for server in name_servers]
    if search:
        lines.append(f"search {search}")
    return "".join(f"{line}\n" for line in [*lines, "options timeout:2 attempts:5"])


def _environment(region: str, inherited: Mapping[str, str]) -> str:
    """`/etc/environment`: plain assignments, read by PAM and by the init for user data.

    The endpoint, the metadata service and the forwarder are never reached through a proxy of the host's.
    """
    local = f"localhost,127.0.0.1,{METADATA_ADDRESS},{DNS_ADDRESS},{ENDPOINT_ADDRESS},{FORWARDER}"
    exempt = ",".join(filter(None, [inherited.get("NO_PROXY") or inherited.get("no_proxy"), local]))
    variables = {
        **inherited,
        "AWS_ENDPOINT_URL": f"http://{ENDPOINT_ADDRESS}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        # SDKs ask the metadata service once and wait a second: this machine's own may be too busy for that.
        "AWS_METADATA_SERVICE_TIMEOUT": "5",
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3",
        "NO_PROXY": exempt,
        "no_proxy": exempt,
    }
    return "".join(f"{name}={value}\n" for name, value in variables.items() if "\n" not in value)


def _text(path: str, content: str) -> SeedFile:
    return SeedFile(path, content.encode())
