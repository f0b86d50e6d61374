-- CloudWatch's alarms, what happened to them, and what they ask for that has not been done.
CREATE TABLE alarms (
    name TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    metric_name TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    statistic TEXT NOT NULL,
    unit TEXT,
    period INTEGER NOT NULL,
    periods INTEGER NOT NULL,
    datapoints INTEGER,
    threshold REAL NOT NULL,
    comparison TEXT NOT NULL,
    missing TEXT,
    configured TEXT NOT NULL,
    updated TEXT NOT NULL,
    transitioned TEXT NOT NULL,
    description TEXT,
    actions_enabled INTEGER NOT NULL,
    ok_actions TEXT NOT NULL,
    alarm_actions TEXT NOT NULL,
    insufficient_data_actions TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_data TEXT,
    acted TEXT,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE alarm_history (
    number INTEGER PRIMARY KEY,
    alarm TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE alarm_actions (
    number INTEGER PRIMARY KEY,
    alarm TEXT NOT NULL,
    arn TEXT NOT NULL,
    state TEXT NOT NULL,
    asked TEXT NOT NULL,
    metric_value REAL
) STRICT;
