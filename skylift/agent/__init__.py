"""The part of skylift that runs on the server: one job, from first boot to power off.

Standard library only, Python 3.9 or newer. User data carries `boot.py` and what it needs. `boot.py` arms the timer that
turns the server off, and fetches the rest, a zip archive, from the job's prefix. It runs as root and needs no client:
it reads what it needs from the prefix with the instance's own role, and writes the job's outcome there. Start reading
at `supervisor.py`: its `run` is the order of things. If the supervisor is killed, its parent, `guardian.py`, starts
another one, which reads from `ledger.py` what its predecessor has noted.

The prefix, `s3://BUCKET/jobs/NAME/`, is the job's record:

    record.json             what to do; written by the client, whose conditional write claims the job's name
    in/supervisor.pyz       this package; its SHA-256 stands in the user data
    in/env.json             the user's --env values; removed when the program has started, at the job's end where it may
                            be started again
    in/environment.json     {"source", "texts", "locked"}: what uv builds a shared environment from (ship/recipe.py)
    in/s3.json              [{"bucket", "region", "objects": [[KEY, ETAG, SIZE, PLACE]]}]: inputs from other buckets
    in/fleet.json           {"fleet"}: which one brings a spot job's servers
    in/stdin/OFFSET         the program's standard input in pieces, named by the offset of their first byte in 20
                            digits; the last one has the metadata "last", and may be empty
    in/cancel               its presence asks for the job's end
    server/hostkeys.json    {"instance", "keys", "user"}: the server's public SSH keys, and the user to log in as
    server/attempts/1.json  {"instance", "claimed"}: the server that writes it first runs the program; of a spot
                            job, and of a map, there are more of them, and more in each (see attempts.py)
    server/checkpoint/N-X   what attempt N of a spot job has left to go on from, under a key that is used once; the
                            attempt names the last whole ones (see checkpoint.py)
    server/claim.json       {"job"}: only this job's client may use the server that was kept ready for its next job
    server/next.json        {"job"}: the job that a kept server belongs to now; see handover.py
    server/status.json      how far it is, and at the end how it went
    server/stdin.json       {"taken": bytes}: how far the program's standard input has been passed on, now and then
    server/stdout/OFFSET    the streams in pieces, named by the offset of their first byte in 20 digits
    server/stderr/OFFSET    with the metadata "times": [GRAIN, [[TIME, OFFSET], ...]], where bytes from OFFSET up to the
                            next one were written within GRAIN seconds from TIME on
    server/results/PATH     what the program left in its outputs: large files, and small ones of which there are few
    server/packs/X.tar      many small files together; X is the SHA-256 of the archive
    server/files/X          a file with a path that cannot be a key (not UTF-8, or too long): X is the path's SHA-256
    server/manifest.json    those results with sizes and SHA-256, written after the last of them

A schedule has `s3://BUCKET/schedules/NAME/` with a record.json and in/ for all of its runs. A run is a job whose prefix
has no record.json, and it reads the schedule's. `running.json` there is for --overlap (see schedule_lock.py).

Beside it, `s3://BUCKET/inputs/sha256/SHA-256` is what jobs were given, by its content: packs, which hold many files
each, and large files. The client puts them there, and the record names the job's inputs.

The fields of these files, and of the frames below, are declared in skylift/contract/; docs/formats.md lists them.

The socket /run/skylift/NAME.sock takes JSON lines: {"stream": {"stdout": OFFSET, "stderr": OFFSET}}, {"signal": "INT"},
{"cancel": true}, {"usage": SECONDS, "times"*: N}, which is answered with frames s, and u for what of the server is used
(see usage.py), when a next job is there for the server {"next": true}, when there is more in in/stdin/ {"stdin":
true}, and where the program has a terminal {"input": BASE64} and {"resize": [ROWS, COLUMNS]}. A stream is answered with
frames: a letter, the payload's length as 4 bytes big-endian, the payload. The letters are o stdout, e stderr, s status
as JSON, c for what was cut, as JSON: {"stream", "from", "to"}, after which that stream goes on at "to", b and g. Beside
"stream" an order may have "since", a time in seconds since the epoch, which is answered first with b, {"stdout":
OFFSET, "stderr": OFFSET}: where what was written since then begins; "once", for what there is at that moment and no
more; and "gauge", the seconds between two frames g: how the server is (see gauge.py), {"processor", "memory",
"memory_limit"}, and beside it, while an environment is made, what uv said last ("doing"), and of the results that are
on their way "sending": {"files", "files_sent", "size", "size_sent"}. The final status is the last frame, after all
output.
"""
