"""A run over several processes, started here: torchrun does the starting and the restarting.

What the processes train on is written into the run's work folder; they find it there, whether this
process started them or the user's own torchrun did. A process that dies is started again with all
others, and they go on from the last checkpoint; bad input ends them all at once, with its one line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from shipworthy.core.device import threads
from shipworthy.core.errors import EXIT_BAD_INPUT, EXIT_BUG, InputError, StageError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import language, text
from shipworthy.core.progress import progress
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.train import mesh
from shipworthy.train.fitted import Fitted, read_fitted
from shipworthy.train.metrics import FILE as METRICS
from shipworthy.train.metrics import live
from shipworthy.train.settings import TrainSettings

if TYPE_CHECKING:
    from shipworthy.core.progress import Step
    from shipworthy.train.loop import Given
    from shipworthy.train.settings import ParallelSettings

JOB, ROWS, CALIBRATION = "job.json", "job-rows.parquet", "job-calibration.parquet"
ERROR = "job-error-{rank}.json"
RESULT = "job-result"
RESTARTS = 3
_POLL_SECONDS = 0.2
_STOP_SECONDS = 5.0
_ROOT_CAUSE = re.compile(r"rank\s*:\s*(\d+) .*?exitcode\s*:\s*(-?\d+)", re.DOTALL)


def fit_in_group(given: Given, layout: ParallelSettings) -> Fitted:
    """Train in as many processes as the layout takes, on this machine.

    Raises InputError where the processes found the input at fault, SettingsError where there are
    fewer GPUs than processes, StageError where one of them died more often than it is started
    again.
    """
    mesh.check_devices(layout.processes)
    job = write_job(given, layout)
    command = [
        sys.executable, "-P", "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={layout.processes}", f"--max-restarts={RESTARTS}",
        "-m", "shipworthy.train.worker", str(job),
    ]  # fmt: skip
    environment = {
        "OMP_NUM_THREADS": str(max(1, threads() // layout.processes)),
        "TOKENIZERS_PARALLELISM": "false",
        # Else processes that are started anew read the addresses of those that ended, and wait.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        **os.environ,
        "SHIPWORTHY_PROGRESS": "off",
        "SHIPWORTHY_LANG": language(),
        "SHIPWORTHY_STARTER": str(os.getpid()),
        mesh.HANDED: "1",
    }
    with tempfile.TemporaryFile() as said, _started(command, environment, said) as process:
        _follow(process, given)
        code = process.wait()
        said.seek(0)
        _raise_error(given.work, code, said.read().decode("utf-8", "replace"))
    fitted = read_fitted(given.work / RESULT)
    _clear(given.work)
    return fitted


def lead() -> None:
    """Join, as the first of them, the processes that the user's torchrun started beside this one.

    Who joins before a run stays joined after it, and can be handed another.
    """
    mesh.join()


def hand_over(given: Given, layout: ParallelSettings) -> None:
    """Tell the processes that the user's torchrun started beside this one what to train on."""
    _broadcast(str(write_job(given, layout)))


def let_go() -> None:
    """Tell them that nothing more is to be done; does nothing where there are none."""
    if mesh.inside() and not mesh.handed():
        with suppress(RuntimeError):  # those who found an error themselves are gone
            _broadcast(None)
        mesh.leave()


def follow() -> int:
    """Do what the first process hands over, until nothing more is; return the exit code."""
    from shipworthy.train.worker import main

    os.environ["SHIPWORTHY_PROGRESS"] = "off"
    mesh.join()
    code = 0
    while not code:
        job = _broadcast(None)
        if job is None:
            break
        os.environ[mesh.HANDED] = "1"
        code = main(Path(job))
        del os.environ[mesh.HANDED]
        if code:
            # An error that all found is told by the first process, and torchrun then ends this one.
            sleep(_STOP_SECONDS)
            told = Path(job).parent / ERROR.format(rank=os.environ["RANK"])
            print("shipworthy:", json.loads(told.read_text("utf-8"))["message"], file=sys.stderr)
    mesh.leave()
    return code


def _broadcast(job: str | None) -> str | None:
    from torch import distributed

    told = [job]
    distributed.broadcast_object_list(told, src=0)
    return told[0]


