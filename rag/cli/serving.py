"""`exhibit serve`, `exhibit keys` and `exhibit mcp`: command lines whose parts are imported when they are used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rag.server.keys import Keys

_HERE = Path(".exhibit")
_INSTALL = "This needs {name}: pip install 'exhibit-rag[{extra}]'."

Bases = Annotated[
    list[Path] | None, typer.Option("--kb", help="Folder of a knowledge base, served by its name. May repeat.")
]
State = Annotated[
    Path | None, typer.Option("--state", help="Folder for keys and the secret; `server` in the first --kb by default.")
]
AllowUrls = Annotated[
    bool, typer.Option("--allow-urls", help="Take in what is at addresses of the public internet, where asked to.")
]
MaxUpload = Annotated[float, typer.Option("--max-upload-mb", min=1, help="Largest upload.")]
Questions = Annotated[
    int, typer.Option("--questions-per-minute", min=0, help="Of one key or address; 0 for as many as come.")
]
Requests = Annotated[int, typer.Option("--requests-per-minute", min=0, help="All others of one key or address.")]

keys = typer.Typer(help="Make, list and take back the keys of the server.", no_args_is_help=True, rich_markup_mode=None)


def serve(  # noqa: PLR0913 - typer: an option is an argument
    kb: Bases = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; beyond this machine keys are needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Where to listen.")] = 8000,
    public_url: Annotated[str, typer.Option("--public-url", help="What links begin with, behind a proxy.")] = "",
    running: Annotated[int, typer.Option("--running", min=1, help="Questions that are answered at once.")] = 1,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Questions that may wait; more are refused.")] = 8,
    allow_urls: AllowUrls = False,
    max_upload_mb: MaxUpload = 4096,
    questions_per_minute: Questions = 120,
    requests_per_minute: Requests = 1200,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Processes, each with its own models; several need a Qdrant server."),
    ] = 1,
    state: State = None,
) -> None:
    """Serve knowledge bases to chat assistants, through the API that OpenAI's clients speak.

    Every knowledge base is a model of its name. From this machine no key is needed as long as none was made.

    Example: exhibit serve --kb museum.exhibit, then in any OpenAI client: base URL http://127.0.0.1:8000/v1
    """
    folders = kb or [_HERE]
    _check_existing(folders)
    with _installed("server"):
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
    kb: Annotated[Path, typer.Option("--kb", help="Folder of the knowledge base.")] = _HERE,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="HOST:PORT", help="Serve over HTTP there; beyond this machine keys are needed."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Also offer `ingest`, of paths on this machine.")] = False,
    below: Annotated[
        list[Path] | None,
        typer.Option("--below", help="Folder in which what is taken in must lie; needed with --http. May repeat."),
    ] = None,
    state: State = None,
) -> None:
    """Serve a knowledge base as tools to assistants such as Claude and Cursor (Model Context Protocol).

    Assistants start it themselves and talk to it over standard input and output. It holds the knowledge base while it
    is used, and for a minute after that.

    Example: claude mcp add museum -- exhibit mcp --kb ~/museum.exhibit
    """
    if below and not write:
        raise typer.BadParameter("--below says what --write may take in; give both.")
    if not write:  # what takes files in makes the knowledge base where there is none
        _check_existing([kb])
    with _installed("mcp"):
        from rag.mcp.tools import ToolOptions
        from rag.mcp.transports import serve_http, serve_stdio
        from rag.server.launch import Address
    folder, options = kb.absolute(), ToolOptions(may_write=write, below=tuple(below or ()))
    if http is None:
        serve_stdio(folder, options)
        return
    host, _, port = http.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise typer.BadParameter(f"`{http}` is no address; write HOST:PORT, as in 127.0.0.1:8100.")
    serve_http(folder, options, Address(host.strip("[]"), int(port)), state or folder / "server")


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whom it is for.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of a knowledge base; all without. May repeat.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="It may also take in and delete.")] = False,
    kb: Bases = None,
    state: State = None,
) -> None:
    """Make a key; it is shown this once, and kept as a hash.

    Example: exhibit keys add website --only museum
    """
    with _kept(kb, state) as kept:
        key, secret = kept.make(name, only or (), may_write=write)
    print(secret)
    typer.echo(f"Key {key.id} for {name}: {_scope(key.bases, key.may_write)}. It is not shown again.", err=True)


@keys.command("list")
def list_keys(kb: Bases = None, state: State = None, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the keys, without their secrets."""
    import dataclasses

    with _kept(kb, state) as kept:
        found = kept.all()
    if as_json:
        print(json.dumps([dataclasses.asdict(key) for key in found], ensure_ascii=False, indent=2))
    else:
        for key in found:
            print(f"{key.id}  {key.name}  {_scope(key.bases, key.may_write)}")


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id, as `exhibit keys list` shows it.")],
    kb: Bases = None,
    state: State = None,
) -> None:
    """Take a key back; what was linked for it cannot be opened any more."""
    with _kept(kb, state) as kept:
        if not kept.revoke(key):
            raise typer.BadParameter(f"There is no key {key}; `exhibit keys list` shows those there are.")


@contextmanager
def _kept(kb: list[Path] | None, state: Path | None) -> Iterator[Keys]:
    folders = kb or [_HERE]
    if state is None:
        _check_existing(folders)
    with _installed("server"):
        from rag.server.keys import Keys
    folder = state or folders[0] / "server"
    folder.mkdir(parents=True, exist_ok=True)
    kept = Keys(folder / "keys.db")
    try:
        yield kept
    finally:
        kept.close()


@contextmanager
def _installed(extra: str) -> Iterator[None]:
    from rag.errors import SettingsError

    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(_INSTALL.format(name=error.name, extra=extra)) from error


def _check_existing(folders: list[Path]) -> None:
    from rag.errors import QueryError

    for folder in folders:
        if not folder.is_dir():
            raise QueryError(
                f"There is no knowledge base at {folder}; make one with `exhibit ingest FOLDER --kb {folder}`."
            )


def _scope(bases: tuple[str, ...], may_write: bool) -> str:
    return f"{', '.join(bases) or 'all knowledge bases'}, {'reads and writes' if may_write else 'reads'}"
