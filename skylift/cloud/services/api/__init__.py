"""What all services share: the shape of an operation, permission, conditions, filters, pages, tags, ids."""
