"""Whole runs through the ``dart-synth`` command, at servers on loopback that answer as served models do."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from served import answer, completion, number_of, options, rows

from synth.ledger import Ledger


# ---------------------------------------------------------------------- what is kept
def test_a_response_cut_at_the_limit_or_inside_a_thought_is_failed_and_never_kept(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    """Of four responses one states the right answer and runs into the limit, and one ends inside its thought."""
    count = iter(range(1000))

    async def cut(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        words = f"<think>Try {number}." if number % 4 == 1 else f"Try {number}."
        return answer(body, words, "length" if number % 4 == 2 else "stop")

    assert dart_synth(*options(make_server(cut).url, tmp_path)).code == 0
    pool, kept, queries = (rows(tmp_path / "run", part) for part in ("pool", "data", "queries"))
    assert sum(row["finish_reason"] == "length" and row["correct"] for row in pool) == 4
    assert sum(row["flags"] == "unfinished_thinking" for row in pool) == 4
    assert len(kept) == 8 and {row["finish_reason"] for row in kept} == {"stop"}
    assert sum(query["n_correct"] for query in queries) == 8
    for pool_of in (tmp_path / "run", tmp_path / "run/dataset/pool/train.jsonl"):
        done = dart_synth("curate", pool_of, "-k", 9, "--output", tmp_path / "o", "--format", "jsonl",
                          "--decontaminate", "off")  # fmt: skip
        assert done.code == 0 and "8 responses" in done.out
        kept = [json.loads(line) for line in (tmp_path / "o/data/train.jsonl").read_text().splitlines()]
        assert {row["finish_reason"] for row in kept} == {"stop"}


# ---------------------------------------------------------------------- what a server of today sends
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_that_a_server_gives_apart_are_kept_and_never_graded(
    make_server: Any, dart_synth: Any, tmp_path: Path, name: str
) -> None:
    """Of four responses one is null as its tokens ran out while thinking; each thought states a wrong answer."""
    count = iter(range(1000))

    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        thought = {name: f"Perhaps \\boxed{{-9}}? Try {number}."}
        if number % 4 == 3:
            return completion(body, None, "length", **thought)
        return completion(body, f"So \\boxed{{{number_of(body)}}}, {number}.", **thought)

    server = make_server(think)
    given = [*options(server.url, tmp_path), "--prompt-template", "model",
             "--chat-template-kwargs", '{"enable_thinking": true}']  # fmt: skip
    done = dart_synth(*given)
    assert done.code == 0, done.err
    assert "thoughts of 16 trials are in the pool's column `reasoning`" in done.out
    assert all(body["chat_template_kwargs"] == {"enable_thinking": True} for body in server.bodies)
    pool, kept = rows(tmp_path / "run", "pool"), rows(tmp_path / "run")
    assert all(row["reasoning"].startswith("Perhaps") for row in pool)
    assert [row["response"] for row in pool].count("") == 4
    assert sum("unfinished_thinking" in row["flags"] for row in pool) == 4
    told = dart_synth("status", tmp_path / "run").out
    assert "of these, thought: mean 7, median 7" in told and "of these, answer: mean 2" in told
    assert len(kept) == 12 and not any("Perhaps" in row["response"] for row in kept)
    for pool_of in (tmp_path / "run", tmp_path / "run/dataset"):
        arguments = ("-k", 9, "--output", tmp_path / "o", "--format", "jsonl", "--decontaminate", "off")
        assert dart_synth("curate", pool_of, *arguments, "--keep-thinking").code == 0
        curated = [json.loads(line) for line in (tmp_path / "o/data/train.jsonl").read_text().splitlines()]
        assert all(
            row["response"].startswith("<think>\nPerhaps") and "</think>\n\nSo" in row["response"] for row in curated
        )
        refused = dart_synth("curate", pool_of, *arguments, "--max-response-tokens", 8)
        assert "nothing is left" in refused.err


def test_thoughts_inside_the_text_are_told_apart_and_kept_where_wanted(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    """The answers alone would be duplicates of each other; the mark of the thought's beginning is in the prompt."""
    count = iter(range(1000))

    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, f"Try {next(count)}: \\boxed{{-9}}?</think>\n\n\\boxed{{{number_of(body)}}}")

    url = make_server(think).url
    assert dart_synth(*options(url, tmp_path)).code == 0
    assert [row["response"] for row in rows(tmp_path / "run")] == [f"\\boxed{{{i}}}" for i in range(4)]
    assert dart_synth(*options(url, tmp_path), "--keep-thinking", "--output", tmp_path / "kept").code == 0
    kept = rows(tmp_path / "kept")
    assert len(kept) == 16 and all(row["response"].startswith("<think>\nTry ") for row in kept)


