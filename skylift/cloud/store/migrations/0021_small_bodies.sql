-- S3: bodies that are too small to be worth a file. Objects and parts name them by number; a number is never given
-- twice, so that whoever remembers one cannot find other bytes under it.
CREATE TABLE small_bodies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB NOT NULL
) STRICT;
