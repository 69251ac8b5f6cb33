"""What asking a server costs beyond the server's own time, beside a bare loop in the same run.

Run it with `python benchmarks/endpoint.py [--json]`. A server in a process of its own answers each
request after a sleep and tells in a header how long it took. Overhead is the time of a request less
that. Ours keeps every answer in a file, which the bare loop of http.client does not; both send the
same bodies over one kept connection. A run whose answers differ ends with an error.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from method.rounds import options, tell

GOAL_MS = 2.0
SLEEP_SECONDS = 0.005
ANSWER = {
    "choices": [{"text": "an answer of a few words"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 6},
}


def serve() -> None:
    """Answer for ever; print the port first."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer after a sleep."""
            begun = perf_counter()
            self.rfile.read(int(self.headers["Content-Length"]))
            sleep(SLEEP_SECONDS)
            content = json.dumps(ANSWER).encode()
            taken = f"openai-processing-ms: {(perf_counter() - begun) * 1e3:.4f}"
            head = f"HTTP/1.1 200 OK\r\n{taken}\r\nContent-Length: {len(content)}\r\n\r\n"
            self.wfile.write(head.encode() + content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def body(number: int) -> dict[str, Any]:
    """Return a request that differs from all others."""
    prompt = f"Question {number}: " + "what is to be done about it? " * 20
    return {"model": "m", "prompt": prompt, "max_tokens": 16, "temperature": 0, "seed": 0}


def ours(port: int, requests: int, first: int, cache: Path) -> list[float]:
    """Return the overhead of each request, ms."""
    from shipworthy.model.endpoint_client import Client
    from shipworthy.model.endpoint_settings import EndpointSettings

    client = Client(EndpointSettings(url=f"http://127.0.0.1:{port}/v1", model="m"), cache)
    seconds = []
    for number in range(first, first + requests):
        begun = perf_counter()
        answer = client.post("/completions", body(number))
        seconds.append(perf_counter() - begun)
        check(answer)
    servers = [one.times.server or 0.0 for one in client.purse.requests]
    return [(all - own) * 1e3 for all, own in zip(seconds, servers, strict=True)]


def bare(port: int, requests: int, first: int) -> list[float]:
    """Return the overhead of each request without anything around it, ms."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found = []
    for number in range(first, first + requests):
        begun = perf_counter()
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(body(number)), head)
        response = connection.getresponse()
        answer = json.loads(response.read())
        seconds = perf_counter() - begun
        found.append(seconds * 1e3 - float(response.headers["openai-processing-ms"]))
        check(answer)
    connection.close()
    return found


def check(answer: dict[str, Any]) -> None:
    """End the run where an answer is not the server's."""
    if answer != ANSWER:
        raise SystemExit(f"an answer differs: {answer}")


def measure(requests: int, rounds: int) -> dict[str, Any]:
    """Take both in turn and return median and 95th percentile of each, ms."""
    command = [sys.executable, __file__, "--serve"]
    told: dict[str, list[float]] = {"shipworthy": [], "bare loop": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        cache = Path(folder) / "answers.sqlite"
        ours(port, 20, 10**9, cache), bare(port, 20, 10**9)
        for number in range(rounds):
            first = number * requests
            told["shipworthy"] += ours(port, requests, first, cache)
            told["bare loop"] += bare(port, requests, first)
        server.terminate()
    found: dict[str, Any] = {"requests": requests * rounds, "server_ms": SLEEP_SECONDS * 1e3}
    for name, values in told.items():
        found[name] = {
            "median_ms": statistics.median(values),
            "p95_ms": sorted(values)[int(0.95 * len(values))],
        }
    found["more_ms"] = found["shipworthy"]["median_ms"] - found["bare loop"]["median_ms"]
    return found


def show(found: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    for name in ("shipworthy", "bare loop"):
        one = found[name]
        print(f"{name}: median {one['median_ms']:.2f} ms, p95 {one['p95_ms']:.2f} ms overhead")
    print(f"{found['requests']} requests; {found['more_ms']:.2f} ms more (goal {GOAL_MS} in all)")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve()
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--requests", type=int, default=200)
    given = parser.parse_args()
    tell("endpoint", measure(given.requests, given.rounds), show, as_json=given.json)


if __name__ == "__main__":
    main()
