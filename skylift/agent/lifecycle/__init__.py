"""A job from its claim to the end of its server, stage by stage."""
