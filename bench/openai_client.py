"""Processor time that ``--engine openai`` costs the driver for each trial.

    python bench/openai_client.py

A server process answers every request at once with a solution of ordinary size; the client keeps all slots busy.
Wall time is that of client and server together on this machine's cores; the client's own processor time decides how
many GPUs one driver can keep busy.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import socket
import time
from typing import Any

from synth.engines import SamplingSettings
from synth.engines.openai_engine import OpenAIEngine
from synth.records import Request
from synth.scheduler import TrialId


def serve(port: int) -> None:
    """An OpenAI-compatible server without a model."""
    from aiohttp import web

    text = "Next we compute $17 + 25 = 42$, so that $x = \\frac{42}{2}$. " * 14 + "The answer is $\\boxed{21}$."
    payload = {"choices": [{"text": text, "finish_reason": "stop"}], "usage": {"completion_tokens": 280}}

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(payload)

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    app = web.Application()
    app.router.add_post("/v1/completions", complete)
    app.router.add_get("/v1/models", models)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--trials", type=int, default=5000)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load before the start {load:.1f}\n")
    print("slots  trials/s (client and server)  client us/trial  client trials per core-second")
    settings = SamplingSettings(1.6, 0.95, 0, 2048, ("###",), False)
    for n_slots in options.slots:
        engine = OpenAIEngine("m", settings, [f"http://127.0.0.1:{port}"], n_slots=n_slots)
        try:
            row = measure(engine, options.trials)
        finally:
            engine.close()
        print(f"{n_slots:5,}  {row[0]:28,.0f}  {row[1]:15,.0f}  {1e6 / row[1]:29,.0f}", flush=True)
    server.terminate()


def measure(engine: Any, n_trials: int) -> tuple[float, float]:
    """Trials a second, and microseconds of this process for each."""
    prompt = "A train leaves the station at noon and travels at sixty miles an hour. " * 8
    n_submitted = n_done = 0
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    while n_done < n_trials:
        n_new = min(engine.capacity - (n_submitted - n_done), n_trials - n_submitted)
        engine.submit([Request(TrialId(n_submitted + i, 0), prompt) for i in range(n_new)])
        n_submitted += max(0, n_new)
        n_done += len(engine.poll(0.05))
        assert engine.health().ok
    return n_done / (time.monotonic() - start_s), (time.process_time() - start_cpu_s) / n_done * 1e6


if __name__ == "__main__":
    main()
