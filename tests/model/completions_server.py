"""A server of OpenAI's protocol over a language model, and troubles that can be put before it.

    python completions_server.py FOLDER    serves a candidate's folder; prints its port

It computes what it says: answers by greedy decoding, likelihoods by the model.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from shipworthy.data.batches import Encoded
from shipworthy.model.dialogues import Predicted
from shipworthy.model.runtimes import load_language_model
from shipworthy.model.torch_language_model import TorchLanguageModel

Trouble = Callable[["Handler", int], bool]
"""Called with each request and its number; True where it has answered itself."""


class CompletionsServer(ThreadingHTTPServer):
    """asked: how often each prompt came; trouble: what goes wrong."""

    def __init__(self, model: TorchLanguageModel, trouble: Trouble | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.trouble = model, trouble
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.count = 0
        self.keys: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompletionsServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = self.path.endswith("/chat/completions")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        with self.server.lock:
            number = self.server.count
            self.server.count += 1
            self.server.keys.add(self.headers.get("Authorization", ""))
        if self.server.trouble is not None and self.server.trouble(self, number):
            return
        with self.server.lock:
            self.server.asked[prompt] += 1
            begun = time.perf_counter()
            answer = self._answer(body, prompt, chat)
            seconds = time.perf_counter() - begun
        self.send(200, answer, {"X-Seconds": f"{seconds:.6f}"})

    def _answer(self, body: dict[str, Any], prompt: str, chat: bool) -> dict[str, Any]:
        model = self.server.model
        tokens = model.tokenizer.backend_tokenizer.encode(prompt, add_special_tokens=False)
        usage = {"prompt_tokens": len(tokens.ids), "completion_tokens": 0}
        if body.get("echo"):
            told = likelihoods(model, tokens)
            return {"choices": [{"text": prompt, "logprobs": told}], "usage": usage}
        if len(tokens.ids) + body["max_tokens"] > model.info.max_length:
            return {"error": {"message": "This model's maximum context length is exceeded"}}
        asked = model.template(prompt) if chat else prompt
        said = model.go_on([asked], max_new_tokens=body["max_tokens"])[0]
        usage["completion_tokens"] = body["max_tokens"]
        choice = {"message": {"content": said}} if chat else {"text": said}
        return {"choices": [choice], "usage": usage}

    def send(
        self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        status = 400 if "error" in answer and status == 200 else status
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def likelihoods(model: TorchLanguageModel, tokens: Any) -> dict[str, Any]:
    """Log-probability of each token but the first, and where each begins."""
    ids = np.array(tokens.ids, dtype=np.int32)
    found = Predicted(Encoded(ids, np.array([0, len(ids)])), np.array([1]), np.array([0]), rows=1)
    losses, _ = model.score(found)
    return {
        "token_logprobs": [None, *(-losses).tolist()],
        "text_offset": [start for start, _ in tokens.offsets],
    }


def serve(server: CompletionsServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    running = CompletionsServer(load_language_model(Path(sys.argv[1])))
    print(running.url, flush=True)
    running.serve_forever()
