"""Help and usage errors in the language of the user.

No verb carries its help: texts stand in the catalogue `help.json` under the names of verb and
option, `help.judge`, `help.judge.short`, `help.judge.policy`; options that are the same everywhere
under `help.option.<name>`. What the parser itself says is turned by `core.locale.libraries`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import typer

from shipworthy.core.locale import has_text, language, text
from shipworthy.core.locale.libraries import translated

# Typer brings its own copy of click, or stands on the installed one: these are of either.
UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
_Formatter: Any = typer.Context.formatter_class

_EXTRAS = re.compile(r"(?P<help>.*?)(?:^|  )\[(?P<extras>[^\]]*)\]", re.DOTALL)
_NO_START = "，。；：、？！）」》”%…"
"""What may not begin a line of Chinese."""


def asked_language(arguments: Sequence[str]) -> str | None:
    """Return what stands behind `--lang`, before the arguments are read: help needs it."""
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--lang" and position + 1 < len(arguments):
            following = arguments[position + 1]
            return None if following.startswith("-") else following
        if argument.startswith("--lang="):
            return argument.partition("=")[2]
    return None


def command_of(app: typer.Typer) -> Any:
    """Return the command of an app, with help in the language in use."""
    command: Any = typer.main.get_command(app)
    _say(command, "help")
    return command


def without_verb(context: typer.Context) -> None:
    """Show the verbs of a group where none was given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def usage(error: Any) -> str:
    """Return what is wrong with the arguments, and where help is, as one sentence."""
    verb = error.ctx.command_path if error.ctx is not None else "shipworthy"
    message = translated(error.format_message().rstrip("."))
    return text("cli.usage", problem=f"{message[:1].lower()}{message[1:]}", verb=verb)


def _say(command: Any, place: str) -> None:
    command.help = _told(command.help, place)
    for option in command.params:
        option.help = _told(option.help, f"{place}.{option.name}", f"help.option.{option.name}")
    if language() != "en":
        command.context_class = _WideContext
    for name, verb in getattr(command, "commands", {}).items():
        _say(verb, f"{place}.{name}")
        verb.short_help = _told(verb.short_help, f"{place}.{name}.short")


def _told(written: str | None, *keys: str) -> str | None:
    """Return the first text that there is; a verb still being written keeps its docstring."""
    return next((text(key) for key in keys if has_text(key)), written)


class _WideFormatter(_Formatter):  # type: ignore[misc]
    """Sets help by cells: a Han character takes two, and lines may break between any two."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, text("help.usage") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{text('help.heading', name=translated(heading))}\n")

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        for line in _lines(" ".join(text.split()), self.width - self.current_indent):
            self.write(f"{indent}{line}\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        terms = list(rows)
        column = min(max(_cells(term) for term, _ in terms), col_max) + col_spacing
        for term, told in terms:
            self.write(f"{'':>{self.current_indent}}{term}")
            lines = _lines(_with_extras(told), max(self.width - column - 2, 10))
            if _cells(term) <= column - col_spacing:
                self.write(" " * (column - _cells(term)) + next(lines, "") + "\n")
            else:
                self.write("\n")
            for line in lines:
                self.write(f"{'':>{column + self.current_indent}}{line}\n")


class _WideContext(typer.Context):
    formatter_class = _WideFormatter


def _with_extras(told: str) -> str:
    """Turn what the parser adds in brackets: `[required]`, `[default: 1; 1<=x<=3]`."""
    found = _EXTRAS.fullmatch(told)
    if found is None:
        return translated(told)
    extras = text("help.extras").join(translated(one) for one in found["extras"].split("; "))
    return f"{found['help']}  [{extras}]".strip()


def _lines(told: str, cells: int) -> Iterator[str]:
    """Break a text into lines of at most `cells`, never inside a word of letters."""
    line = ""
    for piece in re.findall(rf"[!-~]+[{_NO_START}]*|.[{_NO_START}]*", told):
        if _cells(line + piece) > cells and line.strip():
            yield line.rstrip()
            line = ""
        line += piece if line or piece != " " else ""
    if line.strip():
        yield line.rstrip()


def _cells(told: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in told)
