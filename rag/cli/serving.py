"""`exhibit serve`, `exhibit keys` and `exhibit mcp`; the servers are imported when a command runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import arguments

if TYPE_CHECKING:
    from rag.server.keys import Keys

_INSTALL = "This needs {name}: pip install 'exhibit-rag[{extra}]'."

Bases = Annotated[
    list[Path] | None, typer.Option("--kb", help="Folder of a knowledge base, served under its name. Repeatable.")
]
State = Annotated[
    Path | None,
    typer.Option("--state", help="Folder for the keys and the secret; by default `server` in the first --kb."),
]
AllowUrls = Annotated[
    bool, typer.Option("--allow-urls", help="Let clients index files and pages at addresses of the public internet.")
]
MaxUpload = Annotated[float, typer.Option("--max-upload-mb", min=1, help="Largest upload, in megabytes.")]
Questions = Annotated[
    int, typer.Option("--questions-per-minute", min=0, help="Limit for each key or address; 0 for no limit.")
]
Requests = Annotated[
    int, typer.Option("--requests-per-minute", min=0, help="Limit of other requests for each key or address.")
]

keys = typer.Typer(help="Make, list and revoke the keys of the server.", no_args_is_help=True, rich_markup_mode=None)


def serve(  # noqa: PLR0913 - typer: an option is an argument
    kb: Bases = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; other machines need a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port to listen on.")] = 8000,
    public_url: Annotated[
        str, typer.Option("--public-url", help="What links begin with, if the server is behind a proxy.")
    ] = "",
    running: Annotated[int, typer.Option("--running", min=1, help="Questions answered at the same time.")] = 1,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Questions that may wait; others are refused.")] = 8,
    allow_urls: AllowUrls = False,
    max_upload_mb: MaxUpload = 4096,
    questions_per_minute: Questions = 120,
    requests_per_minute: Requests = 1200,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=1, help="Processes, each with its own models; more than one needs a Qdrant server."
        ),
    ] = 1,
    state: State = None,
) -> None:
    """Serve knowledge bases to chat assistants and apps, through an API that clients of OpenAI can use.

    Each knowledge base appears as a model with the same name. On this machine no key is needed until one exists.

    Example: exhibit serve --kb museum.exhibit, then in any OpenAI client: base URL http://127.0.0.1:8000/v1
    """
    folders = kb or [arguments.DEFAULT_KB]
    for base in folders:
        arguments.require_folder(base)
    with _require_extra("server"):
        from rag.server.launch import Address, serve
        from rag.server.state import ServerOptions
    folder = state or folders[0] / "server"
    options = ServerOptions(
        folder,
        public_url=public_url,
        running=running,
        waiting=waiting,
        max_upload_mb=max_upload_mb,
        allow_urls=allow_urls,
        questions_per_minute=questions_per_minute,
        requests_per_minute=requests_per_minute,
    )
    serve(folders, Address(host, port), options, workers=workers)


def mcp(
    kb: Annotated[Path, typer.Option("--kb", help="Folder of the knowledge base.")] = arguments.DEFAULT_KB,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="HOST:PORT", help="Serve over HTTP at this address; other machines need a key."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also offer the tool `ingest`, for paths on this machine.")
    ] = False,
    below: Annotated[
        list[Path] | None,
        typer.Option("--below", help="Only index files below this folder; required with --http --write. Repeatable."),
    ] = None,
    state: State = None,
) -> None:
    """Serve a knowledge base as tools to assistants such as Claude and Cursor (Model Context Protocol).

    Assistants start this command themselves and talk to it over standard input and output. It has the knowledge base
    open while it is in use, and for a minute after that.

    Example: claude mcp add museum -- exhibit mcp --kb ~/museum.exhibit
    """
    if below and not write:
        raise typer.BadParameter("--below limits what --write may index; give both.")
    if not write:  # `ingest` makes a new knowledge base
        arguments.require_folder(kb)
    with _require_extra("mcp"):
        from rag.mcp.tools import ToolOptions
        from rag.mcp.transports import serve_http, serve_stdio
        from rag.server.launch import Address
    folder, options = kb.absolute(), ToolOptions(may_write=write, below=tuple(below or ()))
    if http is None:
        serve_stdio(folder, options)
        return
    host, _, port = http.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise typer.BadParameter(f"`{http}` is not an address. Write HOST:PORT, as in 127.0.0.1:8100.")
    serve_http(folder, options, Address(host.strip("[]"), int(port)), state or folder / "server")


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who the key is for.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Name of a knowledge base that it opens; by default all. Repeatable."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Also allow it to index and delete.")] = False,
    kb: Bases = None,
    state: State = None,
) -> None:
    """Make a key; it is shown only once, and stored as a hash.

    Example: exhibit keys add website --only museum
    """
    with _open_keys(kb, state) as store:
        key, secret = store.make(name, only or (), may_write=write)
    print(secret)
    typer.echo(f"Key {key.id} for {name}: {_scope(key.bases, key.may_write)}. It is not shown again.", err=True)


@keys.command("list")
def list_keys(kb: Bases = None, state: State = None, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the keys, without their secrets."""
    with _open_keys(kb, state) as store:
        found = store.all()
    if as_json:
        print(json.dumps([dataclasses.asdict(key) for key in found], ensure_ascii=False, indent=2))
    else:
        for key in found:
            print(f"{key.id}  {key.name}  {_scope(key.bases, key.may_write)}")


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id, from `exhibit keys list`.")],
    kb: Bases = None,
    state: State = None,
) -> None:
    """Revoke a key; links that were made for it stop working."""
    with _open_keys(kb, state) as store:
        if not store.revoke(key):
            raise typer.BadParameter(f"Unknown key {key}. `exhibit keys list` shows all keys.")


@contextmanager
def _open_keys(kb: list[Path] | None, state: Path | None) -> Iterator[Keys]:
    folders = kb or [arguments.DEFAULT_KB]
    if state is None:
        for base in folders:
            arguments.require_folder(base)
    with _require_extra("server"):
        from rag.server.keys import Keys
    folder = state or folders[0] / "server"
    folder.mkdir(parents=True, exist_ok=True)
    store = Keys(folder / "keys.db")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _require_extra(extra: str) -> Iterator[None]:
    from rag.errors import SettingsError

    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(_INSTALL.format(name=error.name, extra=extra)) from error


def _scope(bases: tuple[str, ...], may_write: bool) -> str:
    return f"{', '.join(bases) or 'all knowledge bases'}, {'reads and writes' if may_write else 'reads'}"
