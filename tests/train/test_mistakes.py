"""Ordinary mistakes: one line each that says what is wrong, exit code 2 for wrong usage and 1 for what fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from train.arguments import parse
from train.errors import UsageError
from train.sft import main

RECIPE = "model: embedded\ndata: d.jsonl\nglobal_batch: 4\nmax_length: 1024\ngpus: 1\ndescription: mine\n"


def one_line(error: str) -> str:
    assert len(error.strip().splitlines()) == 1 and error.startswith("train/sft.py: "), error
    return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--max_steps 0", "--max_steps must be at least 1, or -1 for whole epochs (got 0)"),
        ("--max_steps -5", "--max_steps must be at least 1"),
        ("--num_train_epochs 0", "--num_train_epochs must be above 0 (got 0)"),
        ("--learning_rate -1e-5", "--learning_rate must be above 0 (got -1e-05)"),
        ("--learning_rate=-0.1", "--learning_rate must be above 0 (got -0.1)"),
        ("--learning_rate nan", "--learning_rate must be above 0 (got nan)"),
        ("--learning_rate inf", "--learning_rate must be above 0 (got inf)"),
        ("--weight_decay -1", "--weight_decay must be 0 or more"),
        ("--warmup_steps -3", "--warmup_steps must be 0 or more"),
        ("--seed -1", "--seed must be 0 or more"),
        ("--adam_beta1 1.5", "--adam_beta1 must be from 0 to below 1"),
        ("--save_strategy best", "--save_strategy best: --keep-best keeps the checkpoint of the lowest held-out loss"),
        ("--save_steps 0", "--save_steps must be above 0"),
        ("--per_device_train_batch_size 0", "--per_device_train_batch_size must be above 0"),
        ("--eval-split 0.1 --eval_steps -3", "--eval_steps must be above 0 (got -3)"),
        ("--eval-split 0.1 --eval_strategy no", "--eval_strategy no: the held-out loss would never be measured"),
        ("--eval-data x.jsonl,weight=2", "--eval-data has no weight"),
        ("--attention flash", "argument --attention: invalid choice: 'flash' (choose from"),
        ("--lora_r 8", "unknown flag --lora_r"),
        ("--lora targets=all-linear+q_proj", "targets are all-linear, or names as q_proj+v_proj, not both"),
        ("--lora r=1.5", "r is a whole number, alpha and dropout are numbers"),
        ("--data ,weight=2", "--data needs a file, a folder or a data set of the hub"),
        ("--lora r=8,targets=q_proj,v_proj", "(several targets: q_proj+v_proj)"),
        ("--data nowhere.jsonl,split", "--data nowhere.jsonl,split: no such file or folder"),
    ],
)
def test_a_flag_that_makes_no_sense_is_wrong_usage(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate below 0 trained uphill, and no steps at all were a success."""
    assert main(["--recipe", "demo", *flags.split()]) == 2
    error = one_line(capsys.readouterr().err)
    assert message in error and "did you mean --local_rank" not in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECIPE + "training: {learning_rate: fast}\n", "training: argument --learning_rate/--learning-rate: invalid"),
        (RECIPE + "training: {learning_rate: [1, 2]}\n", "training: "),
        (RECIPE + "training: {learning_rat: 1}\n", "training: unknown flag --learning_rat: did you mean"),
        (RECIPE + "training: {learning_rate: -1e-3}\n", "--learning_rate must be above 0"),
        (RECIPE + "training: 3\n", "recipe mine.yaml: training is 3, not names and values"),
        (RECIPE.replace("1024", "long"), "recipe mine.yaml: max_length is 'long', not a whole number"),
        (RECIPE.replace("1024", "10.5"), "recipe mine.yaml: max_length is 10.5, not a whole number"),
        (RECIPE.replace("model: embedded\n", ""), "recipe mine.yaml: it has no model"),
        ("model: embedded\n", "recipe mine.yaml: it has no data, global_batch, max_length, gpus"),
        (RECIPE + "training: {a: [}\n", "recipe mine.yaml is not YAML in UTF-8: "),
        ("", "recipe mine.yaml has no keys"),
        ("- a\n", "recipe mine.yaml has no keys"),
        (RECIPE + "3: x\n", "recipe mine.yaml: unknown keys 3"),
        ("# caf\xe9\n", "recipe mine.yaml is not YAML in UTF-8: "),
    ],
)
def test_a_malformed_recipe_is_wrong_usage(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    assert main(["--recipe", str(path)]) == 2
    assert message in one_line(capsys.readouterr().err)


def test_a_recipe_needs_no_description(sft: Any, tmp_path: Path) -> None:
    """It said: missing 1 required positional argument."""
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("description: mine\n", ""))
    assert sft("out", "--recipe", str(tmp_path / "mine.yaml"), "--dry-run") == (0, "")
    assert re.search("recipe +mine *\n", sft.out)


