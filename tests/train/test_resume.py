"""kill -9 and SIGTERM at any moment: the resumed run ends with bitwise the weights of one that was never killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from train.checkpoints import problem

pytestmark = pytest.mark.slow

SHARDED = "sharded"
EPOCHS, STEPS_PER_EPOCH, TIME_LIMIT_S = 2, 8, 240


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, build_dataset: Callable[..., Path]) -> Path:
    """Enough samples for eight steps an epoch."""
    return build_dataset(tmp_path_factory.mktemp("kill-data"), rows=260, seed=3)


def command(processes: int, model: Path, data: Path, output_dir: Path) -> list[str]:
    """The run: two epochs, a checkpoint every third step, dropout on (it is in the model's configuration)."""
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", f"--nproc_per_node={processes}", "--standalone", "-m"]
    flags = f"--recipe demo --model {model} --data {data} --output_dir {output_dir} --expect-processes {processes}"
    flags += " --global-batch 8 --per_device_train_batch_size 1"
    steps = f"--num_train_epochs {EPOCHS} --logging_steps 1 --save_strategy steps --save_steps 3 --save_total_limit 2"
    return [*start, "train.sft", *flags.split(), *steps.split(), "--report_to", "none"]


def environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def start(arguments: list[str], repo: Path, log: Path) -> subprocess.Popen[bytes]:
    """A run. ``SHARDED`` stands before the command of one that is to be, as ``accelerate launch`` would have it."""
    sharded = arguments[0] == SHARDED
    with log.open("ab") as file:
        return subprocess.Popen(
            arguments[sharded:],
            cwd=repo,
            env={**environment(), "ACCELERATE_USE_FSDP": str(sharded).lower(), "FSDP_VERSION": "2"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """kill -9 for the launcher and every rank (torchrun starts each in a session of its own)."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(ppid) for pid, ppid in (line.split() for line in listing.splitlines()[1:])}
    doomed = [process.pid]
    for pid in doomed:
        doomed += [child for child, parent in parents.items() if parent == pid]
    for pid in doomed:
        kill(pid)
    process.wait(timeout=30)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def finish(arguments: list[str], repo: Path, log: Path) -> None:
    process = start(arguments, repo, log)
    try:
        assert process.wait(timeout=TIME_LIMIT_S) == 0, log.read_text()[-4000:]
    finally:
        kill_group(process)


def run_until(reached: Callable[[], bool], arguments: list[str], repo: Path, log: Path) -> None:
    """Start the run and kill -9 it as soon as ``reached``."""
    process = start(arguments, repo, log)
    deadline = time.monotonic() + TIME_LIMIT_S
    try:
        while not reached():
            assert process.poll() is None, f"ended before it was killed:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.0005)
    finally:
        kill_group(process)


def weights(output_dir: Path) -> str:
    return hashlib.sha256((output_dir / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "processes", "adapter"),
    [([], 1, []), ([], 2, []), ([], 2, ["--lora", "r=4,dropout=0.1"]), ([SHARDED], 1, []), ([SHARDED], 2, [])],
    ids=["1", "2", "2, LoRA", "1, sharded", "2, sharded"],
)
def test_a_killed_run_ends_with_the_weights_of_an_unkilled_one(
    kind: list[str], processes: int, adapter: list[str], repo: Path, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "reference"
    finish([*kind, *command(processes, tiny_llama, data, reference), *adapter], repo, tmp_path / "reference.log")
    steps = EPOCHS * STEPS_PER_EPOCH
    assert f"step {steps}/{steps} " in (tmp_path / "reference.log").read_text()

    killed, log = tmp_path / "killed", tmp_path / "killed.log"
    arguments = [*kind, *command(processes, tiny_llama, data, killed), *adapter]
    generator = random.Random(processes)
    first = generator.randrange(4, STEPS_PER_EPOCH)  # in the first epoch, after a checkpoint
    second = generator.randrange(STEPS_PER_EPOCH + 1, steps - 3)  # in the second

    def logged(step: int) -> bool:
        return f"step {step}/{steps} " in log.read_text()

    def saving() -> bool:
        return any((killed / ".saving").glob("*/*"))

    log.touch()
    run_until(lambda: logged(first), arguments, repo, log)
    newest = max(killed.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = shutil.copytree(newest, killed / "checkpoint-99")
    name = "optimizer_0/__0_0.distcp" if kind else "optimizer.pt"
    (torn / name).write_bytes(b"torn")
    run_until(lambda: logged(second) and saving(), arguments, repo, log)
    finish(arguments, repo, log)

    text = log.read_text()
    assert f"warning: skipping checkpoint-99: {name} is not as it was written" in text
    assert text.count("resuming from") == 2
    print(f"{processes} process(es), killed in step {first} and in a save after step {second}: {weights(killed)}")
    assert weights(killed) == weights(reference)


def curve(log: Path) -> dict[int, float]:
    """The loss of each step; of one that was taken again, the last."""
    return {int(step): float(loss) for step, loss in re.findall(r"step (\d+)/\d+ +loss (\S+)", log.read_text())}


def test_a_sharded_run_goes_on_with_another_number_of_ranks(
    repo: Path, build_model: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    """Two ranks, killed in a save; one, killed in a save; two again: the losses are those of one that was never killed.

    Without dropout, which each rank draws for itself: then the same packs are in the same steps, and only the order in
    which gradients are summed differs.
    """
    model = build_model(tmp_path / "model")
    reference, log = tmp_path / "reference.log", tmp_path / "log"
    finish([SHARDED, *command(1, model, data, tmp_path / "reference")], repo, reference)
    log.touch()

    def saving_after(checkpoint: int) -> Callable[[], bool]:
        out = tmp_path / "out"
        return lambda: (out / f"checkpoint-{checkpoint}").exists() and any((out / ".saving").glob("*/*/*"))

    run_until(saving_after(3), [SHARDED, *command(2, model, data, tmp_path / "out")], repo, log)
    run_until(saving_after(9), [SHARDED, *command(1, model, data, tmp_path / "out")], repo, log)
    finish([SHARDED, *command(2, model, data, tmp_path / "out")], repo, log)
    text = log.read_text()
    assert text.count("resuming from") == 2
    expected, found = curve(reference), curve(log)
    assert expected.keys() == found.keys() and len(found) == EPOCHS * STEPS_PER_EPOCH
    assert max(abs(expected[step] - found[step]) for step in found) < 2e-4  # as logged, to four digits
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("reference", "out"))
    assert max(float((one[name].float() - other[name].float()).abs().max()) for name in one) < 1e-2  # of bf16


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_saves_and_exits_and_the_same_command_goes_on(
    processes: int, repo: Path, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    """As a scheduler pre-empts: one process is signalled itself, two through their launcher."""
    steps = EPOCHS * STEPS_PER_EPOCH
    arguments = [*command(processes, tiny_llama, data, tmp_path / "out"), "--save_strategy", "epoch"]
    log = tmp_path / "log"
    log.touch()
    process = start(arguments, repo, log)
    try:
        deadline = time.monotonic() + TIME_LIMIT_S
        while f"step 3/{steps} " not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(timeout=60)
    finally:
        kill_group(process)
    text = log.read_text()
    found = re.search(r"stopped by signal 15 at step (\d+): the same command resumes", text)
    assert found and int(found[1]) >= 3, text[-4000:]
    checkpoint = tmp_path / "out" / f"checkpoint-{found[1]}"
    assert problem(checkpoint) == "" and not (tmp_path / "out" / "model.safetensors").exists()
    if processes == 2:  # torchrun's own exit code says nothing of its workers'
        assert code != 0
        return
    assert code == 128 + signal.SIGTERM
    finish(arguments, repo, log)
    assert f"resuming from {checkpoint}" in log.read_text()
    finish([*command(1, tiny_llama, data, tmp_path / "reference"), "--save_strategy", "no"], repo, tmp_path / "log2")
    assert weights(tmp_path / "out") == weights(tmp_path / "reference")


def test_two_ranks_save_by_the_clock_in_the_same_step(repo: Path, tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    """A rank that saved alone would wait for the other for ever. Killed between two epochs' ends, the run goes on."""
    timed = ["--save_strategy", "epoch", "--save-minutes", "0.003"]
    arguments, log = [*command(2, tiny_llama, data, tmp_path / "out"), *timed], tmp_path / "log"
    log.touch()

    def saved() -> bool:
        steps = [int(path.name.partition("-")[2]) for path in (tmp_path / "out").glob("checkpoint-*")]
        return any(step % STEPS_PER_EPOCH for step in steps)

    run_until(saved, arguments, repo, log)
    finish(arguments, repo, log)
    resumed = re.search(r"resuming from \S+checkpoint-(\d+)\n", log.read_text())
    assert resumed and int(resumed[1]) % STEPS_PER_EPOCH
