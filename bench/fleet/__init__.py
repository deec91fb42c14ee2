"""The fleet beside doing it by hand."""
