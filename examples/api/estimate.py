"""Three servers estimate pi at the same time."""

import sys
from pathlib import Path

import skylift

POINTS = 400_000
SEEDS = (1, 2, 3)


def main() -> int:
    script = Path(__file__).with_name("pi.py")
    jobs = [skylift.submit(script, args=[str(seed), str(POINTS)], max_time="10m") for seed in SEEDS]
    inside = 0
    try:
        for job in jobs:
            outcome = job.wait()
            if outcome.exit_code != 0:
                print(f"{job.name}: {outcome.state}. {outcome.reason}", file=sys.stderr)
                return outcome.exit_code
            inside += int("".join(job.logs()))
    finally:
        for job in jobs:
            job.cancel()
            job.rm()
    print(f"pi is about {4 * inside / (POINTS * len(SEEDS)):.3f}, say {len(SEEDS)} servers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
