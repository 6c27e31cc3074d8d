"""``--push_to_hub``: the export with tokenizer and card, once it is whole; never a checkpoint; never without a licence.

The hub is an HTTP server in this process; client, run and export are the real ones.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dart_tasks import embedded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about how it was built


class Hub(BaseHTTPRequestHandler):
    """What the client asks of the hub for a commit of small files. ``server.commits`` holds each commit's files."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action = self.path.split("/")[-2 if self.path.endswith("/main") else -1]
        answer: dict[str, Any] = {}
        if self.server.refuse == action:  # type: ignore[attr-defined]
            self.send_error(401, "Who are you?")
            return
        if action == "create":
            name = json.loads(body)["name"]
            answer = {"url": f"{self.server.url}/me/{name}", "id": f"me/{name}"}  # type: ignore[attr-defined]
        elif action == "preupload":
            named = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in named]}
        elif action == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            self.server.commits.append(  # type: ignore[attr-defined]
                {file["path"]: base64.b64decode(file["content"]) for file in files}
            )
            url = f"{self.server.url}/me/model/commit/abc"  # type: ignore[attr-defined]
            answer = {"commitUrl": url, "commitOid": "abc", "success": True}
        self.respond(answer)

    def do_GET(self) -> None:
        if self.server.refuse == "create":  # type: ignore[attr-defined]
            self.send_error(404, "No such repository")
        else:
            self.respond({"id": "me/model", "sha": "abc", "siblings": []})

    def respond(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url, server.commits, server.refuse = f"http://127.0.0.1:{server.server_port}", [], ""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # this hub is on the same machine
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def push(sft: Any, tmp_path: Path, build_dataset: Callable[..., Path]) -> Callable[..., tuple[int, str]]:
    """Trains two steps with a checkpoint at each and ``--push_to_hub true``; exit code and error."""

    def run(*flags: str, licence: str = "mit") -> tuple[int, str]:
        data = build_dataset(tmp_path / "data", rows=8)
        (data / "README.md").write_text(f"---\nlicense: {licence}\n---\n" if licence else "")
        saving = ["--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1", "--push_to_hub", "true"]
        code, error = sft("model", *saving, *flags, model=embedded.BASE_MODEL_DIR, data=data)
        return code, error

    return run


def test_the_export_is_uploaded_once_with_tokenizer_and_card_and_no_checkpoint(
    hub: Any, push: Callable[..., tuple[int, str]], sft: Any, tmp_path: Path
) -> None:
    """Two checkpoints were uploaded, without tokenizer and card, and the export never."""
    assert push() == (0, "")
    (files,) = hub.commits
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert not [name for name in files if "/" in name or name in ("run.json", "optimizer.pt", "training_args.bin")]
    assert all(content == (tmp_path / "model" / name).read_bytes() for name, content in files.items())
    assert "pushed to me/model" in sft.out


@pytest.mark.parametrize(
    ("refuse", "flags", "licence", "message", "trained"),
    [
        ("", [], "", "refusing to push without a licence", False),
        ("", ["--hub_model_id", "me/mine"], "llama3", "wants the name to begin with 'Llama-3' (got 'mine')", False),
        ("create", [], "mit", "cannot open model: Client error '401", False),
        ("commit", [], "mit", "but cannot be uploaded to me/model (Client error '401", True),
    ],
    ids=["no licence", "a name that the licence forbids", "no permission", "no permission to commit"],
)
def test_a_push_that_is_refused_is_one_line(
    refuse: str, flags: list[str], licence: str, message: str, trained: bool,
    hub: Any, push: Callable[..., tuple[int, str]], tmp_path: Path,
) -> None:  # fmt: skip
    """Where it can be known before, nothing is trained."""
    hub.refuse = refuse
    code, error = push(*flags, licence=licence)
    assert code == 1 and message in error and len(error.strip().splitlines()) == 1
    assert (tmp_path / "model" / "model.safetensors").exists() is trained
    assert not hub.commits
