"""What reaches a server and is on record, of the options that change prompts and sampling, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from served import answer, completion, number_of, options, rows, write_problems

from dart_tasks.problems.benchmarks import BENCHMARKS
from dart_tasks.prompts import get_template

GSM8K = BENCHMARKS["gsm8k"].exemplars


@pytest.fixture
def server(make_server: Any) -> Any:
    """One that answers right, each time in other words."""
    count = iter(range(10**6))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Try {next(count)}.")

    return make_server(reply)


def write_shots(path: Path, *words: str) -> Path:
    path.write_text("".join(json.dumps({"query": f"Say {word}.", "response": word}) + "\n" for word in words))
    return path


def test_a_system_message_and_exemplars_are_turns(server: Any, dart_synth: Any, tmp_path: Path) -> None:
    given = [*options(server.url, tmp_path), "--prompt-template", "model", "--num-fewshot", 2]
    done = dart_synth(*given, "--system-message", "Be \u2014 brief.")
    assert done.code == 0, done.err
    assert 'system message "Be \u2014 brief.", 2-shot, exemplars of the query\'s benchmark' in done.out
    system, *turns, user = server.bodies[0]["messages"]
    assert system == {"role": "system", "content": "Be \u2014 brief."}
    assert turns == [
        {"role": role, "content": text}
        for shot in GSM8K[:2]
        for role, text in (("user", shot.query), ("assistant", shot.response))
    ]
    assert user["role"] == "user" and user["content"].startswith("What is ")
    assert "2-shot" in (tmp_path / "run/dataset/README.md").read_text()
    for changed in ("Be long.", ""):
        other = dart_synth(*given, "--system-message", changed)
        assert other.code == 2 and "system message Be \u2014 brief. -> " in other.err
    # The system message is part of the conversations; exemplars are not.
    form = ("--format", "messages", "--decontaminate", "off")
    for pool in (tmp_path / "run", tmp_path / "run/dataset/pool/train.jsonl"):
        assert dart_synth("curate", pool, "-k", 1, *form, "--output", tmp_path / "o").code == 0
        import pyarrow.parquet as pq

        for row in pq.read_table(tmp_path / "o/data/train.parquet").to_pylist():
            assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
            assert row["messages"][0]["content"] == "Be \u2014 brief."


def test_exemplars_of_a_file_are_known_by_what_they_say(server: Any, dart_synth: Any, tmp_path: Path) -> None:
    shots, plain = write_shots(tmp_path / "shots.jsonl", "yes", "no"), get_template("plain")
    given = options(server.url, tmp_path)
    assert dart_synth(*given, "--exemplars", shots).code == 0
    head = f"{plain.render('Say yes.')} yes\n\n{plain.render('Say no.')} no\n\n"
    assert all(body["prompt"].startswith(head + "Question: What is ") for body in server.bodies)
    shots.rename(tmp_path / "moved.jsonl")
    assert dart_synth(*given, "--exemplars", tmp_path / "moved.jsonl").code == 0
    changed = dart_synth(*given, "--exemplars", write_shots(tmp_path / "moved.jsonl", "yes", "maybe"))
    assert changed.code == 2 and "exemplar texts" in changed.err
    for wrong, message in (
        (["--exemplars", tmp_path / "none.jsonl"], "cannot read"),
        (["--exemplars", tmp_path / "moved.jsonl", "--num-fewshot", 3], "has 2 exemplars"),
        (["--exemplars", write_problems(tmp_path / "p.jsonl", 1)], "line 1 of"),
        (["--num-fewshot", 99], "pass --num-fewshot 4, or fewer"),
        (["--num-fewshot", 1, "--prompt-template", "llama3"], "exemplars do not go into the llama3 template"),
        (["--system-message", "Hi"], "--system-message goes with --prompt-template model"),
    ):
        done = dart_synth(*given, *wrong, "--output", tmp_path / "other")
        assert done.code == 2 and message in done.err, (wrong, done.err)
        assert len(done.err.splitlines()) == 1


def test_min_p_and_penalties_are_sent_and_part_of_the_run(server: Any, dart_synth: Any, tmp_path: Path) -> None:
    given = {"min-p": 0.05, "presence-penalty": 0.5, "frequency-penalty": -0.25, "repetition-penalty": 1.1}
    arguments = [word for name, value in given.items() for word in (f"--{name}", value)]
    done = dart_synth(*options(server.url, tmp_path), *arguments)
    assert done.code == 0, done.err
    said = "min-p 0.05, presence penalty 0.5, frequency penalty -0.25, repetition penalty 1.1"
    assert said in done.out and said in (tmp_path / "run/dataset/README.md").read_text()
    for body in server.bodies:
        assert {name: body[name.replace("-", "_")] for name in given} == given
    assert len(rows(tmp_path / "run")) == 16
    for name in given:
        other = dart_synth(*options(server.url, tmp_path), *arguments, f"--{name}", 0.01)
        assert other.code == 2 and f"{name.replace('-', ' ')} {given[name]} -> 0.01" in other.err


@pytest.mark.parametrize(("text", "what"), [("I \\boxed{-1}", "the same"), ("", "empty"), (None, "")])
def test_responses_that_are_all_alike_are_told_of_once(
    make_server: Any, dart_synth: Any, tmp_path: Path, text: str | None, what: str
) -> None:
    count = iter(range(10**6))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, f"I {next(count) // 2}" if text is None else text)

    done = dart_synth(*options(make_server(reply).url, tmp_path), "-k", 20)
    assert done.code == 0, done.err
    told = [line for line in done.out.splitlines() if "its first 8 responses are all" in line]
    assert len(told) == bool(what) and all(f"are all {what}: more trials may be wasted" in line for line in told)


def test_what_a_vllm_server_on_a_cpu_needs_for_seeds_is_said(server: Any, dart_synth: Any, tmp_path: Path) -> None:
    done = dart_synth(*options(server.url, tmp_path), "--reproducible", "--dry-run")
    assert done.code == 0 and "started with --no-enable-chunked-prefill" in done.err


def test_one_model_under_two_names_is_one_run(
    server: Any, dart_synth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(server.url, tmp_path)
    assert dart_synth(*given, "--model", "tiny", "--model-name", "org/model").code == 0
    assert {body["model"] for body in server.bodies} == {"tiny"}
    assert "org/model" in (tmp_path / "run/dataset/README.md").read_text()
    again = dart_synth(*given, "--model", "served-otherwise", "--model-name", "org/model")
    assert again.code == 0 and "resuming" in again.out and "known as org/model" in again.out
    assert dart_synth(*given, "--model", "org/model").code == 0
    other = dart_synth(*given, "--model", "tiny")
    assert other.code == 2 and "model org/model -> tiny" in other.err
    # A folder is the same however its path is written.
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert dart_synth(*given, "--model", "folder", "--output", "local").code == 0
    for path in ("./folder", tmp_path / "folder"):
        assert "resuming" in dart_synth(*given, "--model", path, "--output", "local").out


@pytest.mark.parametrize("given", ['{"tokenize": true}', '{"documents": 5}', '{"continue_final_message": true}'])
def test_arguments_that_a_chat_template_cannot_have_are_one_line(dart_synth: Any, given: str) -> None:
    done = dart_synth("--preset", "demo", "--dry-run", "--prompt-template", "model", "--chat-template-kwargs", given)
    assert done.code == 2 and "does not take these messages or --chat-template-kwargs" in done.err


def test_k_and_cap_of_one_data_set(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    """Answers to the second data set are wrong."""
    count = iter(range(10**6))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        wrong = "Which" in body["prompt"]
        return completion(body, f"Try {next(count)}: \\boxed{{{-1 if wrong else number_of(body)}}}.")

    hard = tmp_path / "hard.jsonl"
    hard.write_text("".join(json.dumps({"query": f"Which is {i}?", "answer": str(i)}) + "\n" for i in range(3)))
    given = [*options(make_server(reply).url, tmp_path), "--dataset", hard, "--strategy", "uniform", "-k", 2,
             "--max-trials", 4]  # fmt: skip
    own = ("--dataset-k", "problems=3", "--dataset-max-trials", "hard=7")
    done = dart_synth(*given, *own)
    assert done.code == 0, done.err
    assert "k 3 of problems" in done.out and "cap 7 of hard" in done.out
    told = rows(tmp_path / "run", "queries")
    assert [(row["n_kept"], row["quota"]) for row in told if row["dataset"] == "problems"] == [(3, 3)] * 4
    assert [(row["n_trials"], row["quota"]) for row in told if row["dataset"] == "hard"] == [(7, 2)] * 3
    assert dart_synth(*given, *own).code == 0 and dart_synth("status", tmp_path / "run").code == 0
    other = dart_synth(*given, *own, "--dataset-k", "hard=1")
    assert other.code == 2 and "dataset k" in other.err
    for wrong, message in (
        (["--dataset-k", "hard"], "take NAME=NUMBER"),
        (["--dataset-k", "nope=3"], "no data set is called nope here, but hard, problems"),
        (["--dataset-max-trials", "hard=9", "--strategy", "vanilla"], "use --dataset-k"),
        (["--dataset-max-trials", "hard=9", "--strategy", "prop2diff", "--probe", 10, "--max-trials", 20],
         "--probe 10 exceeds --dataset-max-trials 9"),
    ):  # fmt: skip
        refused = dart_synth(*given, *wrong, "--output", tmp_path / "other")
        assert refused.code == 2 and message in refused.err, refused.err


# ---------------------------------------------------------------------- dry run
def test_a_dry_run_shows_the_first_prompt_token_by_token(dart_synth: Any) -> None:
    done = dart_synth("--preset", "demo", "--dry-run", "--num-fewshot", 1)
    assert done.code == 0, done.err
    shown = done.out.partition("first prompt, of query train-0000:\n")[2]
    assert shown.count("### Instruction:\n") == 2 and GSM8K[0].response in shown
    count, _, tokens = shown.partition("its ")[2].partition(" tokens:\n")
    pieces = [piece for line in tokens.splitlines() for piece in line.split(" | ")]
    assert len(pieces) == int(count)
    assert pieces[0] == "1 '<s>'" and pieces[-1].endswith("### Response:\\n'")


def test_a_dry_run_fetches_nothing(dart_synth: Any) -> None:
    done = dart_synth("--dry-run", "--model", "nobody/nothing", "--dataset", "nobody/nothing")
    assert done.code == 0, done.err
    assert "first prompt, of nobody/nothing, which is not at hand:\nUser: {query}\n" in done.out
    assert "its tokens are not shown: no tokenizer of nobody/nothing at hand" in done.out


def test_a_system_message_that_a_chat_template_leaves_out_is_refused(dart_synth: Any) -> None:
    done = dart_synth("--preset", "demo", "--dry-run", "--prompt-template", "model", "--system-message", "Be brief.")
    assert done.code == 2 and "the model's chat template leaves the system message out" in done.err
