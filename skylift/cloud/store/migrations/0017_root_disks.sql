ALTER TABLE volumes ADD COLUMN bounded INTEGER NOT NULL DEFAULT 0;

-- As before; a root volume that is a file of its own goes as the other volumes do.
DROP TRIGGER volumes_lose_their_instance;
CREATE TRIGGER volumes_lose_their_instance AFTER UPDATE OF state ON instances
WHEN NEW.state = 'terminated' AND OLD.state != 'terminated' BEGIN
    DELETE FROM volumes WHERE instance_id = NEW.id AND root = 1 AND bounded = 0;
    UPDATE volumes SET state = 'deleting' WHERE instance_id = NEW.id AND (delete_on_termination = 1 OR root = 1);
    UPDATE volumes SET state = 'available' WHERE instance_id = NEW.id AND state = 'in-use';
    UPDATE volumes SET instance_id = NULL, device = NULL, attachment = NULL, attached = NULL,
        delete_on_termination = 0, forced = 0
        WHERE instance_id = NEW.id;
END;
