"""How runs are started: configurations that accelerate reads, one program however spelt, no silent single process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from train.arguments import parse
from train.errors import UserError
from train.lr_search import PAPER_RATES, Trial, best, read_accuracy
from train.lr_search import main as search
from train.processes import check_launch

LAUNCH = Path(__file__).resolve().parents[2] / "train" / "launch"
TIME_LIMIT_S = 240


@pytest.mark.parametrize(("flags", "precision"), [([], "bf16"), (["--bf16", "false"], "float32")])
def test_the_launchers_precision_is_the_runs(
    flags: list[str], precision: str, sft: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``accelerate launch --mixed_precision bf16`` trained in bf16, and the plan said float32."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert sft("out", "--max_steps", "1", *flags) == (0, "")
    assert f"{precision}, float32 master weights" in sft.out
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    assert sft("out")[1] == "train/sft.py: accelerate launch --mixed_precision fp8: not supported, use bf16\n"


@pytest.mark.parametrize("name", ["PARALLELISM_CONFIG", "MEGATRON_LM"])
def test_a_way_of_distribution_that_needs_the_same_packs_is_refused(
    name: str, sft: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    code, error = sft("out")
    assert code == 1 and re.fullmatch(r"train/sft.py: accelerate launch asks for .*: not supported, use .*\n", error)


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_configuration(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    name = path.stem
    expected = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED", "cpu": "MULTI_GPU"}[name.split("-")[0]]
    assert config.distributed_type == expected
    assert config.mixed_precision in ("no", "bf16")  # an unquoted no is a boolean in YAML
    assert config.num_processes == (32 if "4x8" in name else 8 if "8gpu" in name else 2)
    assert config.num_machines == (4 if "4x8" in name else 1)


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.stem)
def test_slurm_scripts_are_bash_and_name_real_files(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    named = [word for word in path.read_text().split() if word.startswith("train/")]
    assert (named or path.stem == "slurm-requeue") and all((LAUNCH.parents[1] / word).is_file() for word in named)


@pytest.mark.parametrize(
    ("ends", "sent", "code", "requeued"),
    [
        ("at once", None, 0, False),
        ("badly", None, 3, False),
        ("on TERM", "USR1", 143, True),
        ("on TERM", "TERM", 143, False),
    ],
    ids=["done", "failed", "out of time", "pre-empted"],
)
def test_a_job_that_runs_out_of_time_saves_and_is_requeued(
    ends: str, sent: str | None, code: int, requeued: bool, tmp_path: Path
) -> None:
    """``--requeue`` alone is for pre-emption: a time-out ended the job for good. The cluster is two shell scripts."""
    training = {
        "at once": "exit 0",
        "badly": "exit 3",
        "on TERM": "trap 'echo saved; exit 143' TERM; touch started; while :; do sleep 0.05; done",
    }
    commands = {"srun": f"cd {tmp_path}\n{training[ends]}\n", "scontrol": f'echo "$@" >> {tmp_path}/scontrol.log\n'}
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
    job = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm-1x8gpu.sh")],
        cwd=LAUNCH.parents[1],
        env={**environment, "RECIPE": "mistral-7b", "OUTPUT": "out"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if sent:
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.send_signal(getattr(signal, f"SIG{sent}"))
    output, _ = job.communicate(timeout=30)
    log = tmp_path / "scontrol.log"
    assert job.returncode == code and ("saved" in output) is (sent is not None)
    assert (log.read_text() if log.exists() else "") == ("requeue 42\n" if requeued else "")


def test_the_search_takes_the_best_rate_and_of_equals_the_smaller() -> None:
    trials = [Trial(1e-6, 0.1), Trial(5e-5, 0.4), Trial(1e-5, 0.4)]
    assert best(trials) == trials[2]
    assert PAPER_RATES == (1e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4)


def test_a_search_does_not_mix_with_another_ones_accuracies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--output_dir", str(tmp_path), "--rates", "1e-5", "--data", "d"]
    (tmp_path / "lr-1e-05").mkdir()
    (tmp_path / "lr-1e-05" / "trial.json").write_text('{"learning_rate": 1e-05, "accuracy": 0.5}')
    assert search([*flags, "--tasks", "one"]) == 0
    assert search([*flags, "--tasks", "two"]) == 1
    assert "holds another search (tasks differ)" in capsys.readouterr().err


def test_one_process_with_several_gpus_is_refused() -> None:
    """The Trainer would cut packed rows apart with DataParallel."""
    arguments = SimpleNamespace(world_size=1, n_gpu=2, device=SimpleNamespace(type="cuda"))
    with pytest.raises(UserError, match="one process sees 2 GPUs: start one for each"):
        check_launch(parse(["--recipe", "demo"]), arguments)


def test_accuracy_is_the_mean_over_tasks(tmp_path: Path) -> None:
    results = {"one": {"acc,graded": 0.5, "alias": "one"}, "two": {"exact_match,none": 0.25}}
    (tmp_path / "results_1.json").write_text(json.dumps({"results": results}))
    assert read_accuracy(tmp_path, ["one", "two"]) == 0.375


def sft(arguments: list[str], repo: Path, *start: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*start, *arguments],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )


ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch")


def flags(model: Path, data: Path, output_dir: Path, *more: str) -> list[str]:
    paths = ["--recipe", "demo", "--model", str(model), "--data", str(data), "--output_dir", str(output_dir)]
    return [*paths, "--report_to", "none", *more]


def test_bare_it_prints_the_plan_and_one_line_naming_the_demo_recipe(repo: Path) -> None:
    done = sft([], repo, sys.executable, "train/sft.py")
    assert done.returncode == 2
    assert "mistral-7b" in done.stdout and "64 per optimizer step" in done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and "--recipe demo" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [(*ACCELERATE, "train/sft.py"), (*ACCELERATE, "-m", "train.sft")],
    ids=["accelerate launch train/sft.py", "accelerate launch -m train.sft"],
)
def test_it_trains_however_it_is_started(
    start: tuple[str, ...], repo: Path, tiny_llama: Path, sums: Path, tmp_path: Path
) -> None:
    done = sft(flags(tiny_llama, sums, tmp_path, "--max_steps", "2"), repo, *start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attention      packed_sdpa" in done.stdout
    assert (tmp_path / "model.safetensors").is_file()
    assert (tmp_path / "README.md").read_text().startswith("---\n")


@pytest.mark.slow
def test_a_silent_single_process_fails(repo: Path, tiny_llama: Path, sums: Path, tmp_path: Path) -> None:
    start = (*ACCELERATE, "--cpu", "--num_processes", "2", "train/sft.py")
    done = sft(flags(tiny_llama, sums, tmp_path, "--expect-processes", "2"), repo, *start)
    assert done.returncode != 0
    assert "train/sft.py: 2 processes were expected, 1 run" in done.stderr


def one_step_of_plain_descent(model: Path, data: Path, output_dir: Path) -> list[str]:
    """One step of SGD at rate 1 without clipping: the weights move by exactly the gradient."""
    more = (
        "--optim sgd --learning_rate 1.0 --lr_scheduler_type constant --warmup_steps 0 --max_grad_norm 0 --max_steps 1"
    )
    more += " --global-batch 4 --max-length 700 --logging_steps 1 --export-dtype float32 --save_strategy no"
    return flags(model, data, output_dir, *more.split())


def exported(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [[], ["--lora", "r=4"]], ids=["all weights", "LoRA"])
def test_two_ranks_of_two_micro_batches_equal_one_process(
    adapter: list[str], repo: Path, build_model: Any, build_dataset: Any, tmp_path: Path
) -> None:
    """With lopsided packs: loss and gradients to 1e-6. Started by the CPU configuration, so that it is run too."""
    model, data = build_model(tmp_path / "model"), build_dataset(tmp_path / "data", rows=9, seed=1)
    with (data / "train.jsonl").open("a") as file:
        file.write(json.dumps({"query": "Long?", "response": "so " * 150}) + "\n")
    one = one_step_of_plain_descent(model, data, tmp_path / "one")
    two = one_step_of_plain_descent(model, data, tmp_path / "two")
    alone = sft([*one, *adapter, "--per_device_train_batch_size", "4"], repo, sys.executable, "-m", "train.sft")
    spread = sft(
        [
            *two,
            *adapter,
            "--per_device_train_batch_size",
            "1",
            "--expect-processes",
            "2",
            "--expect-distributed",
            "ddp",
        ],
        repo,
        *(*ACCELERATE, "--config_file", str(LAUNCH / "cpu.yaml"), "train/sft.py"),
    )
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert "2 processes x 2 micro-batches x 1" in spread.stdout
    weights, others = exported(tmp_path / "one"), exported(tmp_path / "two")
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-6
    losses = [next(w for w in run.stdout.split("loss ")[1:]).split()[0] for run in (alone, spread)]
    assert losses[0] == losses[1]


SHARDED = """
import sys, torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM
from train.attention import register
from train.loss import install

