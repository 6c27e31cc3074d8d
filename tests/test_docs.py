"""Documentation that is tested: every command shown exists, with every option that is shown."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks, comments and ``NAME=value`` prefixes left out."""
    for block in re.findall(r"```(?:bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


def cases(program: str) -> list[list[str]]:
    return [words for page in PAGES for words in shown_commands(page) if words[0] == program]


def flags(words: list[str]) -> list[str]:
    return [word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]


def click_command(program: str) -> click.Command:
    if program == "dart-synth":
        from synth.cli import command
    elif program == "dart-grade":
        from dart_tasks.cli import dart_grade as command
    else:
        from dart_tasks.report.cli import command
    return command


@pytest.mark.parametrize("program", ["dart-synth", "dart-grade", "dart-report"])
def test_options_of_our_commands_exist(program: str) -> None:
    assert cases(program), f"no example of {program} is shown"
    for words in cases(program):
        command = click_command(program)
        if isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
            command = command.commands[words[1]]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        if isinstance(command, click.Group):
            known |= {name for sub in command.commands.values() for p in sub.params for name in p.opts}
        unknown = [flag for flag in flags(words) if flag not in known | {"--help"}]
        assert not unknown, f"{shlex.join(words)}: {unknown}"


def test_options_of_training_exist() -> None:
    pytest.importorskip("torch")
    shown = [words[words.index("train/sft.py") + 1 :] for words in cases("accelerate") if "train/sft.py" in words]
    assert shown
    help_text = subprocess.run(
        [sys.executable, "train/sft.py", "--help-all"], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout
    for words in shown:
        assert not [flag for flag in flags(words) if flag not in help_text], shlex.join(words)


def test_tasks_shown_exist() -> None:
    known = {
        document.get("group", document.get("task"))
        for folder in ("task_configs", "examples")
        for path in (REPO / folder).rglob("*.yaml")
        for document in [yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)]
    }
    shown = [words[words.index("--tasks") + 1] for words in cases("lm_eval") if "--tasks" in words]
    assert shown
    assert {name for names in shown for name in names.split(",")} <= known


def test_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {words[1] for words in cases("make")} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_option_is_on_the_page_of_commands() -> None:
    pytest.importorskip("torch")
    written = runpy.run_path(str(REPO / "docs" / "write_commands.py"))["page"]()
    assert (REPO / "docs" / "commands.md").read_text(encoding="utf-8") == written, "python docs/write_commands.py"
