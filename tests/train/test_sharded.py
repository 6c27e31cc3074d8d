"""Sharded runs (FSDP2 on gloo, the very path of GPUs): what an unsharded run does, in parts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from train.__main__ import main as train
from train.sharding import whole

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Sft = Callable[..., tuple[int, str]]

COMMON = "--max-length 512 --lr_scheduler_type constant --warmup_steps 0 --save_strategy steps --save_steps 2".split()
COMMON += ["--save_total_limit", "9", "--export-dtype", "float32"]


@pytest.fixture
def fsdp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Turns on, or off, what accelerate's FSDP configuration does: a run of one process is then sharded over itself."""
    here = Path.cwd()

    def turn(on: bool) -> None:
        monkeypatch.setenv("ACCELERATE_USE_FSDP", str(on).lower())
        monkeypatch.setenv("FSDP_VERSION", "2")
        if dist.is_initialized():
            dist.destroy_process_group()

    turn(True)
    yield turn
    turn(False)
    os.chdir(here)  # from where `train export` went


def losses(text: str) -> list[tuple[str, str]]:
    """Loss and gradient norm of every step."""
    return re.findall(r"loss (\S+) .*grad norm (\S+)", text)


def exported(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def distance(one: Path, other: Path) -> float:
    """The largest difference of two exports."""
    a, b = exported(one), exported(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("llama", {"tie_word_embeddings": True}), pytest.param("mixtral", {}, marks=pytest.mark.slow)],
    ids=["tied", "experts"],
)
def test_it_trains_exports_and_resumes_as_an_unsharded_run(
    kind: str, options: dict[str, Any], fsdp: Any, sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    """Checkpoints of either kind are taken up by the other, and exported without a model."""
    model = build_model(tmp_path / "model", kind, **options)
    steps = [*COMMON, "--max_steps", "4"]
    assert sft("sharded", *steps, "--expect-distributed", "fsdp", model=model) == (0, "")
    expected = losses(sft.out)  # type: ignore[attr-defined]
    checkpoint = tmp_path / "sharded" / "checkpoint-2"
    assert (checkpoint / "optimizer_0").is_dir() and not (checkpoint / "model.safetensors").exists()
    fsdp(False)
    assert sft("plain", *steps, model=model) == (0, "")
    assert losses(sft.out) == expected and len(expected) == 4  # type: ignore[attr-defined]
    assert distance(tmp_path / "sharded", tmp_path / "plain") < 1e-6

    assert train(["export", str(tmp_path / "sharded" / "checkpoint-4")]) == 0
    assert distance(tmp_path / "sharded" / "export-4", tmp_path / "sharded") == 0
    names = ("config.json", "tokenizer.json", "generation_config.json")
    assert all(
        (tmp_path / "sharded" / "export-4" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
        for name in names
    )
    for of, is_sharded in (("sharded", True), ("sharded", False), ("plain", True)) if kind == "llama" else ():
        fsdp(is_sharded)
        name = f"{of}-{is_sharded}"
        shutil.copytree(tmp_path / of / "checkpoint-2", tmp_path / name / "checkpoint-2")
        shutil.copy(tmp_path / of / "run.json", tmp_path / name)
        assert sft(name, *steps, model=model) == (0, "")
        assert "resuming from" in sft.out and losses(sft.out) == expected[2:]  # type: ignore[attr-defined]
        assert distance(tmp_path / name, tmp_path / of) < 1e-6


@pytest.mark.slow
def test_a_full_checkpoint_of_accelerate_resumes(
    fsdp: Any, sft: Sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sharded runs wrote them before: by accelerate's own functions, and the Trainer's ``model.safetensors``."""
    from accelerate.utils.fsdp_utils import save_fsdp_model, save_fsdp_optimizer
    from torch.distributed.fsdp import StateDictType

    config = SimpleNamespace(offload_to_cpu=True, rank0_only=True)
    plugin = SimpleNamespace(
        fsdp_version=2,
        state_dict_type=StateDictType.FULL_STATE_DICT,
        state_dict_config=config,
        optim_state_dict_config=0,
    )
    one = SimpleNamespace(process_index=0, num_processes=1)

    def weights(state: dict[str, torch.Tensor], checkpoint: Path) -> None:
        save_file({name: whole(tensor) for name, tensor in state.items()}, checkpoint / "model.safetensors")

    def optimizer(model: Any, moments: Any, checkpoint: Path) -> None:
        save_fsdp_model(plugin, one, model, checkpoint)
        save_fsdp_optimizer(plugin, one, moments, model, checkpoint)

    steps = [*COMMON, "--max_steps", "4"]
    with monkeypatch.context() as before:
        before.setattr("train.trainer.save_weights", weights)
        before.setattr("train.trainer.save_optimizer", optimizer)
        assert sft("out", *steps) == (0, "")
    assert (tmp_path / "out" / "checkpoint-2" / "optimizer.bin").is_file()
    expected = (tmp_path / "out" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "out" / "checkpoint-4")
    fsdp(False)
    code, error = sft("out", *steps)
    assert code == 1 and "checkpoint-2 is of a sharded run of an earlier version" in error
    fsdp(True)
    assert sft("out", *steps) == (0, "")
    assert "resuming from" in sft.out  # type: ignore[attr-defined]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_lora_is_sharded_and_resumed_too(fsdp: Any, sft: Sft, tmp_path: Path) -> None:
    steps = [*COMMON, "--lora", "r=4,dropout=0.1", "--max_steps", "4"]
    assert sft("out", *steps) == (0, "")
    checkpoint = tmp_path / "out" / "checkpoint-2"
    stored = sum(path.stat().st_size for path in (checkpoint / "pytorch_model_fsdp_0").iterdir())
    assert stored < (tmp_path / "out" / "model.safetensors").stat().st_size / 2  # the adapter alone
    shutil.copytree(checkpoint, tmp_path / "again" / "checkpoint-2")
    shutil.copy(tmp_path / "out" / "run.json", tmp_path / "again")
    fsdp(True)
    assert sft("again", *steps) == (0, "")
    fsdp(False)
    assert train(["export", str(tmp_path / "out" / "checkpoint-4")]) == 0
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        expected = (tmp_path / "out" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == expected
        assert (tmp_path / "out" / "export-4" / name).read_bytes() == expected
    first = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    assert all(tensor.abs().max() > 0 for tensor in first.values())


@pytest.mark.slow
def test_the_held_out_loss_and_the_best_weights_are_those_of_an_unsharded_run(
    fsdp: Any, sft: Sft, tmp_path: Path, build_dataset: Callable[..., Path]
) -> None:
    held = ["--eval-data", str(build_dataset(tmp_path / "held", 7, seed=5)), "--keep-best"]
    steps = ["--max_steps", "6", "--eval_strategy", "steps", "--eval_steps", "1", "--on-divergence", "ignore"]
    rising = "--learning_rate 0.3 --lr_scheduler_type constant_with_warmup --warmup_steps 6 --save_total_limit 1"
    found = []
    for is_sharded in (True, False):
        fsdp(is_sharded)
        assert sft(f"{is_sharded}", *COMMON, *held, *steps, *rising.split()) == (0, "")
        found.append(re.findall(r"held-out loss (\d\S+)", sft.out))  # type: ignore[attr-defined]
        assert re.search(r"of step [2-5]: the lowest\s+held-out loss", sft.out)  # type: ignore[attr-defined]
    assert found[0] == found[1] and len(found[0]) == 6
    assert distance(tmp_path / "True", tmp_path / "False") < 1e-6


@pytest.mark.parametrize(
    ("rate", "reason"), [("30", "the loss is"), ("1e36", "the loss is nan")], ids=["explodes", "not finite"]
)
def test_a_run_that_leaves_its_course_is_stopped(rate: str, reason: str, fsdp: Any, sft: Sft) -> None:
    code, error = sft("out", *COMMON, "--learning_rate", rate, "--max_steps", "8")
    assert code == 1 and error.startswith("train/sft.py: stopped in step ") and reason in error and "sums" in error


def test_weights_that_are_no_numbers_are_named(
    fsdp: Any, sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    model = build_model(tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    code, error = sft("out", model=model)
    assert code == 1 and "model.layers.1.mlp.up_proj.weight is not" in error


def test_a_model_that_leaks_is_refused(fsdp: Any, sft: Sft, tmp_path: Path, build_model: Callable[..., Path]) -> None:
    code, error = sft("out", model=build_model(tmp_path / "opt", "opt"))
    assert code == 1 and "OPTForCausalLM cannot train on packed samples" in error


def test_a_model_that_scales_its_logits_is_refused(
    fsdp: Any, sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    code, error = sft("out", model=build_model(tmp_path / "granite", "granite", logits_scaling=8.0))
    assert code == 1 and "changes its logits after the vocabulary projection" in error


def test_truncated_weights_are_one_line(fsdp: Any, sft: Sft, tmp_path: Path, build_model: Callable[..., Path]) -> None:
    model = build_model(tmp_path / "model")
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    code, error = sft("out", model=model)
    assert code == 1 and "cannot load --model" in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FSDP_VERSION", "1", "fsdp_version: 1"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "use --gradient_checkpointing"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false", "fsdp_reshard_after_forward"),
    ],
)
def test_a_configuration_that_would_be_ignored_is_refused(
    name: str, value: str, message: str, fsdp: Any, sft: Sft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    code, error = sft("out")
    assert code == 1 and message in error


def test_fsdp_is_the_launchers_to_ask_for(sft: Sft) -> None:
    code, error = sft("out", "--fsdp", "full_shard")
    assert code == 2 and "accelerate launch --config_file train/launch/fsdp2-8gpu.yaml" in error


@pytest.mark.slow
def test_what_the_first_rank_finds_wrong_ends_the_others_without_a_traceback(
    repo: Path, sums: Path, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    model = build_model(tmp_path / "model")
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "train.sft"]
    flags = f"--recipe demo --model {model} --data {sums} --output_dir {tmp_path / 'out'} --report_to none"
    environment = {
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
    }
    done = subprocess.run(
        [*start, *flags.split()],
        cwd=repo,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode != 0 and "[rank1]" not in done.stderr, done.stderr
    assert done.stderr.count("train/sft.py: cannot load --model") == 1


@pytest.mark.slow
def test_two_ranks_in_bf16_by_the_launch_configuration(
    repo: Path, tiny_llama: Path, sums: Path, tmp_path: Path
) -> None:
    """As users start it, with what the GPU recipes turn on."""
    start = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "train/launch/fsdp2-cpu.yaml"]
    flags = f"train/sft.py --recipe demo --model {tiny_llama} --data {sums} --output_dir {tmp_path / 'out'}"
    flags += " --bf16 true --gradient_checkpointing true --max_steps 3 --logging_steps 1 --report_to none"
    flags += " --expect-processes 2 --expect-distributed fsdp --save_strategy steps --save_steps 2"
    done = subprocess.run(
        [*start, *flags.split()],
        cwd=repo,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(losses(done.stdout)) == 3
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
