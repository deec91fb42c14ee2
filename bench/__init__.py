"""Benchmarks: questions, contenders, and what was measured."""
