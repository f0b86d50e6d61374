"""What client, agent and console say to each other. Each document is declared once, in a file of its own: what writes
it, what reads it and its page (docs/formats.md) are made of that. Standard library only, Python 3.9: servers have it.
"""
