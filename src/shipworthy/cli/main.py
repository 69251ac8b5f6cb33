"""Entry point: every verb, and what becomes of an error.

Exit codes: 0 ship, 3 hold, 4 undecided, 2 bad usage or input, 1 a bug of ours, 130 interrupted. A
crash can never be read as a verdict.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from shipworthy.cli import (
    approvals,
    asking,
    audit,
    cards,
    compare,
    compressing,
    evidence,
    exports,
    files,
    imports,
    mitigating,
    proof,
    runs,
    stages,
    standards,
    training,
)
from shipworthy.cli import next as advice
from shipworthy.cli.help import UsageError, asked_language, command_of, usage, without_verb
from shipworthy.cli.options import Language
from shipworthy.cli.output import choose_language
from shipworthy.core.errors import (
    EXIT_BAD_INPUT,
    EXIT_BUG,
    EXIT_INTERRUPTED,
    ShipworthyError,
)
from shipworthy.core.locale import text

app = typer.Typer(
    name="shipworthy",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (
    runs,
    training,
    compressing,
    mitigating,
    asking,
    files,
    standards,
    audit,
    evidence,
    imports,
    compare,
    exports,
    approvals,
    cards,
    proof,
    stages,
    advice,
):
    group.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"shipworthy {version('shipworthy')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _everything(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
    lang: Language = None,
) -> None:
    without_verb(context)


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one verb and return its exit code; errors are one line on stderr."""
    try:
        choose_language(asked_language(arguments))
        command = command_of(app)
        result: Any = command(args=arguments, prog_name="shipworthy", standalone_mode=False)
        sys.stdout.flush()
        if result == EXIT_INTERRUPTED:
            _say(text("cli.interrupted"))
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _say(text("cli.interrupted"))
        return EXIT_INTERRUPTED
    except UsageError as error:
        _say(usage(error))
        return EXIT_BAD_INPUT
    except ShipworthyError as error:
        # A bug behind it has a trace that its one line leaves out.
        bug = error.exit_code == EXIT_BUG and error.__cause__ is not None
        _say(text("error.stages.trace", problem=error, path=_trace()) if bug else str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output left (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUG
    except Exception as error:
        _say(text("cli.bug", kind=type(error).__name__, error=error, path=_trace()))
        return EXIT_BUG


def _say(message: str) -> None:
    print(f"shipworthy: {' '.join(message.split())}", file=sys.stderr)


def _trace() -> Path:
    path = (
        Path(tempfile.gettempdir())
        / f"shipworthy-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    )
    path.write_text(traceback.format_exc(), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
