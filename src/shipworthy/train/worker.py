"""One process of a group that trains: `python -m shipworthy.train.worker JOB`, under torchrun.

It ends with its starter, whatever it is doing, and says what is wrong in a file of the work folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from time import sleep

from shipworthy.core.errors import InputError, ShipworthyError
from shipworthy.core.files import write_atomically
from shipworthy.train.fitted import write_fitted
from shipworthy.train.launcher import ERROR, RESULT, read_job

_POLL_SECONDS = 0.5


def main(job: Path) -> int:
    """Train the job of this file together with the other processes; return the exit code."""
    from shipworthy.train.loop import fit

    _end_with(int(os.environ.get("SHIPWORTHY_STARTER", "0")))
    rank = os.environ.get("RANK", "0")
    given = read_job(job)
    try:
        fitted = fit(**given)
    except ShipworthyError as error:
        told = {"message": str(error), "input": isinstance(error, InputError)}
        write_atomically(job.parent / ERROR.format(rank=rank), json.dumps(told))
        return error.exit_code
    if rank == "0":
        result = job.parent / RESULT
        result.mkdir(parents=True, exist_ok=True)
        write_fitted(result, fitted)
    return 0


def _end_with(starter: int) -> None:
    """End this process and torchrun when the process that started them is gone."""
    if not starter:
        return

    def watch() -> None:
        while True:
            try:
                os.kill(starter, 0)
            except ProcessLookupError:
                os.kill(os.getppid(), signal.SIGTERM)
                os._exit(1)
            except PermissionError:
                return
            sleep(_POLL_SECONDS)

    threading.Thread(target=watch, name="starter", daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
