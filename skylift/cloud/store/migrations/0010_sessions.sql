ALTER TABLE sessions ADD COLUMN delivery TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN source_identity TEXT;
