"""Writes docs/commands.md, the page of every command's options, from the commands themselves.

    python docs/write_commands.py

tests/test_docs.py fails while the page is not what this would write.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Every option of every command

Written by `python docs/write_commands.py` from the commands themselves; what they are for is in the other pages.
`COMMAND --help` says the same in the terminal.
"""
Row = tuple[str, str]


def page() -> str:
    """The whole page."""
    from dart_tasks.cli import dart_grade
    from dart_tasks.report.cli import command as dart_report
    from synth.cli import command as dart_synth
    from train.arguments import own_parser
    from train.lr_search import search_parser

    parts = [HEAD]
    for name, command in (("dart-report", dart_report), ("dart-synth", dart_synth), ("dart-grade", dart_grade)):
        parts.extend(_click(name, command, inherited=set()))
    parts.append(_section("accelerate launch train/sft.py", *_argparse(own_parser())))
    parts.append("Every argument of transformers' `TrainingArguments` is an option too: `--help-all` lists them.\n")
    parts.append(_section("python -m train.lr_search", *_argparse(search_parser())))
    return "\n".join(parts)


def _click(name: str, command: click.Command, inherited: set[str]) -> Iterator[str]:
    rows = list(_options(command))
    own = [row for row in rows if row[0] not in inherited]
    if rows or command.help:
        about = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
        yield _section(name, about, own)
        if len(own) < len(rows):
            yield f"And every option of `{name.rpartition(' ')[0]}`.\n"
    if isinstance(command, click.Group):
        for sub_name, sub in command.commands.items():
            yield from _click(f"{name} {sub_name}", sub, inherited | {row[0] for row in rows})


def _options(command: click.Command) -> Iterator[Row]:
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            flags = "`, `".join((*option.opts, *option.secondary_opts))
            said = option.help or ""
            if option.show_default and option.default is not None and "[default" not in said:
                said += f" [default: {option.default}]"
            yield f"`{flags}`", said


def _argparse(parser: argparse.ArgumentParser) -> tuple[str, list[Row]]:
    shown = [action for action in parser._actions if action.help and action.help is not argparse.SUPPRESS]
    rows = [(f"`{flag}`", (action.help or "") % vars(action)) for action in shown if (flag := _flag(action)) != "-h"]
    return parser.description or "", rows


def _flag(action: argparse.Action) -> str:
    """One spelling: ``--max_length`` is another of ``--max-length``."""
    return next(iter(action.option_strings), action.dest)


def _section(name: str, about: str, rows: list[Row]) -> str:
    lines = [f"## `{name}`", "", about, ""]
    if rows:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {flag} | {' '.join(said.split()).replace('|', chr(92) + '|')} |" for flag, said in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
