"""EventBridge Scheduler: schedules, their groups, and what they may invoke."""
