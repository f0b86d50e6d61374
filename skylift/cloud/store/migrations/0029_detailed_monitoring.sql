-- Whether an instance's metrics are told each minute.
ALTER TABLE instances ADD COLUMN detailed_monitoring INTEGER NOT NULL DEFAULT 0;
