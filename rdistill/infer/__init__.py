"""Answering with a student: concisely by default."""
