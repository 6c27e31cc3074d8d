"""DART-Math Suite: what a maths benchmark is (problems, prompts, grading, lm-eval tasks, reports)."""

__all__ = ["__version__"]

__version__ = "0.2.0"