def write_job(given: Given, layout: ParallelSettings) -> Path:
    """Write what a group of processes trains on into the work folder; return the file to hand it.

    Frames lie beside it as Parquet.
    """
    work = given.work.resolve()
    _clear(work)
    work.mkdir(parents=True, exist_ok=True)
    given.rows.write_parquet(work / ROWS)
    given.calibration.write_parquet(work / CALIBRATION)
    settings = given.settings.model_copy(update={"parallel": layout})
    job = {
        "model_folder": str(given.model_folder),
        "text": given.text,
        "label": given.label,
        "classes": list(given.classes),
        "settings": settings.model_dump(mode="json"),
        "seed": given.seed,
        "out": str(given.out),
        "work": str(work),
        "unit": given.unit,
        "checkpoint_seconds": given.checkpoint_seconds,
        "cache": None if given.cache is None else str(given.cache),
        "tokens": given.tokens,
        "language": None if given.language is None else asdict(given.language),
        "weight": given.weight,
        "hold_zeros": given.hold_zeros,
    }
    write_atomically(work / JOB, json.dumps(job))
    return work / JOB


def read_job(path: Path) -> dict[str, Any]:
    """Return the arguments of `fit` that `write_job` wrote."""
    import polars as pl

    job: dict[str, Any] = json.loads(path.read_text("utf-8"))
    language = job["language"]
    return {
        **job,
        "model_folder": Path(job["model_folder"]),
        "rows": pl.read_parquet(path.parent / ROWS),
        "calibration": pl.read_parquet(path.parent / CALIBRATION),
        "classes": tuple(job["classes"]),
        "settings": TrainSettings.model_validate(job["settings"]),
        "out": Path(job["out"]),
        "work": Path(job["work"]),
        "cache": None if job["cache"] is None else Path(job["cache"]),
        "language": None if language is None else RuntimeInfo(**{**language, "classes": ()}),
    }


class _started:  # noqa: N801 - used like a function
    """A process that does not outlive the block."""

    def __init__(self, command: list[str], environment: dict[str, str], said: Any) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            # Ctrl-C at the terminal is ours to handle, not every worker's.
            start_new_session=True,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *details: object) -> None:
        _stop(self.process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _follow(process: subprocess.Popen[bytes], given: Given) -> None:
    """Show how far the group is until it ends, or until a process says that the input is bad."""
    from shipworthy.train.selection import select

    rows = select(given.rows, given.settings.rows, unit=given.unit, seed=given.seed).height
    with progress("train", total=rows * given.settings.epochs, unit="rows") as report:
        shown = 0
        while process.poll() is None:
            shown = _report(given.work / METRICS, shown, report)
            if any(given.work.glob(ERROR.format(rank="*"))):
                _stop(process)
            sleep(_POLL_SECONDS)
        _report(given.out.parent / METRICS, shown, report)


def _report(metrics: Path, shown: int, report: Step) -> int:
    """Report the rows of steps that are new in the file of metrics; return the last step shown."""
    with suppress(OSError, ValueError, KeyError):
        for line in metrics.read_text("utf-8").splitlines():
            values = json.loads(line)
            if values["step"] > shown:
                report(values["rows"], live(values))
                shown = values["step"]
    return shown


def _raise_error(work: Path, code: int, said: str) -> None:
    """Raise what ended the group, where something did."""
    told = sorted(work.glob(ERROR.format(rank="*")))
    if told:
        error = json.loads(told[0].read_text("utf-8"))
        _clear(work)
        kind = InputError if error["input"] else StageError
        raise kind(text("error.launcher.told", message=error["message"]))
    if code == 0:
        return
    found = _ROOT_CAUSE.search(said.partition("Root Cause")[2])
    rank, died = (int(found[1]), int(found[2])) if found else (0, code)
    lines = [line.strip() for line in said.splitlines()]
    own = [line for line in lines if line.startswith(f"[rank{rank}]") and "Error" in line]
    last = own[-1].partition(":")[2].strip() if own else text("error.launcher.silent")
    key = "error.launcher.signal" if died < 0 else "error.launcher.code"
    raise StageError(
        text(key, rank=rank, number=abs(died), restarts=RESTARTS, said=last),
        # Killed from outside, mostly for memory: the machine is too small, which is no bug of ours.
        exit_code=EXIT_BAD_INPUT if died == -9 else EXIT_BUG,
    )


def _clear(work: Path) -> None:
    """Remove what a group was handed and what it answered."""
    import shutil

    for file in work.glob("job-error-*.json"):
        file.unlink(missing_ok=True)
    for name in (JOB, ROWS, CALIBRATION):
        (work / name).unlink(missing_ok=True)
    shutil.rmtree(work / RESULT, ignore_errors=True)
    with suppress(OSError):
        work.rmdir()
