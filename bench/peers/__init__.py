"""Other people's message passing, each as a program of its own; they run in a venv of their own."""
