"""``dart-grade serve`` as a user starts it: a real process, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

CASES = [{"response": f"It is $\\boxed{{{n}}}$.", "reference": str(n - n % 3)} for n in range(30)]
REWARDS = [float(n % 3 == 0) for n in range(30)]


class Server:
    """A running ``dart-grade serve``."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "dart_tasks.cli", "serve", "--port", "0", "--workers", "2", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", self.process.stdout.readline())
        assert found, self.process.communicate(timeout=60)
        self.port = int(found[1])

    def ask(self, path: str, body: object = None, raw: bytes | None = None) -> tuple[int, Any]:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=60) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        with contextlib.suppress(ValueError):
            return status, json.loads(text)
        return status, text

    def rewards(self, cases: list[dict[str, Any]]) -> list[float | None]:
        status, answer = self.ask("/grade", {"cases": cases})
        assert status == 200, answer
        return [row["reward"] for row in answer["rewards"]]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server("--max-body-mb", "1", "--read-timeout", "1", "--hedge-penalty", "0.5")
    yield running
    running.end()


def test_a_batch_in_order(server: Server) -> None:
    assert server.rewards(CASES) == REWARDS
    assert server.rewards([]) == []


def test_what_an_answer_says(server: Server) -> None:
    _, answer = server.ask("/grade", {"cases": [CASES[3], {"response": "", "reference": None}]})
    first, second = answer["rewards"]
    assert first | {"reward": 1.0, "correct": True, "answer": "3", "source": "boxed", "judged": True} == first
    assert second | {"reward": None, "judged": False, "flags": ["unjudged"]} == second
    assert answer["grader_version"]


def test_options_and_fields(server: Server) -> None:
    prompt = [{"role": "user", "content": "Sort in ascending order: 2, 1."}]
    assert server.rewards(
        [
            {"response": r"\boxed{3, 4}", "reference": "4"},
            {"response": r"\boxed{2, 1}", "reference": "1, 2", "prompt": prompt},
            {"response": r"\boxed{0.15}", "reference": "0.1", "benchmark": "olympiadbench", "tolerance": 0.1},
            {"response": r"\boxed{4}", "reference": 4, "finish_reason": "length"},
        ]
    ) == [-0.5, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON: Expecting property name"),
        (b"[]", "the body must be"),
        (b'{"cases": [3]}', "case 0 is not an object"),
        (b'{"cases": [{"response": ""}]}', "case 0 has no reference"),
        (b'{"cases": [{"response": 4, "reference": 4}]}', "case 0: response is not text"),
        (b'{"cases": [{"response": "", "reference": "4", "anwser": ""}]}', "unknown fields: anwser"),
        (b'{"cases": [{"response": "", "reference": "4", "tolerance": "a"}]}', "case 0: tolerance must be a number"),
        (b'{"cases": [{"response": "", "reference": "4", "tolerance": []}]}', "case 0: tolerance must be a number"),
        (b'{"cases": [{"response": "", "reference": "4", "question": 5}]}', "case 0: question is not text"),
        (b'{"cases": [{"response": "", "reference": "4", "benchmark": 5}]}', "case 0: "),
        (b'{"cases": [{"response": "", "reference": "4", "finish_reason": 5}]}', "case 0: "),
        (b'{"cases": [{"response": "", "reference": "4", "prompt": 5}]}', "case 0: prompt is neither"),
        (
            b'{"cases": [{"response": "", "reference": "4", "prompt": [{"content": [{"text": 1}]}]}]}',
            "case 0: prompt is",
        ),
        (b"[" * 100_000, ""),
    ],
)
def test_a_request_that_is_not_right_is_told_why(server: Server, body: bytes, message: str) -> None:
    status, answer = server.ask("/grade", raw=body)
    assert status == 400
    assert message in answer["error"]
    assert server.rewards(CASES[:2]) == REWARDS[:2]


def test_limits_on_body_and_time(server: Server) -> None:
    assert server.ask("/grade", raw=b" " * 2_000_000)[0] == 413
    slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    slow.putrequest("POST", "/grade")
    slow.putheader("Content-Length", "100")
    slow.endheaders(b"{")
    assert slow.getresponse().status == 408
    slow.close()
    assert server.ask("/nothing")[0] == 404


def test_slow_clients_keep_no_other_from_its_turn(server: Server) -> None:
    head = b"POST /grade HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    with contextlib.ExitStack() as slow:
        for _ in range(130):  # twice as many as have a turn
            slow.enter_context(socket.create_connection(("127.0.0.1", server.port))).sendall(head)
        began_s = time.monotonic()
        assert server.rewards(CASES[:1]) == REWARDS[:1]
        assert time.monotonic() - began_s < 0.9  # and not the second that a body may take


def test_a_body_that_cannot_be_read_is_told_so(server: Server) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/grade", b"no gzip", {"Content-Encoding": "gzip"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=60)
    with refusal.value as answer:
        assert answer.code == 400
        assert "cannot be read" in json.loads(answer.read())["error"]


def test_health_and_metrics(server: Server) -> None:
    assert server.ask("/health")[1]["status"] == "ok"
    server.rewards(CASES)
    _, metrics = server.ask("/metrics")
    assert re.search(r'^dart_grade_cases_total\{outcome="right"\} \d+', metrics, re.MULTILINE)
    assert re.search(r'^dart_grade_requests_total\{status="200"\} \d+', metrics, re.MULTILINE)


def test_none_is_lost_when_it_is_told_to_end() -> None:
    """Clients that go on asking over connections of their own: each request that was taken is answered."""
    aiohttp = pytest.importorskip("aiohttp")
    server = Server()
    answered, refused, lost = 0, 0, 0
    body = {"cases": [{"response": "x " * 2_000 + row["response"], "reference": row["reference"]} for row in CASES]}

    async def client(session: Any) -> None:
        nonlocal answered, refused, lost
        while True:
            try:
                async with session.post(f"http://127.0.0.1:{server.port}/grade", json=body) as response:
                    rewards = [row["reward"] for row in (await response.json())["rewards"]]
                    assert rewards == REWARDS
                    answered += 1
            except aiohttp.ClientConnectorError:
                refused += 1
                return
            except aiohttp.ClientError:
                lost += 1
                return

    async def load() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            clients = [asyncio.create_task(client(session)) for _ in range(16)]
            await asyncio.sleep(1.5)
            server.process.terminate()
            await asyncio.wait_for(asyncio.gather(*clients), 60)

    asyncio.run(load())
    server.process.communicate(timeout=60)
    assert (lost, refused, server.process.returncode) == (0, 16, 0)
    assert answered >= 16


def test_ctrl_c_ends_it_and_its_workers() -> None:
    server = Server()
    assert server.rewards(CASES[:1]) == [1.0]
    assert server.end(signal.SIGINT) == 0


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "dart_tasks.cli", "serve", "--port", port, "--workers", "1"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"dart-grade: cannot listen on 127\.0\.0\.1:\d+: .+\n", ended.stderr)
