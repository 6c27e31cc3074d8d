"""How our commands meet the person at the terminal: one-line errors, exit codes, escaped text."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["counted", "first_line", "printable", "progress", "run", "stdout_console", "working"]

Step = TypeVar("Step")


def printable(text: str) -> str:
    """``text`` with control characters (terminal codes among them), lone surrogates and Unicode's line ends escaped.

    Newlines and tabs stay. Rich markup is not touched: print model or data text through ``rich.markup.escape``
    or ``rich.text.Text`` as well.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def stdout_console(*, soft_wrap: bool = False) -> Console:
    """A rich console on standard output; in a pipe, which has no width, wide enough for every table."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=soft_wrap, width=None if sys.stdout.isatty() else 180)


def progress(steps: Iterable[Step], what: str, total: int) -> Iterator[Step]:
    """The steps, counted on the terminal's standard error; in silence where that is none."""
    from rich.console import Console
    from rich.progress import track

    errors = Console(stderr=True)
    yield from track(steps, what, total, console=errors, disable=not errors.is_terminal, transient=True)


def counted(number: int, noun: str) -> str:
    """How many there are of something, as people write it.

    >>> counted(1, "query"), counted(1200, "query"), counted(0, "row")
    ('1 query', '1,200 queries', '0 rows')
    """
    if number != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun}"


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Says on a terminal's standard error what is being done, for as long as it takes."""
    from rich.console import Console
    from rich.text import Text

    errors = Console(stderr=True)
    with errors.status(Text(what)) if errors.is_terminal else contextlib.nullcontext():
        yield


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says anything, or the error's name: libraries' messages are long."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def run(command: click.Command, prog_name: str) -> NoReturn:
    """Run a command as a program: errors in one line on stderr; exit 2 for bad usage, 1 for failure, 130 for Ctrl-C."""
    try:
        result = command.main(prog_name=prog_name, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.exceptions.NoArgsIsHelpError as help_:
        click.echo(help_.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        message = " ".join(printable(error.format_message()).split())
        click.echo(f"{prog_name}: {message}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "dart_tasks", "synth", "train"):
            raise
        click.echo(
            f"{prog_name}: this needs {missing}, which is not installed: pip install . brings all of it",
            err=True,
        )
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{prog_name}: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader (head, less) went away: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
