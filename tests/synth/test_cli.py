"""The command line: the plan it prints, and the one line it ends with where it cannot go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from synth.options import config_from_options
from synth.strategy import STRATEGIES, QueryStats, get_strategy


def dart_synth(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from synth.cli import main; main()", *arguments]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), **environment}
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, env=variables, timeout=300)


@pytest.mark.parametrize(
    ("name", "fail_rate", "k", "quota"),
    [
        ("uniform", 0.3, 40, 40),
        ("vanilla", 0.3, 52, 52),
        ("prop2diff", 0.0, 192, 1),
        ("prop2diff", 1.0, 192, 192),
        ("prop2diff", 0.5, 192, 96),
        ("prop2diff", 1 / 3, 192, 64),
        ("prop2diff", 1 - 2 / 3, 192, 64),
        ("prop2diff", 1 / 32, 192, 6),
        ("prop2diff", 1 / 31, 192, 7),
    ],
)
def test_quotas(name: str, fail_rate: float, k: int, quota: int) -> None:
    assert STRATEGIES[name].quota(QueryStats(fail_rate, 8, 4), k) == quota


def test_paper_defaults() -> None:
    hard, uniform = (config_from_options("paper", {"strategy": name}) for name in ("prop2diff", "uniform"))
    assert (hard.k, hard.max_trials, hard.probe) == (192, 8192, 32)
    assert (uniform.k, uniform.max_trials, uniform.probe) == (40, 2048, 0)
    assert (hard.temperature, hard.top_p, hard.max_new_tokens) == (1.6, 0.95, 2048)
    assert hard.model == "deepseek-ai/deepseek-math-7b-rl"
    assert not hard.trust_remote_code
    assert get_strategy("vanilla").fixed_trials


@pytest.mark.slow
def test_without_a_gpu_the_paper_recipe_prints_its_plan_and_stops(tmp_path: Path) -> None:
    done = dart_synth("--strategy", "prop2diff", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "max(1, ceil(192 * fail rate))" in done.stdout
    assert "temperature 1.6" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "--preset demo" in line
    assert not list(tmp_path.iterdir())


_SERVED = ["--engine", "openai", "--endpoint", "http://x/v1", "--dry-run"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "nope"], "unknown strategy 'nope'"),
        (["--preset", "nope"], "'nope' is not one of"),
        (["--max-trials", "0"], "--max-trials must be at least 1 (got 0)"),
        (["--grade-workers", "99999999"], "is not in the range 1<=x<=1024"),
        (["--strategy", "prop2diff", "--probe", "0"], "needs a probe"),
        (["--probe", "99", "--max-trials", "9"], "--probe 99 exceeds --max-trials 9"),
        (["--query-column", "q"], "need --dataset"),
        (
            ["--dataset", "a", "--dataset", "b", "--split", "x", "--split", "y", "--split", "z"],
            "once for each of the 2",
        ),
        (["--where", "level"], "--where takes COLUMN=VALUE"),
        (["--engine-arg", "x"], "--engine-arg takes NAME=VALUE"),
        ([*_SERVED, "--engine-arg", "temperature=0.2"], "--engine-arg temperature: --temperature says that"),
        ([*_SERVED, "--engine-arg", "max_tokens=9"], "--engine-arg max_tokens: --max-new-tokens says that"),
        ([*_SERVED, "--reproducible", "--engine-arg", "seed=null"], "leaves out what --reproducible asks for"),
        ([*_SERVED, "--engine-arg", "n=4"], "--engine-arg n: the run itself says that"),
        (["--prompt-template", "nope"], "unknown prompt template 'nope'"),
        *(
            (["--engine", "openai", "--endpoint", url, "--dry-run"], "--endpoint takes a URL such as")
            for url in ("nope", "localhost:8000", "http://", "http://x:port/v1", "http://[::1", "http://a b/v1")
        ),
        ([*_SERVED, "--header", "X: $NOT_SET_HERE"], "the environment variable NOT_SET_HERE is not set"),
        (["--preset", "demo", "--dataset-k", "nope=3", "--dry-run"], "no data set is called nope here, but embedded"),
        (["plan", "--preset", "demo", "--dataset-k", "nope=3"], "no data set is called nope here, but embedded"),
        (["plan", "--preset", "demo", "--temperature", "1"], "--temperature cannot be given here"),
        (["plan", "--preset", "demo", "--max-trials", "9"], "--max-trials cannot be given here: --caps says that"),
        (["plan", "--preset", "demo", "--caps", "9,-1"], "--caps takes numbers from 1"),
        (["temperature", "--temperatures", "1,nan", "--output", "o"], "--temperatures takes numbers from 0"),
        (["--temperature", "nan"], "nan is not a finite number"),
        (["--request-timeout", "inf"], "inf is not in the range"),
        (["regrade", "run", "--grade-timeout", "inf"], "inf is not in the range"),
        (["--limit", "3", "plan", "--preset", "demo"], "--limit cannot be given here: it goes after plan"),
        (["temperature", "-k", "3", "--output", "o"], "--k cannot be given here: --trials says that"),
        (["--model", "./nope"], "no model folder ./nope"),
        (["--preset", "demo", "--adapter", "./nope"], "--adapter ./nope is not an adapter's folder"),
        (
            ["--adapter", "a", "--engine", "openai", "--endpoint", "http://x"],
            "--adapter goes with --engine vllm or ray",
        ),
        (["--dataset", "./nope.jsonl", "--model", "a/b"], "no data set ./nope.jsonl"),
        (["--dataset", "./nope.jsonl", "--dry-run"], "no data set ./nope.jsonl"),
        (["--dataset", "data/nope.jsonl", "--model", "a/b"], "no data set data/nope.jsonl"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    from click.testing import CliRunner

    from synth.cli import command

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_temperature_0_is_told_to_waste_trials() -> None:
    from click.testing import CliRunner

    from synth.cli import command

    done = CliRunner().invoke(command, ["--preset", "demo", "--temperature", "0", "--dry-run"])
    assert "the same response every time" in done.stderr


def test_options_reach_the_configuration() -> None:
    config = config_from_options(
        "paper",
        {
            "dataset": ("gsm8k", "mine.jsonl"), "split": ("test",), "query_column": ("a", "b"), "k": 3,
            "where": ("level=1,2",), "engine_arg": ("tensor-parallel-size=4", "dtype=float32", "enforce_eager=True"),
            "stop": ("END",),
        },
    )  # fmt: skip
    assert [spec.query_column for spec in config.datasets] == ["a", "b"]
    assert [spec.split for spec in config.datasets] == ["test", "test"]
    assert config.where == (("level", ("1", "2")),)
    assert dict(config.engine_args) == {"tensor_parallel_size": 4, "dtype": "float32", "enforce_eager": True}
    assert config.stop == ("END",)
    json.dumps(config.identity())


@pytest.mark.slow
def test_the_demo_fills_its_quotas_on_real_vllm(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    arguments = ["--preset", "demo", "--limit", "20", "--max-trials", "16", "--probe", "4", "--output", "run"]
    done = dart_synth(*arguments, "-k", "4", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run/engine.log" in done.stdout and "safetensors" in (tmp_path / "run/engine.log").read_text()
    import pyarrow.parquet as pq

    kept = pq.read_table(tmp_path / "run/dataset/data/train.parquet").to_pylist()
    queries = pq.read_table(tmp_path / "run/dataset/queries/train.parquet").to_pylist()
    assert len(queries) == 20
    assert len(kept) == sum(query["n_kept"] for query in queries) > 0
    assert all(row["response"].strip() for row in kept)
    again = dart_synth(*arguments, "-k", "4", cwd=tmp_path)
    assert "resuming" in again.stdout
    other = dart_synth(*arguments, "-k", "5", cwd=tmp_path)
    assert other.returncode == 2
    assert "k 4 -> 5" in other.stderr


ADAPTERS = """
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from dart_tasks.embedded import MODEL_DIR

