"""Commands of docs/scaling.md are ones that dart-synth and bash understand; option mistakes end in one line."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from synth.cli import command


def blocks(repo: Path) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (repo / "docs" / "scaling.md").read_text(encoding="utf-8"), re.DOTALL)


def test_every_shell_block_parses(repo: Path) -> None:
    assert len(blocks(repo)) >= 6
    for block in blocks(repo):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_command_resolves_to_a_plan(repo: Path) -> None:
    commands = []
    for block in blocks(repo):
        text = block.replace("\\\n", " ").replace('"${endpoints[@]}"', "--endpoint http://node1:8000/v1")
        text = text.replace("$model", "deepseek-ai/deepseek-math-7b-rl").replace("$head", "node1")
        commands += [
            line[line.index("dart-synth") :] for line in text.splitlines() if re.search(r"dart-synth\s+--", line)
        ]
    assert len(commands) >= 6
    for line in commands:
        result = CliRunner().invoke(command, [*shlex.split(line)[1:], "--dry-run"])
        assert result.exit_code == 0, f"{line}: {result.output}"
        assert re.search(r"^engine +(servers at|\d+ vLLM replicas on)", result.output, re.MULTILINE), result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--engine openai", "--engine openai needs --endpoint URL"),
        ("--endpoint http://x", "--endpoint goes with --engine openai"),
        ("--replicas 2", "--replicas goes with --engine ray"),
        ("--engine ray --request-timeout 5", "--request-timeout goes with --engine openai"),
        ("--engine openai --endpoint http://x --replica-gpus 1", "--replica-gpus goes with --engine ray"),
        ("--engine ray --replica-resource A100", "--replica-resource takes NAME=AMOUNT"),
        ("--engine ray --replicas 0", "0 is not in the range"),
        ("--engine slurm", "'slurm' is not one of"),
    ],
)
def test_options_that_do_not_go_together(arguments: str, message: str) -> None:
    result = CliRunner().invoke(command, [*arguments.split(), "--dry-run"])
    assert result.exit_code == 2
    assert message in result.output


def test_a_preset_brings_no_vllm_arguments_into_requests() -> None:
    result = CliRunner().invoke(command, "--preset demo --engine openai --endpoint http://x --dry-run".split())
    assert "enforce_eager" not in result.output
