"""Grading in worker processes, under limits of time and memory."""
