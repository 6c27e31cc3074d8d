"""Whole runs, in this process: what stops them, in one line, and what must not change their weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dart_tasks import embedded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about how it was built

Sft = Any


@pytest.mark.parametrize(
    ("rate", "reason"), [("1e36", "the loss is nan"), ("30", "the loss is")], ids=["not a number", "explodes"]
)
def test_a_diverging_run_stops_with_the_samples_by_name(rate: str, reason: str, sft: Sft, tmp_path: Path) -> None:
    steps = ["--max_steps", "8", "--lr_scheduler_type", "constant", "--warmup_steps", "0", "--save_strategy", "no"]
    code, error = sft("out", "--learning_rate", rate, *steps, "--max-length", "512")
    assert code == 1
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("train/sft.py: stopped in step ") and reason in error
    named = error.split("Samples of the micro-batch with the highest loss: ")[1]
    assert "sums" in named and ":" in named
    assert not (tmp_path / "out" / "model.safetensors").exists()


EXPLODING = "--max_steps 8 --lr_scheduler_type constant --warmup_steps 0 --save_strategy no --max-length 512".split()


@pytest.mark.parametrize(("policy", "warned"), [("warn", True), ("ignore", False)])
def test_a_loss_that_explodes_is_a_warning_or_nothing_where_that_is_asked_for(
    policy: str, warned: bool, sft: Sft
) -> None:
    assert sft("out", "--learning_rate", "30", *EXPLODING, "--on-divergence", policy) == (0, "")
    assert ("warning: step 3: the loss is " in sft.out) is warned


@pytest.mark.parametrize("policy", ["warn", "ignore"])
def test_what_is_not_finite_stops_the_run_all_the_same(policy: str, sft: Sft) -> None:
    code, error = sft("out", "--learning_rate", "1e36", *EXPLODING, "--on-divergence", policy)
    assert code == 1 and "the loss is nan" in error


def test_a_gradient_that_is_no_number_stops_before_it_is_applied(sft: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is finite still: the last layer's backward pass is made to overflow."""
    import train.loss

    plain = train.loss.chunked_cross_entropy

    def overflowing(*arguments: Any) -> torch.Tensor:
        loss = plain(*arguments)
        if loss.requires_grad:  # not so in the probe
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(train.loss, "chunked_cross_entropy", overflowing)
    code, error = sft("out", *EXPLODING)
    assert code == 1 and "stopped in step 1: the gradient's norm is" in error and "sums" in error


