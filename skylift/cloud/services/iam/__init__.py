"""Users, groups, roles, policies and instance profiles."""
