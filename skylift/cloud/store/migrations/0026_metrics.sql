-- What was told of metrics: a row a metric and unit, and a row for each second or minute of it.
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    unit TEXT NOT NULL,
    told INTEGER NOT NULL,
    UNIQUE (namespace, name, dimensions, unit)
) STRICT;

CREATE TABLE metric_points (
    metric INTEGER NOT NULL REFERENCES metrics (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    count REAL NOT NULL,
    sum REAL NOT NULL,
    minimum REAL NOT NULL,
    maximum REAL NOT NULL,
    PRIMARY KEY (metric, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX metric_points_by_age ON metric_points (at);
