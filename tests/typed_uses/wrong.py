"""Each line that says so has the mistake that it says. It is not run."""

from __future__ import annotations

import skylift

outcome = skylift.run("job.py")
word: str = outcome.exit_code  # assignment
skylift.nothing()  # attr-defined
skylift.run("job.py", typ="t3.small")  # call-arg
skylift.run("job.py", max_cost="2")  # arg-type
skylift.run("job.py", spot="yes")  # arg-type
skylift.submit("job.py", out=3)  # arg-type
skylift.submit("job.py", stdout=None)  # call-arg
skylift.run("job.py", 3)  # arg-type
cheap: skylift.RunOptions = {"maxcost": 1}  # typeddict-unknown-key
skylift.run("job.py", progress="bar")  # arg-type
later: skylift.Outcome = skylift.aio.run("job.py")  # assignment
