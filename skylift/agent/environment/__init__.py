"""What a program finds when it starts: its files, its inputs, and its Python environment."""
