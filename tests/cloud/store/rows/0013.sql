INSERT INTO document_keys VALUES ('123456789012', 'private', 'certificate', '2026-11-25T00:00:00+00:00');
