"""``--dry-run``: what a run would be, without loading weights."""

from __future__ import annotations

from train.arguments import Options
from train.errors import UserError

__all__ = ["dry_run"]


def dry_run(options: Options, model_name: str) -> int:
    """Print the plan with its cost; the exit code."""
    raise UserError("--dry-run comes with the next commit")
