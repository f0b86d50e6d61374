"""Auto Scaling groups, their policies, hooks and scheduled actions."""
