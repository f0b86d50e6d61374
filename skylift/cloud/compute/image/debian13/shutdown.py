"""shutdown, poweroff, halt and reboot of a server, as shutdown(8) of systemd and sysvinit have them.

Init does it, as under systemd: a job kills what its program leaves behind, and a child of the caller would be of that.
A shutdown that is due later waits in a process of its own session, so that it survives the logout of whoever asked. It
waits on while a shutdown goes on, in case that one comes to nothing.

The end itself: SIGTERM to every process, a grace, SIGKILL, and reboot(2), which in a pid namespace ends PID 1 with
SIGHUP for a restart and SIGINT otherwise (pid_namespaces(7)); the host knows by it which one was asked for.

Each job has its timer set while its program is started, so little is imported here, and the rest where it is needed.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

RUN = "/run/skylift"
SCHEDULE = f"{RUN}/shutdown"  # "PID ACTION EPOCH-SECONDS", locked by the process that waits
ENDING = f"{RUN}/stopping"  # there from the moment that a shutdown begins; locked by the process that does it
LOCK = f"{RUN}/shutdown.lock"  # held while a shutdown is being arranged
ASKED = f"{RUN}/asked"  # what init is asked for: "ACTION EPOCH-SECONDS WALL", and the message
TAKEN = f"{RUN}/asked.taken"  # its name from the moment that init's own process does it
ANSWER = f"{RUN}/answer"  # closed by that process when what it does is written down
BY_INIT = "--asked"  # the argument with which init runs this program
NOLOGIN = "/run/nologin"
CONSOLE = "/dev/console"
UNIX98_TERMINALS = 136  # the major number of /dev/pts
GRACE = 5.0
PATIENCE = 5.0  # for init, which may be dead or stopped

# reboot(2)
RESTART, HALT, POWER_OFF = 0x01234567, 0xCDEF0123, 0x4321FEDC
COMMANDS = {"reboot": RESTART, "halt": HALT, "poweroff": POWER_OFF}
WORDS = {"reboot": "reboot", "halt": "halt", "poweroff": "power-off"}

USAGE = """\
usage: shutdown [-P | -h | -H | -r | -k] [--no-wall] [now | +MINUTES | HH:MM] [MESSAGE...]
       shutdown -c | --show
       poweroff | halt | reboot [-f]
