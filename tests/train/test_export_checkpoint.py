"""``python -m train export CHECKPOINT``: the model of a run that was stopped, as if it had ended there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from train.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Sft = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def back_to_this_folder() -> None:
    """The program goes to the run's own."""
    here = Path.cwd()
    yield  # type: ignore[misc]
    os.chdir(here)


@pytest.mark.parametrize("adapter", [[], ["--lora", "r=4"]], ids=["all weights", "LoRA"])
def test_it_is_what_a_run_that_ended_there_exports(adapter: list[str], sft: Sft, tmp_path: Path) -> None:
    flags = ["--max-length", "512", "--lr_scheduler_type", "constant", "--warmup_steps", "0", *adapter]
    flags += ["--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "9", "--export-dtype", "float32"]
    assert sft("short", *flags, "--max_steps", "2") == (0, "")
    assert sft("long", *flags, "--max_steps", "4") == (0, "")
    before = {path: path.read_bytes() for path in (tmp_path / "long").rglob("*") if path.is_file()}
    assert main(["export", str(tmp_path / "long" / "checkpoint-2")]) == 0
    exported, expected = tmp_path / "long" / "export-2", tmp_path / "short"
    names = [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        *(["adapter/adapter_model.safetensors"] if adapter else []),
    ]
    for name in names:
        assert (exported / name).read_bytes() == (expected / name).read_bytes(), name
    assert (exported / "README.md").is_file() and not (exported / "run.json").exists()
    assert {path: path.read_bytes() for path in before} == before  # the run itself is as it was


def test_flags_and_folder_are_the_callers(sft: Sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sft("out", "--max_steps", "1", "--save_strategy", "steps", "--save_steps", "1") == (0, "")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    flags = ["--output_dir", "mine", "--export-dtype", "float16"]
    assert main(["export", "../out/checkpoint-1", *flags]) == 0
    assert json.loads((tmp_path / "elsewhere" / "mine" / "config.json").read_text())["dtype"] == "float16"


def test_without_a_record_of_the_run_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "run.json").write_text('{"identity": {}}')  # of an older version
    assert main(["export", str(tmp_path / "checkpoint-3")]) == 1
    error = capsys.readouterr().err
    assert "--export-checkpoint" in error and len(error.splitlines()) == 1


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was moved from another machine ended in a traceback; a mistyped checkpoint was told of run.json."""
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"command": [], "folder": str(tmp_path / "gone")}))
    for name, message in {
        "checkpoint-2": f"the run was started in {tmp_path / 'gone'} (No such file or directory)",
        "checkpoint-3": f"{tmp_path / 'checkpoint-3'}: no such folder",
    }.items():
        assert main(["export", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def test_logs_in_a_pipe_tell_the_time_that_is_left(sft: Sft, tmp_path: Path) -> None:
    assert sft("out", "--max_steps", "4", "--save_strategy", "no") == (0, "")
    lines = [line for line in sft.out.splitlines() if "step " in line and "loss" in line]  # type: ignore[attr-defined]
    assert len(lines) == 4
    assert ["left" in line for line in lines] == [False, True, True, False]