@pytest.mark.parametrize(
    "training",
    [
        "training:\n",
        "training:\n  learning_rate: 1e-3\n  num_train_epochs: '2'\n",
        "training: {learning_rate: [1e-3], num_train_epochs: [2]}\n",
    ],
)
def test_numbers_that_yaml_takes_for_texts_are_numbers(training: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("4\n", "'4'\n", 1) + training)
    options = parse(["--recipe", str(tmp_path / "mine.yaml")])
    assert options.global_batch == 4
    assert options.training == ({} if training == "training:\n" else {"learning_rate": 1e-3, "num_train_epochs": 2})


def damaged_model(folder: Path, whole: Path, damage: str) -> Path:
    shutil.copytree(whole, folder)
    weights = folder / "model.safetensors"
    if damage == "truncated":
        os.truncate(weights, weights.stat().st_size // 2)
    else:
        from safetensors.torch import load_file, save_file

        state = load_file(weights)
        state["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
        save_file(state, weights, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "cannot load --model"),
        ("nan", "its logits are not finite (model.layers.1.mlp.up_proj.weight is not)"),
    ],
)
def test_weights_that_are_damaged_are_named(
    damage: str, message: str, tiny_llama: Path, sft: Any, tmp_path: Path
) -> None:
    """What was not a number was blamed on the neighbour's tokens."""
    code, error = sft("out", model=damaged_model(tmp_path / "model", tiny_llama, damage))
    assert code == 1 and message in one_line(error) and "neighbour" not in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b"", "d.jsonl is empty"),
        ("d.jsonl", b"\n\n", "d.jsonl has no rows"),
        ("d.jsonl", b'{"query": "1+1?", "response": "caf\xe9"}\n', "d.jsonl is not UTF-8"),
        ("d.csv", b"query,response\n1+1?,caf\xe9\n", "can't decode byte 0xe9"),
        ("d.jsonl", b"{", "cannot load --data"),
    ],
)
def test_data_that_cannot_be_read_is_named(name: str, content: bytes, message: str, sft: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    code, error = sft("out", data=tmp_path / name)
    assert code == 1 and message in one_line(error) and "StopIteration" not in error


def test_a_mistyped_folder_is_named_with_the_one_that_is_there(
    tiny_llama: Path, sums: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "no GPU here"."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    mistyped = sums.parent / f"{sums.name[:-1]}x"
    assert main(["--recipe", "demo", "--model", str(tiny_llama), "--data", str(mistyped)]) == 2
    error = one_line(capsys.readouterr().err)
    assert f"--data {mistyped}: no such file or folder (did you mean {sums}?)" in error


@pytest.mark.parametrize("flag", ["--data", "--eval-data", "--model"])
@pytest.mark.parametrize("name", ["./nowhere", "no/such/folder", "nowhere.jsonl", "/nowhere"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(flag: str, name: str, sft: Any) -> None:
    """A dry run said: couldn't reach it on the Hub, after half a minute."""
    code, error = sft("out", flag, name, "--dry-run")
    assert (code, one_line(error)) == (2, f"train/sft.py: {flag} {name}: no such file or folder\n")


def test_a_name_that_may_be_of_the_hub_is_said_to_be_neither(sft: Any, sums: Path, tmp_path: Path) -> None:
    code, error = sft("out", "--data", "nowhere/sums", "--dry-run")
    assert (
        code == 1 and "cannot load --data nowhere/sums (split train): no such file or folder, and of the hub: " in error
    )


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ("--cache-dir {file}", 1, "cannot write to --cache-dir {file}: File exists"),
        ("--model {file}", 2, "--model {file} is no folder, and without a GPU nothing is downloaded"),
        ("--data {data},weight=0.001", 1, "the weights of --data leave no sample in an epoch"),
        ("--attention a/kernel", 1, "--attention a/kernel cannot be used here: FlashAttention has no float32"),
    ],
)
def test_what_is_wrong_is_what_is_named(flags: str, code: int, message: str, sft: Any, tmp_path: Path) -> None:
    """The data, a missing folder of the same name, a division by zero and StopIteration were."""
    (tmp_path / "file").write_text("")
    (tmp_path / "data.jsonl").write_text('{"query": "1+1?", "response": "2"}\n')
    paths = {"file": tmp_path / "file", "data": tmp_path / "data.jsonl"}
    name, value = flags.format(**paths).split()
    given = {"model": Path(value)} if name == "--model" else {"data": value} if name == "--data" else {}
    found, error = sft("out", *([] if given else [name, value]), **given)
    assert found == code and message.format(**paths) in one_line(error)


@pytest.mark.parametrize(
    "flags",
    ["--lr_scheduler_type cosine_with_min_lr", '--lr_scheduler_kwargs {"x":1}', "--optim lomo", "--optim_args lr"],
)
def test_an_optimizer_or_a_schedule_that_cannot_be_is_one_line(flags: str, sft: Any) -> None:
    code, error = sft("out", *flags.split())
    assert code == 1 and " cannot be used so: " in one_line(error)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_record_of_a_run_is_one_line(content: str, sft: Any, tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "out" / "run.json").write_text(content)
    code, error = sft("out")
    assert code == 1 and "run.json is damaged: choose another --output_dir" in one_line(error)


def test_a_model_whose_generation_config_cannot_be_saved_trains(tiny_llama: Path, sft: Any, tmp_path: Path) -> None:
    """Many have a temperature without do_sample. The first checkpoint ended the run in a traceback."""
    model = shutil.copytree(tiny_llama, tmp_path / "model")
    (model / "generation_config.json").write_text('{"temperature": 0.7, "do_sample": false}')
    assert sft("out", "--max_steps", "1", model=model) == (0, "")
    assert (tmp_path / "out" / "checkpoint-1").is_dir() and (tmp_path / "out" / "config.json").is_file()


def test_a_reporter_that_is_not_installed_is_named(sft: Any) -> None:
    code, error = sft("out", "--report_to", "comet_ml")
    assert code == 1 and "--report_to comet_ml: it is not installed here (pip install comet_ml)" in one_line(error)


@pytest.mark.parametrize("folder", ["file/out", "/dev/null/out"])
def test_an_output_folder_that_cannot_be_is_noticed_first(folder: str, sft: Any, tmp_path: Path) -> None:
    """It was noticed when the model had been loaded and checked."""
    (tmp_path / "file").write_text("")
    code, error = sft(folder)
    assert code == 1 and "cannot write to --output_dir" in one_line(error)
    assert "plan" not in sft.out


def test_special_tokens_and_empty_responses_are_left_out_and_counted(sft: Any, tmp_path: Path) -> None:
    """Those other than BOS and EOS became control tokens in silence."""
    pairs = [("1+1?", "2"), ("<pad>?", "2"), ("q", "<pad>"), ("q", ""), ("q", " \n")]
    lines = [json.dumps({"query": query, "response": response}) + "\n" for query, response in pairs]
    (tmp_path / "d.jsonl").write_text("".join(lines * 3))
    assert sft("out", "--max_steps", "1", data=tmp_path / "d.jsonl") == (0, "")
    assert "3 (left out: 6 with an empty response, 6 that spell a special token)" in sft.out
    assert sft("out", "--dry-run", "--global-batch", "1", data=tmp_path / "d.jsonl") == (0, "")
    assert "3 (counted; left out: 6 with an empty response, 6 that" in sft.out


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_where_there_is_room(
    repo: Path, tiny_llama: Path, sums: Path, tmp_path: Path, build_dataset: Callable[..., Path]
) -> None:
    """72 lines never said so. The disk is one of three megabytes, made for this process alone."""
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size=3m tmpfs {tmp_path / 'disk'}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    flags = (
        f"--recipe demo --model {tiny_llama} --data {sums} --output_dir {tmp_path / 'disk' / 'out'} --report_to none"
    )
    saving = "--max_steps 4 --save_strategy steps --save_steps 1 --save_total_limit 9"
    run = f"{sys.executable} -m train.sft {flags} {saving} >/dev/null; echo code $?; ls {tmp_path / 'disk' / 'out'}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {run}"], cwd=repo, capture_output=True, text=True, check=False
    )
    assert "no space left on a disk" in one_line(done.stderr)
    assert "code 1" in done.stdout and "checkpoint-1" in done.stdout


def test_usage_errors_are_user_errors_too() -> None:
    with pytest.raises(UsageError, match="save-minutes"):
        parse(["--save-minutes", "nan"])
