"""What is asked of message passing, and the contenders that need nothing but the project."""