"""


class ShutdownRefused(Exception):
    """What was asked for is not possible; the text says why."""


class ShutdownRequest:
    """A command line, parsed whole before anything is done."""

    def __init__(self, action: str, when: str, message: str, force: bool = False, wall: bool = True) -> None:
        self.action = action  # a key of COMMANDS, or warn, cancel, show
        self.when = when
        self.message = message
        self.force = force
        self.wall = wall


def parse(name: str, arguments: list[str]) -> ShutdownRequest:
    if name in COMMANDS:
        return _parse_immediate(name, arguments)
    action, wall, words = "poweroff", True, []
    for index, argument in enumerate(arguments):
        if argument == "--":
            words += arguments[index + 1 :]
            break
        for option in _options(argument):
            if option in ("-r", "--reboot"):
                action = "reboot"
            elif option in ("-H", "--halt"):
                action = "halt"
            elif option in ("-P", "--poweroff"):
                action = "poweroff"
            elif option == "-k":
                action = "warn"
            elif option in ("-c", "--show"):
                action = "cancel" if option == "-c" else "show"
            elif option == "--no-wall":
                wall = False
            elif option not in ("-h",):
                raise ShutdownRefused(f"shutdown: option {option} is not known\n{USAGE}")
        if not argument.startswith("-"):
            words.append(argument)
    if action in ("cancel", "show"):
        return ShutdownRequest(action, "now", " ".join(words), wall=wall)
    when, rest = (words[0], words[1:]) if words else ("+1", [])
    return ShutdownRequest(action, when, " ".join(rest), wall=wall)


def _options(argument: str) -> list[str]:
    if argument.startswith("--"):
        return [argument]
    return [f"-{letter}" for letter in argument[1:]] if argument.startswith("-") else []


def _parse_immediate(name: str, arguments: list[str]) -> ShutdownRequest:
    action, force, wall = name, False, True
    for argument in arguments:
        for option in _options(argument) or [argument]:
            if option in ("-f", "--force"):
                force = True
            elif option in ("-p", "--poweroff"):
                action = "poweroff"
            elif option == "--reboot":
                action = "reboot"
            elif option == "--halt":
                action = "halt"
            elif option == "--no-wall":
                wall = False
            else:
                raise ShutdownRefused(f"{name}: {option} is not known\n{USAGE}")
    return ShutdownRequest(action, "now", "", force, wall)


def due(when: str, now: float) -> float:
    """The moment that `now`, `+MINUTES` or `HH:MM` means, in seconds since the epoch."""
    if when == "now":
        return now
    minutes = when.removeprefix("+")
    if minutes.isdecimal() and len(minutes) <= 6:
        return now + 60 * int(minutes)
    import re  # noqa: PLC0415

    clock = re.fullmatch(r"(\d{1,2}):(\d{2})", when)
    if clock is None or int(clock[1]) > 23 or int(clock[2]) > 59:
        raise ShutdownRefused(f"shutdown: {when!r} is not a time; it is now, +MINUTES or HH:MM")
    today = time.localtime(now)
    # mktime carries a day past the end of its month, and finds summer time by itself.
    for day in (today.tm_mday, today.tm_mday + 1):
        at = time.mktime((today.tm_year, today.tm_mon, day, int(clock[1]), int(clock[2]), 0, 0, 0, -1))
        if at > now:
            return at
    return at


def main() -> int:
    name = os.path.basename(sys.argv[0])
    if sys.argv[1:] == [BY_INIT]:
        _do_as_asked()
    try:
        request = parse(name if name in COMMANDS else "shutdown", sys.argv[1:])
        if os.geteuid() != 0:
            raise ShutdownRefused(f"{name}: only root may do this; try: sudo {name} {' '.join(sys.argv[1:])}")
        return carry_out(request)
    except ShutdownRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1


def carry_out(request: ShutdownRequest) -> int:
    os.makedirs(RUN, exist_ok=True)
    now = time.time()
    if request.action == "show":
        print(_scheduled() or "No shutdown is scheduled.")
        return 0
    if request.action == "cancel":
        if _cancel():
            announce(request.message or "The scheduled shutdown was cancelled.", request.wall)
        return 0
    at = due(request.when, now)
    if request.action == "warn":
        announce(request.message or f"The system would go down at {_clock(at)}.", request.wall)
        return 0
    if request.force:
        _reboot(request.action)
    # Where it cannot be loaded, a shutdown can neither wait nor end the server: what is scheduled must stay then.
    import ctypes  # noqa: F401, PLC0415

    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if at > now:
        text = f"Shutdown scheduled for {_clock(at)}, use 'shutdown -c' to cancel."
        print(text, file=sys.stderr)
        announce(request.message or f"The system goes down for {WORDS[request.action]} at {_clock(at)}.", request.wall)
    if os.getppid() == _init() or not _have_init_do(request, at):
        _do_beside(request, at, lock)
    return 0


def _have_init_do(request: ShutdownRequest, at: float) -> bool:
    """Whether init has taken it over. Not before it is written down: the caller may end right after us."""
    with suppress(FileNotFoundError):
        os.unlink(ANSWER)
    os.mkfifo(ANSWER, 0o600)
    answer = os.open(ANSWER, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with open(ASKED, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{request.action} {at!r} {int(request.wall)}\n{request.message}")
        os.kill(_init(), signal.SIGUSR1)
        if not select.select([answer], [], [], PATIENCE)[0]:
            # Only one of us can take it away.
            os.unlink(ASKED)
            return False
    except (ProcessLookupError, ValueError):
        return False
    except FileNotFoundError:
        select.select([answer], [], [])
    finally:
        os.close(answer)
    return True


def _do_as_asked() -> NoReturn:
    try:
        os.rename(ASKED, TAKEN)
    except FileNotFoundError:
        sys.exit(0)  # whoever asked has not waited
    with open(TAKEN, encoding="utf-8", errors="surrogateescape") as file:
        (action, at, wall), message = file.readline().split(), file.read()
    answer = os.open(ANSWER, os.O_RDWR)  # whoever asked may have gone
    _stand_alone()
    _do(ShutdownRequest(action, "now", message, wall=wall == "1"), float(at), answer)


def _do_beside(request: ShutdownRequest, at: float, lock: int) -> None:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        os.close(lock)
        _stand_alone()
        _do(request, at, writing)
    os.close(writing)
    # Not before the child is on its own and has written down what it does.
    os.read(reading, 1)


def _do(request: ShutdownRequest, at: float, told: int) -> NoReturn:
    """What was asked for, when it is due. The descriptor is closed when others see that it is to happen."""
    if at > time.time():
        _cancel()
        _hold_schedule(request, at)
        os.close(told)
        _sleep_until(at)
        _begin()
    else:
        _begin()
        os.close(told)
    end(request)


def _stand_alone() -> None:
    """Live on when the caller's session, terminal or connection ends."""
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _hold_schedule(request: ShutdownRequest, at: float) -> None:
    schedule = os.open(SCHEDULE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    fcntl.flock(schedule, fcntl.LOCK_EX)
    os.write(schedule, f"{os.getpid()} {request.action} {at:.0f}\n".encode())


def _begin() -> None:
    """From here on there is no way back; whoever comes second leaves the work to the first."""
    ending = os.open(ENDING, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(ending, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os._exit(0)


def _sleep_until(at: float) -> None:
    """Until the wall clock says so, whatever happens to that clock or to the host's sleep in between."""
    import ctypes  # noqa: PLC0415

    class Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    moment = Timespec(int(at), int(at % 1 * 1e9))
    absolute = 1
    libc = ctypes.CDLL(None)
    while libc.clock_nanosleep(time.CLOCK_REALTIME, absolute, ctypes.byref(moment), None) != 0:
        pass  # only a signal ends it early


def end(request: ShutdownRequest) -> NoReturn:
    """The system's end, from the announcement to the last system call."""
    announce(request.message or f"The system is going down for {WORDS[request.action]} NOW!", request.wall)
    with suppress(OSError), open(NOLOGIN, "w", encoding="utf-8") as file:
        # A full /run keeps nobody from turning the system off.
        file.write("The system is going down.\n")
    _end_processes(signal.SIGTERM, GRACE)
    _end_processes(signal.SIGKILL, 1.0)
    import ctypes  # noqa: PLC0415

    root = os.open("/", os.O_RDONLY)
    # This server's own disk; sync(2) would wait for all of the host's.
    ctypes.CDLL(None).syncfs(root)
    _reboot(request.action)


def _end_processes(number: signal.Signals, grace: float) -> None:
    """Signal every process but PID 1, its init, a scheduled shutdown and this one; wait `grace` seconds for them."""
    deadline = time.monotonic() + grace
    seen: set[int] = set()
    while True:
        poll = select.poll()
        descriptors = []
        for pid in _others():
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue  # gone meanwhile
            descriptors.append(descriptor)
            poll.register(descriptor, select.POLLIN)
            if pid not in seen or number == signal.SIGKILL:
                seen.add(pid)
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        # One process's end is enough to look again: what it was the parent of has got a new one.
        left = deadline - time.monotonic()
        if descriptors and left > 0:
            poll.poll(left * 1000)
        for descriptor in descriptors:
            os.close(descriptor)
        if not descriptors or left <= 0:
            return


def _others() -> list[int]:
    spared = {1, os.getpid()}
    with suppress(OSError, ValueError):
        spared.add(_init())
    scheduled = _schedule()
    if scheduled is not None:
        spared.add(scheduled[0])
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in spared and _alive(name)]


def _alive(pid: str) -> bool:
    try:
        return _stat(pid)[0] not in ("Z", "X")
    except OSError:
        return False


def _reboot(action: str) -> NoReturn:
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(ctypes.c_int(COMMANDS[action]))
    # Only a refusal returns. Ending init ends the server too, though the host then takes it for a crash.
    announce(f"reboot(2): {os.strerror(ctypes.get_errno())}")
    os.kill(_init(), signal.SIGKILL)
    os._exit(1)


def _init() -> int:
    with open(f"{RUN}/init.pid", encoding="ascii") as file:
        return int(file.read())


def _scheduled() -> str:
    found = _schedule()
    return f"Shutdown scheduled for {_clock(found[2])} ({WORDS[found[1]]})." if found else ""


def _cancel() -> bool:
    found = _schedule()
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGKILL)
    with suppress(FileNotFoundError):
        os.unlink(SCHEDULE)
    return True


def _schedule() -> tuple[int, str, float] | None:
    """Who waits for what and until when; the lock tells that this process still lives."""
    try:
        with open(SCHEDULE, encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, action, at = file.read().split()
                return int(pid), action, float(at)
    except FileNotFoundError:
        pass
    return None


def _clock(at: float) -> str:
    return time.strftime("%a %Y-%m-%d %H:%M:%S %Z", time.localtime(at))


def announce(text: str, wall: bool = True) -> None:
    """To the console and, as wall(1) does, to every terminal that somebody is logged in on."""
    for terminal in [CONSOLE, *(_login_terminals() if wall else ())]:
        # Without waiting: a terminal that nobody reads must not keep the system from going down.
        with suppress(OSError):
            descriptor = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            os.write(descriptor, f"\r\n{text}\r\n".encode() if terminal != CONSOLE else f"{text}\n".encode())
            os.close(descriptor)


def _login_terminals() -> list[str]:
    """Those that sshd has given to somebody. A program that was given one by another program is not logged in."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            leader = _stat(pid)
            number = int(leader[4])  # of its terminal, as a device
            if leader[3] == pid and number >> 8 & 0xFFF == UNIX98_TERMINALS and _name(leader[1]).startswith("sshd"):
                found.append(f"/dev/pts/{number & 0xFF | number >> 12 & 0xFFF00}")
    return sorted(found)


def _stat(pid: str) -> list[str]:
    """State, parent, group, session, terminal and so on: proc_pid_stat(5) from the third on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _name(pid: str) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
