"""Errors that end a run with one line instead of a traceback."""

from __future__ import annotations

__all__ = ["DivergenceError", "UsageError", "UserError"]


class UserError(Exception):
    """Something the user can put right: shown in one line, exit code 1."""


class UsageError(UserError):
    """The command line, or the recipe it names, is wrong: exit code 2."""


class DivergenceError(UserError):
    """The loss or its gradient is not a number, or the loss explodes."""
