"""A map: one program, once for each of many inputs. It is a job whose program is skylift's own, the coordinator.

`keys`, `spec`, `outcome` and `progress` are the contract between client and server. Below `s3://BUCKET/jobs/NAME/`,
beside what every job has (see agent/__init__.py):

    in/map.json                 what is to be done: the program, its inputs, limits (spec.py); written by the client
    in/map/blobs/SHA-256        local inputs, by their content
    in/map/resumed.json         the job that goes on where this one has ended, if there is one (continuation.py)
    in/map/servers/TOKEN.json   the server that has come in place of a lost one (launch/relaunch.py)
    server/map/log/NUMBER       the log, in 8 digits from 0 on: outcomes of inputs (outcome.py); each entry is written
                                once, by a conditional write
    server/map/folds/NUMBER     FOLD entries of the log at a time, from that one on, for whoever reads it from its start
    server/map/progress.json    how far the map is, now and then (progress.py); only for display
    server/map/runs/INDEX-RUN/  what one run of the program for one input has left, where it is too long for the log:
                                stdout, stderr, and results/PATH or files/SHA-256 as a job's results are
    server/map/runs/INDEX-live  what an input that runs has written so far (live.py); only for display

**The log is what is true.** It has one writer at a time. A coordinator begins by reading the log to its end, and its
first entry there begins its epoch. An entry that is there is never written again (If-None-Match), so a coordinator
whose next entry is taken has a successor, and stops. So each input has at most one outcome in the log, and a reader of
the log knows which inputs have none."""