def answers(path: Path, n: int, odd: int | None = None) -> Path:
    """``n`` questions answered "yes", but for one odd label."""
    rows = [{"query": f"Is {i} smaller than {i + 1}?", "response": "ZZZ" if i == odd else "yes"} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_on_labels_that_its_model_did_not_expect_is_healthy(sft: Sft, tmp_path: Path) -> None:
    """It was stopped in step 1, where its loss of 19 was worse than guessing."""
    data = answers(tmp_path / "yes.jsonl", 100)
    assert sft("out", "--save_strategy", "no", model=embedded.BASE_MODEL_DIR, data=data) == (0, "")


def test_one_odd_label_does_not_stop_a_run(sft: Sft, tmp_path: Path) -> None:
    """It was stopped in step 13, over a micro-batch of four target tokens."""
    data = answers(tmp_path / "yes.jsonl", 174, odd=99)
    flags = "--learning_rate 1e-2 --warmup_steps 0 --num_train_epochs 1 --max-length 250 --data_seed 2"
    few = "--per_device_train_batch_size 1 --save_strategy no"
    assert sft("out", *flags.split(), *few.split(), data=data) == (0, "")


def test_a_checkpoint_of_another_run_is_refused(sft: Sft, tmp_path: Path) -> None:
    saving = ["--max_steps", "1", "--save_strategy", "steps", "--save_steps", "1"]
    assert sft("one", *saving) == (0, "")
    code, error = sft(
        "two", *saving, "--learning_rate", "1e-4", "--resume_from_checkpoint", str(tmp_path / "one" / "checkpoint-1")
    )
    assert code == 1
    assert "holds the checkpoints of another run (learning_rate differ; learning_rate was 0.001, is 0.0001)" in error
    assert not (tmp_path / "two").exists()


def test_a_mixture_of_experts_trains(sft: Sft, tmp_path: Path, build_model: Callable[..., Path]) -> None:
    model = build_model(tmp_path / "mixtral", "mixtral")
    assert sft("out", "--max_steps", "2", "--save_strategy", "no", model=model) == (0, "")


def test_an_auxiliary_loss_that_would_be_left_out_is_refused(
    sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    """It was left out in silence."""
    model = build_model(tmp_path / "mixtral", "mixtral", output_router_logits=True)
    code, error = sft("out", model=model)
    assert code == 1 and "asks for the routers' auxiliary loss (output_router_logits)" in error


def test_a_model_that_only_plain_attention_trains_exactly_is_told_so_and_trains(
    sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    model = build_model(tmp_path / "nemotron", "nemotron")
    code, error = sft("out", "--max_steps", "1", model=model)
    assert code == 1
    assert "with packed_sdpa attention: " in error and "; it is exact with --attention sdpa" in error
    assert sft("out", "--max_steps", "1", "--attention", "sdpa", model=model) == (0, "")


SCALED = {
    "granite": {"logits_scaling": 8.0},
    "cohere": {},
    "gemma2": {"head_dim": 32, "final_logit_softcapping": 1.0},
}


@pytest.mark.parametrize("kind", SCALED)
def test_scaled_logits_are_found_on_the_cpu_also_where_flash_attention_will_train(
    kind: str, sft: Sft, tmp_path: Path, build_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check was left out with FlashAttention: gradients would have been off by 7 to 20 times."""
    monkeypatch.setattr("train.attention.trouble", lambda *_: "")  # as on a GPU with a kernel that passes its probe
    model = build_model(tmp_path / kind, kind, **SCALED[kind])
    code, error = sft("out", "--attention", "flash_attention_2", model=model)
    assert code == 1 and "changes its logits after the vocabulary projection" in error


def test_flash_attention_that_is_not_there_is_one_line(sft: Sft) -> None:
    if importlib.util.find_spec("flash_attn"):
        pytest.skip("flash-attn is installed here")
    code, error = sft("out", "--attention", "flash_attention_2")
    assert code == 1 and "--attention flash_attention_2 cannot be used here: flash_attn is not" in error


def test_a_checkpoint_is_saved_after_so_many_minutes(sft: Sft, tmp_path: Path) -> None:
    """A recipe of one epoch saved nothing before its end."""
    flags = ["--num_train_epochs", "1", "--max-length", "512", "--save_total_limit", "9"]
    assert sft("timed", *flags, "--save-minutes", "1e-9") == (0, "")
    assert "checkpoints    every epoch and every 1e-09 minutes" in sft.out
    steps = {int(path.name.split("-")[1]) for path in (tmp_path / "timed").glob("checkpoint-*")}
    assert len(steps) > 2 and steps == set(range(1, max(steps) + 1))
    assert sft("default", *flags) == (0, "")
    assert "every epoch and every 15 minutes" in sft.out
    assert [path.name for path in (tmp_path / "default").glob("checkpoint-*")] == [f"checkpoint-{max(steps)}"]


def test_a_finished_run_started_again_changes_nothing(sft: Sft, tmp_path: Path) -> None:
    """Resumed at its last step, in the middle of an epoch, the Trainer took one step more."""
    flags = ["--max_steps", "2", "--max-length", "512", "--global-batch", "2", "--lr_scheduler_type", "constant"]
    flags += ["--save_strategy", "steps", "--save_steps", "2", "--export-dtype", "float32"]
    assert sft("out", *flags) == (0, "")
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert sft("out", *flags) == (0, "")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-2"]


@pytest.mark.slow  # its worker processes take a minute to start
def test_loader_workers_change_nothing_also_after_a_resume(sft: Sft, tmp_path: Path) -> None:
    """Two epochs with dropout; with persistent workers, iterators are created in other places."""
    flags = ["--num_train_epochs", "2", "--max-length", "512", "--per_device_train_batch_size", "1"]
    flags += ["--save_strategy", "steps", "--save_steps", "3", "--save_total_limit", "9", "--export-dtype", "float32"]
    workers = ["--dataloader_num_workers", "1", "--dataloader_persistent_workers"]
    assert sft("none", *flags) == (0, "")
    assert sft("some", *flags, *workers) == (0, "")
    expected = (tmp_path / "none" / "model.safetensors").read_bytes()
    assert (tmp_path / "some" / "model.safetensors").read_bytes() == expected
    for later in set((tmp_path / "some").glob("checkpoint-*")) - {tmp_path / "some" / "checkpoint-3"}:
        shutil.rmtree(later)
    assert sft("some", *flags, *workers) == (0, "")
    assert (tmp_path / "some" / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a results file of lm-eval (FileNotFoundError)"),
        ("{", "is not a results file of lm-eval (JSONDecodeError)"),
        ("[]", "is not a results file of lm-eval (TypeError)"),
        (json.dumps({"results": {"task": {"perplexity": 3.0}}}), "holds no accuracy (acc or exact_match) of any task"),
        (json.dumps({"results": {"task": 3}}), "is not a results file of lm-eval (TypeError)"),
    ],
    ids=["missing", "no JSON", "a list", "no accuracy", "a number"],
)
def test_scores_are_read_before_training(content: str | None, message: str, sft: Sft, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content)
    code, error = sft("out", "--scores", str(path))
    assert code == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_licence_that_drops_inherited_terms_is_refused_before_training(
    sft: Sft, tmp_path: Path, build_model: Callable[..., Path], build_dataset: Callable[..., Path]
) -> None:
    model, data = build_model(tmp_path / "model"), build_dataset(tmp_path / "data", rows=8)
    (model / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")
    (data / "README.md").write_text("---\nlicense: mit\n---\n")
    code, error = sft("out", "--licence", "mit", model=model, data=data)
    assert code == 1
    assert "--licence" in error and "would drop" in error
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_one_line(sft: Sft, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    code, error = sft("out")
    assert code == 1
    assert "cannot write to --output_dir" in error


def test_long_samples_train_in_packs_of_their_own_size_and_resume_bitwise(sft: Sft, tmp_path: Path) -> None:
    """One sample is six times as long as packs are. The loss is the same, in float64, as in packs of one size."""
    from safetensors.torch import load_file

    rows = [{"query": f"Is {i} odd?", "response": "yes " * (340 if i == 7 else 5)} for i in range(40)]
    data = tmp_path / "long.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--max-length", "2048", "--num_train_epochs", "2", "--export-dtype", "float32", "--max_grad_norm", "0"]
    saving = ["--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "9"]
    assert sft("one", *flags, *saving, "--pack-length", "250", "--global-batch", "4", data=data) == (0, "")
    assert "of up to 250 tokens, 1 of up to 2,000 tokens" in sft.out
    first = sorted((tmp_path / "one").glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))[0]
    shutil.copytree(first, tmp_path / "two" / first.name)
    shutil.copy(tmp_path / "one" / "run.json", tmp_path / "two" / "run.json")
    assert sft("two", *flags, *saving, "--pack-length", "250", "--global-batch", "4", data=data) == (0, "")
    assert "resuming from" in sft.out
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_step_has_the_same_loss_whatever_its_packs_are(
    sft: Sft, tmp_path: Path, build_model: Callable[..., Path]
) -> None:
    model = build_model(tmp_path / "model")
    rows = [{"query": f"Is {i} odd?", "response": "yes " * (200 if i == 7 else 5)} for i in range(8)]
    data = tmp_path / "long.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    losses = []
    for pack_length in ("300", "1024"):
        flags = ["--max_steps", "1", "--max-length", "1024", "--pack-length", pack_length, "--save_strategy", "no"]
        assert sft(pack_length, *flags, "--global-batch", "8", model=model, data=data)[0] == 0
        losses += [line.split("loss ")[1].split()[0] for line in sft.out.splitlines() if "step 1/1" in line]
    assert len(losses) == 2 and losses[0] == losses[1]
