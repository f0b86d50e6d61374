"""`skylift setup`: everything that a first run needs, and nothing when it is there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli.say import say
from skylift.cloud.state.home import Home, default_home

if TYPE_CHECKING:
    from skylift.cloud.compute.image.packed import PackedImage
    from skylift.cloud.compute.packages import Package


def register(app: typer.Typer) -> None:
    app.command()(setup)


def setup(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Install packages without asking.")] = False,
    packages_only: Annotated[bool, typer.Option(help="Only what apt installs: no image, no start.")] = False,
    at_boot: Annotated[
        bool | None,
        typer.Option(
            "--at-boot/--no-at-boot",
            help="Start the embedded EC2 with the machine, or not any more. This takes systemd.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Take the image of servers from a file of `skylift image export`, and build none.",
            show_default=False,
        ),
    ] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="The digest of that file; else it is read in FILE.sha256.")
    ] = None,
    rootless: Annotated[bool, typer.Option("--rootless", help="Without root, as where there is no sudo.")] = False,
) -> None:
    """Prepare this machine for servers, and start the embedded EC2.

    Install what servers need, and build their image. The command is safe to repeat.
    """
    from skylift.cli.image import image_here, open_packed
    from skylift.client.errors import UsageError

    if image is None and digest is not None:
        raise UsageError("--digest goes with --image FILE.")
    if image is not None and packages_only:
        raise UsageError("--image and --packages-only exclude each other.")
    home = default_home()
    if os.geteuid() != 0 and shutil.which("sudo") is None and not packages_only:
        rootless = rootless or not home.data.path.exists()
    packed = open_packed(image, digest) if image is not None else None
    # One that is about to be without root has no image yet: what is here is root's.
    if packed and (home.is_rootless or not rootless) and image_here():
        say(f"The image is here already: {image} was not read.", to_stderr=True)
        packed = None
    Setup(home, yes=yes, packages_only=packages_only, at_boot=at_boot, packed=packed, rootless=rootless).run()


class Setup:
    def __init__(
        self,
        home: Home,
        *,
        yes: bool,
        packages_only: bool,
        at_boot: bool | None = None,
        packed: PackedImage | None = None,
        rootless: bool = False,
    ) -> None:
        self._home = home
        self._yes = yes
        self._packages_only = packages_only
        self._at_boot = at_boot
        self._packed = packed
        self._rootless = rootless or home.is_rootless

    def run(self) -> None:
        from skylift.cloud.compute.packages import PARTS, ROOTLESS_PARTS, missing_parts
        from skylift.place.own_namespaces import DIFFERENCES, choose
        from skylift.place.privilege import is_root, run_as_root
        from skylift.place.start import make_data, prepare_home, tell_of_no_way_out

        if self._at_boot is not None:
            require_systemd()
        prepare_home(self._home)
        missing = missing_parts(ROOTLESS_PARTS if self._rootless else PARTS)
        if missing:
            self._agree(missing)
        if self._rootless and choose(self._home):
            say(*DIFFERENCES.splitlines(), to_stderr=True)
        if self._complete(missing) and (is_root() or self._at_boot is None):
            if is_root() and not self._packages_only:
                make_data(self._home)
            if not self._packages_only:
                tell_of_no_way_out(self._home)
            self._settle_boot()
            self._say_ready()
            return
        if not is_root():
            arguments = ["setup", "--yes", *(["--packages-only"] if self._packages_only else [])]
            arguments += [] if self._at_boot is None else ["--at-boot" if self._at_boot else "--no-at-boot"]
            arguments += ["--image", "-", "--digest", self._packed.digest] if self._packed else []
            raise typer.Exit(run_as_root(self._home, arguments, stdin=self._packed.file if self._packed else None))
        if missing:
            self._install(missing)
        if not self._packages_only:
            self._bring_up()
        self._settle_boot()
        self._say_ready()

    def _settle_boot(self) -> None:
        from skylift.place.start import make_data
        from skylift.place.unit import Unit

        if self._at_boot:
            make_data(self._home)
            Unit(self._home).keep()
        elif self._at_boot is not None:
            Unit(self._home).remove(kept=True)

    def _complete(self, missing: list[Package]) -> bool:
        from skylift.cloud.compute.image.image import default_image
        from skylift.place.local import is_within_reach

        if missing:
            return False
        if self._packages_only:
            return True
        return is_within_reach(self._home) and default_image(self._home.data) is not None

    def _agree(self, missing: list[Package]) -> None:
        """Ask before anything is installed; where nobody can be asked, or apt is not the way, say what to do."""
        from skylift.client.errors import UsageError

        command = shlex.join(install_command(missing))
        if not has_apt():
            raise UsageError(
                f"Missing: {', '.join(part.name for part in missing)}. skylift installs on Debian and Ubuntu only.",
                f"Install what holds these Debian packages here: {' '.join(names(missing))}. Then: skylift setup",
            )
        if self._yes and not self._rootless:
            return
        if not sys.stdin.isatty() or self._rootless:
            raise UsageError(
                f"Missing: {', '.join(part.name for part in missing)}.",
                f"An administrator can: {command}"
                if self._rootless
                else f"Install them with: sudo {command}\nOr let skylift do it: skylift setup --yes",
            )
        say(f"Servers need packages that are not here: {' '.join(names(missing))}")
        if not typer.confirm(f"Install them with `{command}`?", default=True):
            raise UsageError("Nothing was installed.", f"The command is: sudo {command}")

    def _install(self, missing: list[Package]) -> None:
        from skylift.client.errors import RunError
        from skylift.cloud.compute.packages import missing_parts
        from skylift.cloud.state.program import apt_environment

        say(f"Installing {' '.join(names(missing))} ...", to_stderr=True)
        for command in (["apt-get", "--quiet", "update"], install_command(missing)):
            done = subprocess.run(
                command, env=apt_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                words = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).strip().splitlines()[-8:])
                raise RunError(f"`{shlex.join(command)}` ended with exit code {done.returncode}:\n{words}")
        if left := missing_parts():
            raise RunError(f"Still missing after the installation: {', '.join(part.name for part in left)}.")

    def _bring_up(self) -> None:
        from skylift.cli.bar import build_bar
        from skylift.place.first_run import cache_filled
        from skylift.place.start import bring_up

        with cache_filled(self._home):
            bring_up(self._home, showing=build_bar, packed=self._packed)

    def _say_ready(self) -> None:
        if self._packages_only:
            say("Every package that servers need is installed.")
            return
        endpoint = self._home.endpoint()
        say(f"Ready: the cloud is up at {endpoint.url if endpoint else '?'}. Try: skylift run SCRIPT")


def require_systemd() -> None:
    from skylift.client.errors import UsageError
    from skylift.place.unit import runs_systemd

    if not runs_systemd():
        raise UsageError(
            "systemd does not run on this machine, and nothing else here starts the cloud at boot.",
            "Have what starts programs there run, as root: skylift cloud up",
        )


def has_apt() -> bool:
    """Debian, Ubuntu and what is made from them."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def names(missing: list[Package]) -> list[str]:
    from skylift.cloud.compute.packages import packages

    return packages(missing)


def install_command(missing: list[Package]) -> list[str]:
    return ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", *names(missing)]