for seed, folder in enumerate(sys.argv[1:]):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    kind = LoraConfig(r=3, lora_alpha=48, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(model, kind).save_pretrained(folder)
"""


@pytest.mark.slow
def test_an_adapter_that_peft_made_samples_and_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    pytest.importorskip("peft")
    subprocess.run([sys.executable, "-c", ADAPTERS, tmp_path / "a", tmp_path / "b"], check=True, timeout=300)
    given = ["--preset", "demo", "--limit", "4", "--strategy", "vanilla", "-k", "1", "--temperature", "0",
             "--max-new-tokens", "40", "--format", "jsonl"]  # fmt: skip
    pools = []
    ours = ["--adapter", "a"]
    for adapter in ([], ours, [*ours, "--engine", "ray"]) if find_spec("ray") else ([], ours):
        done = dart_synth(*given, *adapter, "--output", f"run{len(pools)}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        rows = (tmp_path / f"run{len(pools)}/dataset/pool/train.jsonl").read_text().splitlines()
        pools.append([json.loads(row)["response"] for row in rows])
    assert len(pools[1]) == 4 and all(ours != plain for plain, ours in zip(*pools[:2], strict=True))
    assert pools[1:] == [pools[1]] * len(pools[1:])
    (tmp_path / "a").rename(tmp_path / "moved")
    again, other = (dart_synth(*given, "--adapter", name, "--output", "run1", cwd=tmp_path) for name in ("moved", "b"))
    assert again.returncode == 0, again.stderr
    assert other.returncode == 2 and "adapter sha256" in other.stderr