def test_null_content_is_no_empty_trial(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    count = iter(range(1000))

    async def null(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, None) if next(count) % 3 == 1 else completion(body, f"\\boxed{{{number_of(body)}}}")

    assert dart_synth(*options(make_server(null).url, tmp_path), "--prompt-template", "model").code == 0
    assert [row["response"] for row in rows(tmp_path / "run", "pool") if not row["response"]] == []
    assert len(rows(tmp_path / "run", "pool")) == 16


# ---------------------------------------------------------------------- refusals
def refusal(message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=400)


def test_a_stray_400_costs_no_query(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    """Each problem is refused once for no good reason, and once for its length after it was taken."""
    count: Counter[int] = Counter()

    async def stray(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = number_of(body)
        count[number] += 1
        if count[number] in (1, 3):
            return refusal("bad gateway" if count[number] == 1 else "maximum context length is 4096")
        return answer(body, f"Try {count[number]}.")

    done = dart_synth(*options(make_server(stray).url, tmp_path), "--slots", 1)
    assert done.code == 0, done.err
    assert len(rows(tmp_path / "run", "pool")) == 16
    assert "set aside" not in done.out


def test_queries_set_aside_have_an_exit_code_and_the_same_command_tries_them_again(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    words = "This model's maximum context length is 64 tokens"

    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return refusal(words) if number_of(body) == 3 else answer(body, f"Try {id(request)}.")

    server = make_server(refuse)
    done = dart_synth(*options(server.url, tmp_path))
    assert done.code == 3
    assert done.out.count("set aside: query problems/3") == 1 and words in done.out
    assert "queries set aside: 1; give the same command again to try them again" in done.out
    assert [row["status"] for row in rows(tmp_path / "run", "queries")].count("set_aside") == 1
    again = dart_synth(*options(server.url, tmp_path))  # it is the only query left, and as long as before
    assert (again.code, again.out.count("set aside: query problems/3")) == (3, 1), again.err
    words = ""
    server.handler = lambda body, request: asyncio.sleep(0, answer(body, f"Try {id(request)}."))
    assert dart_synth(*options(server.url, tmp_path)).code == 0
    assert len(rows(tmp_path / "run", "pool")) == 16


def test_long_problems_that_are_refused_before_any_answer_comes_end_no_run(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if number_of(body) >= 10:
            return refusal("This model's maximum context length is 64 tokens")
        await asyncio.sleep(1.0)
        return answer(body, f"Try {id(request)}.")

    done = dart_synth(*options(make_server(refuse).url, tmp_path, 20), "--slots", 80)
    assert done.code == 3, done.err
    assert len(rows(tmp_path / "run", "pool")) == 40


@pytest.mark.parametrize("n_queries", [4, 20])
def test_settings_that_are_refused_end_the_run(
    make_server: Any, dart_synth: Any, tmp_path: Path, n_queries: int
) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return refusal("this model has no field min_p")

    done = dart_synth(*options(make_server(refuse).url, tmp_path, n_queries))
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "HTTP 400 this model has no field min_p (--engine-arg min_p=null leaves out a field" in line
    assert "same command" not in line


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("n_before", [0, 8])
def test_a_key_that_is_not_accepted_is_named(
    make_server: Any, dart_synth: Any, tmp_path: Path, status: int, n_before: int
) -> None:
    count = iter(range(10**6))

    async def deny(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        return answer(body, f"Try {number}.") if number < n_before else web.json_response({}, status=status)

    done = dart_synth(*options(make_server(deny).url, tmp_path), "--api-key-env", "MY_KEY")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert f"HTTP {status}" in line and "(the key is read from MY_KEY, which is not set)" in line
    assert "same command" not in line


# ---------------------------------------------------------------------- numbers
@pytest.mark.parametrize(
    ("status", "said"),
    [(302, "redirects are not followed: give the address it leads to"), (404, "HTTP 404"), (403, "MY_KEY")],
)
def test_an_address_that_is_wrong_is_not_taken_for_a_key(
    make_server: Any, dart_synth: Any, tmp_path: Path, status: int, said: str
) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:9/"})

    done = dart_synth(*options(make_server(refuse).url, tmp_path), "--api-key-env", "MY_KEY")
    assert done.code == 1 and said in done.err
    assert ("the key is read from" in done.err) == (status == 403)


@pytest.mark.parametrize("word", ["", "Bearer "])
def test_a_header_is_read_from_the_environment(
    make_server: Any, dart_synth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, "Well.")

    monkeypatch.setenv("MY_TOKEN", "secret-0123")
    server = make_server(reply)
    given = [*options(server.url, tmp_path, 1), "--header", f"X-Token: {word}$MY_TOKEN"]
    assert dart_synth(*given).code == 0
    assert {headers["X-Token"] for headers in server.headers} == {f"{word}secret-0123"}
    monkeypatch.delenv("MY_TOKEN")
    done = dart_synth(*given)
    assert done.code == 2 and "the environment variable MY_TOKEN is not set" in done.err


def test_responses_of_unknown_length_are_not_taken_for_short_ones(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        choice = {"text": f"\\boxed{{{number_of(body)}}}", "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})  # no usage

    assert dart_synth(*options(make_server(reply).url, tmp_path)).code == 0
    curate = ["curate", tmp_path / "run", "-k", 1, "--decontaminate", "off", "--output", tmp_path / "o"]
    done = dart_synth(*curate, "--max-response-tokens", 9)
    assert done.code == 1 and "does not tell how long its responses are" in done.err
    assert dart_synth(*curate).code == 0


@pytest.mark.parametrize(("reason", "named"), [("length", True), ("stop", False)])
def test_thoughts_that_use_up_all_tokens_are_told_of(
    make_server: Any, dart_synth: Any, tmp_path: Path, reason: str, named: bool
) -> None:
    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, None, reason, reasoning="Hm.")

    given = [*options(make_server(think).url, tmp_path, 1), "-k", 8, "--prompt-template", "model"]
    done = dart_synth(*given, "--max-new-tokens", 9)
    assert done.out.count("its first 8 responses are all empty") == 1
    assert ("look at --max-new-tokens: each was cut while it was still thinking" in done.out) == named


def test_duplicates_are_one_number_wherever_they_are_shown(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    """Six texts for a quota of five, with surplus trials in flight: the run's table, `status` and the pool agree."""
    count = iter(range(10**6))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Way {next(count) * 7 % 11 % 6}.")

    done = dart_synth(*options(make_server(reply).url, tmp_path, 12), "--strategy", "uniform", "-k", 5)
    assert done.code == 0, done.err
    correct = [(row["query_id"], row["response"]) for row in rows(tmp_path / "run", "pool") if row["correct"]]
    n_duplicates = len(correct) - len(set(correct))
    assert n_duplicates > 0
    for shown in (done.out, dart_synth("status", tmp_path / "run").out):
        heading, *_, last = (line for line in shown.splitlines() if line.startswith(("difficulty", "problems", "all")))
        cells = dict(zip(re.split(r"  +", heading.strip()), re.split(r"  +", last.strip()), strict=True))
        assert cells["duplicates"] == str(n_duplicates), shown


# ---------------------------------------------------------------------- damage
def sql(*statements: str) -> Callable[[Path], None]:
    """Damage that only SQL can do so neatly."""

    def act(run_dir: Path) -> None:
        with closing(sqlite3.connect(run_dir / "ledger.sqlite", isolation_level=None)) as database:
            for statement in statements:
                database.execute(statement)

    return act


def zero_pages(run_dir: Path) -> None:
    """All pages but the first two are lost."""
    path = run_dir / "ledger.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 8192))


def cut_in_half(run_dir: Path) -> None:
    path = run_dir / "ledger.sqlite"
    os.truncate(path, path.stat().st_size // 2)


def cut_after_two_pages(run_dir: Path) -> None:
    """The tables begin beyond the end."""
    os.truncate(run_dir / "ledger.sqlite", 8192)


OLD = "UPDATE texts SET checksum = NULL", "UPDATE trials SET checksum = NULL"
DAMAGE = {
    "a response": sql("UPDATE texts SET response = 'x' || response WHERE id = 3"),
    "white space of a response": sql("UPDATE texts SET response = response || ' ' WHERE id = 3"),
    "a response, no checksums": sql(*OLD, "UPDATE texts SET response = 'x' || response WHERE id = 3"),
    "the kind of a response, no checksums": sql(*OLD, "UPDATE texts SET response = x'00' WHERE id = 3"),
    "an attempt, no checksums": sql(*OLD, "UPDATE trials SET attempt = 'x' WHERE text_id = 3"),
    "flags, no checksums": sql(*OLD, "UPDATE texts SET flags = x'00' WHERE id = 3"),
    "an answer": sql("UPDATE texts SET answer = '7' WHERE id = 3"),
    "a verdict": sql("UPDATE trials SET correct = 0 WHERE text_id = 3"),
    "a trial's number, no checksums": sql(*OLD, "UPDATE trials SET trial = 1 << 40 WHERE text_id = 3"),
    "a trial's query, no checksums": sql(*OLD, "UPDATE trials SET query = 77 WHERE text_id = 3"),
    "a text is gone": sql("DELETE FROM texts WHERE id = 3"),
    "a problem": sql("UPDATE queries SET text = 'What is 8 + 0?' WHERE query = 1"),
    "a reference": sql("UPDATE queries SET reference = '{' WHERE query = 1"),
    "pages": zero_pages,
    "half of the file": cut_in_half,
    "all but two pages": cut_after_two_pages,
    "no ledger": lambda run_dir: (run_dir / "ledger.sqlite").unlink(),
    "an empty file": lambda run_dir: (run_dir / "ledger.sqlite").write_bytes(b""),
    "no trials": sql("DELETE FROM trials", "DELETE FROM texts"),
    "nothing in it": sql("DELETE FROM trials", "DELETE FROM texts", "DELETE FROM queries"),
    "no tables": sql("DROP TABLE trials", "DROP TABLE texts", "DROP TABLE queries", "DROP TABLE attempts"),
    "the table of trials": sql("DROP TABLE trials"),
    "manifest": lambda run_dir: (run_dir / "manifest.json").write_text('{"identity": {'),
    "no manifest": lambda run_dir: (run_dir / "manifest.json").unlink(),
}


def contents(run_dir: Path) -> dict[Path, bytes]:
    """All files but the ledger's companions that come and go."""
    passing = ("lock", "ledger.sqlite-shm", "ledger.sqlite-wal")
    return {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file() and path.name not in passing}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; the first test that needs it makes it."""
    return tmp_path_factory.mktemp("finished")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_told_in_one_line_and_nothing_is_overwritten(
    make_server: Any, dart_synth: Any, finished: Path, tmp_path: Path, damage: str
) -> None:
    count = iter(range(1000))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Try {next(count)}.")

    server, run_dir = make_server(reply), tmp_path / "run"
    given = options(server.url, finished)
    if not (finished / "run").exists():
        assert dart_synth(*given).code == 0
    shutil.copytree(finished / "run", run_dir)
    n_asked = len(server.bodies)
    DAMAGE[damage](run_dir)
    before = contents(run_dir)
    done = dart_synth(*given, "--output", run_dir)
    assert done.code == 1, done.out
    (line,) = done.err.splitlines()
    assert "restore it, or start in a new --output" in line
    assert len(server.bodies) == n_asked
    assert before == contents(run_dir)
    for command in (["curate", run_dir, "-k", 9, "--decontaminate", "off", "--output", tmp_path / "o"],
                    ["status", run_dir]):  # fmt: skip
        done = dart_synth(*command)
        assert done.code in (0, 1) and len(done.err.splitlines()) == done.code, done.err


@pytest.mark.parametrize(
    "damage",
    [
        "a response",
        "a verdict",
        "a text is gone",
        "a problem",
        "an attempt, no checksums",
        "flags, no checksums",
        "pages",
        "half of the file",
        "all but two pages",
        "the table of trials",
        1,
        2,
    ],
)
def test_a_repaired_run_keeps_every_sound_row_and_goes_on(
    make_server: Any, dart_synth: Any, tmp_path: Path, damage: str | int
) -> None:
    """A number stands for bytes at random offsets."""
    count = iter(range(1000))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Try {next(count)}. " + "x" * 600)

    server, run_dir = make_server(reply), tmp_path / "run"
    given = options(server.url, tmp_path)
    assert dart_synth(*given).code == 0
    sound = {(row["query_id"], row["trial"]): row["response"] for row in rows(run_dir, "pool")}
    if isinstance(damage, str):
        DAMAGE[damage](run_dir)
    else:
        content, source = bytearray((run_dir / "ledger.sqlite").read_bytes()), random.Random(damage)
        for _ in range(20):
            content[source.randrange(4096, len(content))] ^= 1 << source.randrange(8)
        (run_dir / "ledger.sqlite").write_bytes(content)
    n_asked = len(server.bodies)
    repaired = dart_synth("repair", run_dir)
    assert repaired.code == 0, repaired.err
    n_kept = int(re.match(r"sound and kept: (\d+) trial", repaired.out).group(1))  # type: ignore[union-attr]
    is_one_row = isinstance(damage, str) and not any(word in damage for word in ("pages", "file", "table"))
    assert n_kept >= (15 if is_one_row else 0)
    assert dart_synth(*given).code == 0
    assert len(server.bodies) - n_asked == 16 - n_kept
    after = {(row["query_id"], row["trial"]): row["response"] for row in rows(run_dir, "pool")}
    assert after.keys() == sound.keys()
    assert sum(after[key] == sound[key] for key in sound) == n_kept


def test_a_ledger_of_version_0_1_0_resumes_and_gets_checksums(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Try {id(request)}.")

    server, run_dir = make_server(reply), tmp_path / "run"
    assert dart_synth(*options(server.url, tmp_path)).code == 0
    sql("ALTER TABLE texts DROP COLUMN checksum", "ALTER TABLE trials DROP COLUMN checksum")(run_dir)
    sql("DELETE FROM trials WHERE trial = 3")(run_dir)
    shutil.rmtree(run_dir / "dataset")
    assert dart_synth("curate", run_dir, "--decontaminate", "off", "--output", tmp_path / "o").code == 0
    assert dart_synth(*options(server.url, tmp_path)).code == 0
    assert len(rows(run_dir, "pool")) == 16


# ---------------------------------------------------------------------- another grader
def test_a_run_of_an_older_grader_goes_on_after_it_is_graded_anew(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    """The older grader took a wrong answer to problem 1 for right, and a right one to problem 2 for wrong."""
    count: Counter[int] = Counter()

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = number_of(body)
        count[number] += 1
        right = (number, count[number]) != (1, 1)
        return completion(body, f"Try {count[number]}: \\boxed{{{number if right else -7}}}.")

    given = [*options(make_server(reply).url, tmp_path), "--strategy", "uniform", "-k", 2, "--slots", 1]
    run_dir = tmp_path / "run"
    assert dart_synth(*given).code == 0
    shutil.rmtree(run_dir / "dataset")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    (run_dir / "manifest.json").write_text(json.dumps({**manifest, "grader_version": "0.9"}))
    sql("UPDATE trials SET checksum = NULL", "UPDATE trials SET correct = 1 WHERE query = 1",
        "DELETE FROM trials WHERE query = 1 AND trial = 2",
        "UPDATE trials SET correct = 0 WHERE query = 2 AND trial = 0")(run_dir)  # fmt: skip
    before = contents(run_dir)
    refused = dart_synth(*given)
    assert refused.code == 2
    assert f"`dart-synth regrade {run_dir}`" in refused.err.replace("\n", " ")
    dry = dart_synth("regrade", run_dir, "--grade-workers", 1)
    said_in_full = (
        r"2 of \d+ trials count otherwise \(1 right -> wrong, 1 wrong -> right\)",  # surplus ones depend on timing
        r"queries open again: 1 \(problems/1\)", r"queries settled now: 1 \(problems/2\)", "nothing was stored",
    )  # fmt: skip
    for said in said_in_full:
        assert re.search(said, dry.out), dry.out
    assert contents(run_dir) == before
    assert "stored" in dart_synth("regrade", run_dir, "--grade-workers", 1, "--apply").out
    n_asked = sum(count.values())
    assert dart_synth(*given).code == 0
    assert 1 <= sum(count.values()) - n_asked <= 2  # a second one where grading the first takes a while
    assert {row["query_id"]: row["n_kept"] for row in rows(run_dir, "queries")} == {
        f"problems/{i}": 2 for i in range(4)
    }
    assert all(row["answer"] == row["reference"] for row in rows(run_dir))


@pytest.mark.parametrize("damage", ["manifest", pytest.param("no manifest", marks=pytest.mark.slow)])
def test_a_lost_manifest_is_made_anew_of_the_runs_own_options(
    make_server: Any, dart_synth: Any, tmp_path: Path, damage: str
) -> None:
    """It is the one that was lost once a grader has judged the trials, and nothing is sampled again."""
    count = iter(range(1000))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return answer(body, f"Try {next(count)}.")

    server, run_dir = make_server(reply), tmp_path / "run"
    given = options(server.url, tmp_path)
    assert dart_synth(*given).code == 0
    repair = ["repair", run_dir, *given[: given.index("--output")]]
    sound, n_asked = contents(run_dir), len(server.bodies)
    refused = dart_synth(*repair)
    assert refused.code == 2 and "is sound" in refused.err
    DAMAGE[damage](run_dir)
    assert f"`dart-synth repair {run_dir}`, followed by the run's own options" in dart_synth(*given).err
    for option, value, why in (("-k", 2, "more than the 2 trials"), ("--limit", 3, "other queries")):
        refused = dart_synth(*repair, option, value)
        assert refused.code == 1 and why in refused.err
    assert "for 16 trials" in dart_synth(*repair).out
    again = dart_synth(*given)
    assert again.code == 2 and "regrade" in again.err
    assert dart_synth("regrade", run_dir, "--apply", "--grade-workers", 1).code == 0
    assert dart_synth(*given).code == 0 and len(server.bodies) == n_asked
    found = contents(run_dir)
    assert {path: found[path] for path in sound if path.suffix != ".sqlite"} == {
        path: content for path, content in sound.items() if path.suffix != ".sqlite"
    }
    assert (run_dir / "manifest.json.damaged").exists() == (damage == "manifest")


# ---------------------------------------------------------------------- outages
def stop_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()


SLOW = [pytest.param(outage, marks=pytest.mark.slow) for outage in ("garbage", "null", "filtered", "500")]


@pytest.mark.parametrize("outage", ["gone", *SLOW])
def test_an_outage_is_named_and_a_signal_ends_the_run(
    make_server: Any, dart_synth: Any, tmp_path: Path, outage: str
) -> None:
    """After six good answers nothing comes that could be used, and then the run is to stop."""
    count = iter(range(10**6))

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if (number := next(count)) < 6:
            return answer(body, f"Try {number}.")
        bad = {
            "garbage": web.json_response([]),
            "null": completion({"messages": []}, None),
            "500": web.Response(status=500),
        }
        if outage == "gone":
            assert request.transport is not None
            request.transport.close()
        return bad.get(outage) or completion(body, "", "content_filter")

    started_s = time.monotonic()
    stop_after(6.0)
    server = make_server(reply)
    done = dart_synth(*options(server.url, tmp_path))
    assert done.code == 130
    assert time.monotonic() - started_s < 6.0 + 10.0
    assert f"{server.url}/v1" in done.out and ", trying again" in done.out
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        assert ledger.n_trials() == 6


def test_a_signal_ends_a_run_that_no_server_has_answered_yet(dart_synth: Any, tmp_path: Path) -> None:
    started_s = time.monotonic()
    stop_after(3.0)
    assert dart_synth(*options("http://127.0.0.1:9", tmp_path)).code == 130
    assert time.monotonic() - started_s < 3.0 + 10.0
