"""Verbs by which others check evidence: `verify`, `keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("verify")(verify)
    keys = typer.Typer(
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    keys.callback(invoke_without_command=True)(_keys)
    keys.command("new")(new)
    keys.command("show")(show)
    app.add_typer(keys, name="keys")


def _keys(context: typer.Context, lang: Language = None) -> None:
    from shipworthy.cli.help import without_verb

    without_verb(context)


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
        ),
    ],
    trusted_keys: Annotated[
        Path | None,
        typer.Option(metavar="KEYS"),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="N:HASH"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Check that nothing was edited, removed or added since it was recorded, and who signed."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.errors import EXIT_HOLD, EXIT_SHIP, InputError
    from shipworthy.core.locale import text
    from shipworthy.release.ledger_checks import read_head
    from shipworthy.release.trusted import load_trusted
    from shipworthy.release.verified import lines
    from shipworthy.release.verify import verify as check

    choose_language(lang)
    if jobs is not None and jobs < 1:
        raise InputError(text("error.verify.jobs", jobs=jobs))
    found = check(
        path,
        trusted=load_trusted(trusted_keys) if trusted_keys is not None else None,
        head=read_head(head) if head is not None else None,
        jobs=jobs,
    )
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(lines(found)))
    return EXIT_SHIP if found.sound else EXIT_HOLD


def new(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Make an ed25519 key; the public half is what others check your signatures with."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.errors import EXIT_SHIP
    from shipworthy.core.keys import check_name, default_folder, new_key
    from shipworthy.core.locale import text

    choose_language(lang)
    check_name(name)
    path = (default_folder() if folder is None else folder) / name
    key = new_key(path, name)
    if json:
        print_json(
            {
                "private": str(path),
                "public": f"{path}.pub",
                "key": key.public.text,
                "fingerprint": key.public.fingerprint,
            }
        )
    else:
        print(text("keys.made", path=path, public=f"{path}.pub"))
        print(key.public.text)
        print(text("keys.fingerprint", fingerprint=key.public.fingerprint))
    return EXIT_SHIP


def show(
    path: Annotated[Path, typer.Argument(metavar="KEY")],
    json: Json = False,
    lang: Language = None,
) -> int:
    """Show the public half of a key, as it goes into a team file; asks for no passphrase."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.errors import EXIT_SHIP
    from shipworthy.core.keys import own_or_file, public_of
    from shipworthy.core.locale import text

    choose_language(lang)
    key = public_of(own_or_file(path))
    if json:
        print_json({"key": key.text, "fingerprint": key.fingerprint})
    else:
        print(key.text)
        print(text("keys.fingerprint", fingerprint=key.fingerprint))
    return EXIT_SHIP
