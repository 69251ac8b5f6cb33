"""Runs a project again and again in forks of one process that has imported everything.

A line on stdin asks for a run: {"folder": path, "only": stage or null, "result": path}. The answer
is the process id of the fork, which leads a process group of its own; a second line says how it
ended, once it has.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

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
from shipworthy.release.pipeline import run_project
from shipworthy.release.project import load_project

transformers.logging.set_verbosity_error()


def run(folder: Path, only: str | None) -> None:
    file = folder / "shipworthy.yaml"
    run_project(load_project(file), root=folder, text=file.read_text(), only=only)


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                run(Path(asked["folder"]), asked["only"])
                code = 0
            except BaseException as error:
                Path(asked["result"]).write_text(f"{type(error).__name__}: {error}")
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
