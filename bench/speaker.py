"""The program whose output is measured: lines of one length, each with its number and the time at which it was written.

python speaker.py lines COUNT PER_SECOND    each line by a write of its own; 0 a second is as fast as it goes
python speaker.py blocks COUNT              the same lines, as a program writes them whose output is buffered
python speaker.py line BYTES                one line, all of the same letter
"""

import os
import sys
import time

LENGTH = 80
REST = b"." * (LENGTH - 29) + b"\n"
CONNECTING = 2.0
"""Seconds in which whoever wants to watch has come, so that no line waits for that."""


def line(number: int) -> bytes:
    return b"%019d %08d%b" % (time.time_ns(), number, REST)


def main() -> None:
    time.sleep(CONNECTING)
    match sys.argv[1:]:
        case ["lines", count, rate]:
            pause = 1 / int(rate) if int(rate) else 0.0
            began = time.perf_counter()
            for number in range(int(count)):
                ahead = began + number * pause - time.perf_counter()
                if ahead > 0.002:
                    time.sleep(ahead)
                os.write(1, line(number))
        case ["blocks", count]:
            for start in range(0, int(count), 100):
                block = memoryview(b"".join(line(start + number) for number in range(100)))
                while block:
                    block = block[os.write(1, block) :]
        case ["line", size]:
            left = memoryview(b"x" * (int(size) - 1) + b"\n")
            os.write(2, b"%019d\n" % time.time_ns())
            while left:
                left = left[os.write(1, left) :]


if __name__ == "__main__":
    main()
