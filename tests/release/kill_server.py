"""Runs a project again and again in forks of one process that has imported everything.

A line on stdin asks for a run: {"arguments": [...], "stderr": path, "file_bytes": n or null}, where
the last is the size that no file may exceed. The answer is the process id of the fork, which leads
a process group of its own; a second line gives its exit code, once it has ended.
"""

from __future__ import annotations

import json
import os
import resource
import sys

import onnx  # noqa: F401
import onnxruntime  # noqa: F401
import polars  # noqa: F401
import torch  # noqa: F401
import transformers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast  # noqa: F401
from transformers.models.bert import modeling_bert  # noqa: F401

import shipworthy.compress.prune
import shipworthy.compress.quantize
import shipworthy.data.rows
import shipworthy.measure.speed
import shipworthy.release.answers
import shipworthy.release.conclusion
import shipworthy.release.report
import shipworthy.train.loop  # noqa: F401
from shipworthy.cli.main import run as shipworthy

transformers.logging.set_verbosity_error()


def run(arguments: list[str], stderr: str, file_bytes: int | None) -> int:
    os.setsid()
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    return shipworthy(arguments)


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = run(asked["arguments"], asked["stderr"], asked["file_bytes"])
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
