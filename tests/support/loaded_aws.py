"""The AWS CLI of this environment, loaded once: each command is a fork of one process, unchanged but for that.

    python -m support.loaded_aws SOCKET      # says "ready" and goes on until it is killed

Alone, a command loads modules and models for half a second of processor time before it does anything, and the page by
hand has hundreds. `command` is what stands for the program `aws` then.
"""

from __future__ import annotations

import functools
import gc
import importlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NoReturn

import awscli

from support.killed_runs import ending_with_us

REGION = "us-east-1"
COMMAND = """#!{python} -SEs
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect({place!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(there, [len(asked).to_bytes(4, "big")], [0, 1, 2])
there.sendall(asked)
ended = there.recv(1)
sys.exit(ended[0] if ended else "the AWS CLI ended without an exit code")
"""


@contextmanager
def loaded_aws(folder: Path) -> Iterator[Path]:
    """The program, in `folder`. It is there as long as the thread that asks for it."""
    place, program = folder / "aws.socket", folder / "aws"
    program.write_text(COMMAND.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    command = ending_with_us(sys.executable, "-m", __name__, str(place))
    tests = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=tests, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield program
        finally:
            server.terminate()


def serve(place: str) -> None:
    from awscli import clidriver
    from botocore.loaders import JSONFileLoader

    JSONFileLoader.load_file = staticmethod(functools.cache(JSONFileLoader().load_file))
    driver = clidriver.create_clidriver()
    # What each command reads is read here: models, rules of endpoints, the commands' own modules.
    for service in ("autoscaling", "cloudwatch", "ec2", "iam", "s3", "ssm", "sts"):
        driver.session.create_client(service, region_name=REGION, aws_access_key_id="-", aws_secret_access_key="-")
    with redirect_stdout(io.StringIO()):
        driver.main(["ec2", "describe-vpcs", "--generate-cli-skeleton"])
    # A collection of garbage would look at all of it in each fork, and so copy its memory.
    gc.freeze()
    # The kernel reaps the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(16)
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                answer(connection, clidriver.main)
            connection.close()


def answer(connection: socket.socket, main: Callable[[], int]) -> NoReturn:
    """In a fork, whose own fork is the command: that ends as any program does, and this one tells its exit code."""
    begin, streams, *_ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as reading:
        words, folder, environment = json.loads(reading.read(int.from_bytes(begin, "big")))
    if command := os.fork():
        _, status = os.waitpid(command, 0)
        connection.sendall(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # It puts its own models into AWS_DATA_PATH when it is imported.
    importlib.reload(awscli)
    random.seed()
    sys.argv[1:] = words
    sys.exit(main())


if __name__ == "__main__":
    serve(sys.argv[1])