register()
dist.init_process_group("gloo")
mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))

def build():
    torch.manual_seed(0)
    sizes = dict(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2)
    config = LlamaConfig(**sizes)
    config._attn_implementation = "packed_sdpa"
    model = LlamaForCausalLM(config)
    install(model)
    return model

def row(lengths, seed):
    ids = torch.randint(3, 97, (1, sum(lengths)), generator=torch.Generator().manual_seed(seed))
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    return {"input_ids": ids, "position_ids": positions, "labels": ids.masked_fill(positions < 2, -100)}

rows = [row([40, 3], 1), row([7], 2)]
items = sum(int((r["labels"][:, 1:] != -100).sum()) for r in rows)
alone = build()
whole = sum(alone(**r, num_items_in_batch=items).loss for r in rows)
whole.backward()
model = build()
for layer in model.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
loss = model(**rows[dist.get_rank()], num_items_in_batch=items).loss
(loss * dist.get_world_size()).backward()
total = loss.detach().clone()
dist.all_reduce(total)
worst = max(float((p.grad.full_tensor() - q.grad).abs().max()) for p, q in zip(model.parameters(), alone.parameters()))
if dist.get_rank() == 0:
    print("loss", abs(float(total) - float(whole)), "gradient", worst)
assert abs(float(total) - float(whole)) < 1e-6 and worst < 1e-6
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_native_fully_shard_equals_one_process(repo: Path, tmp_path: Path) -> None:
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    start = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = sft([str(script)], repo, *start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loss" in done.stdout


def test_every_configuration_is_in_the_documents_table(repo: Path) -> None:
    text = (repo / "docs" / "training.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in text for path in LAUNCH.iterdir())
    assert yaml.safe_load((LAUNCH / "cpu.yaml").read_text())["num_processes"] == 2
