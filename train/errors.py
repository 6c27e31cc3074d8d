"""Errors that end a run with one line instead of a traceback."""

from __future__ import annotations

import errno

__all__ = ["UsageError", "UserError", "is_disk_full"]


class UserError(Exception):
    """Something the user can put right: shown in one line, exit code 1."""


class UsageError(UserError):
    """The command line, or the recipe it names, is wrong: exit code 2."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says, of itself or of its cause, that a file could not be written for lack of space.

    Torch's writer of checkpoints says only that it is not where it should be in the file.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if any(sign in str(error) for sign in ("No space left on device", "inline_container.cc", "PytorchStreamWriter")):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and is_disk_full(before)
