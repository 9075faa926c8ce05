"""The command ``polymodal serve``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.arguments import Device, Quiet, exits

KEY_VARIABLE = "POLYMODAL_API_KEYS"


def serve_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, a run folder, or the model folder in it.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds the model.")] = 1,
    index: Annotated[
        Path | None, typer.Option(metavar="INDEX", help="Folder that `polymodal index` wrote, for /search.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Whether / is a page for people.")] = True,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"One key a line, of which a request needs one; or in {KEY_VARIABLE}."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate (PEM), for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    cors: Annotated[
        list[str], typer.Option(metavar="ORIGIN", help="Origin whose pages may read answers; repeatable.")
    ] = [],  # noqa: B006
    max_batch: Annotated[int, typer.Option(min=1, help="Rows that are predicted together, at most.")] = 64,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="How long a row waits for others, in milliseconds.")] = 2.0,
    queue: Annotated[int, typer.Option(min=1, help="Rows that may wait; further requests are refused.")] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.")] = 30.0,
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Size of a request, at most: 500KB, 32MB.")] = "32MB",
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of a request, at most.")] = 1000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Pixels of a picture, at most.")] = 40_000_000,
    max_seconds: Annotated[float, typer.Option(help="Seconds of a sound or film, at most.")] = 600.0,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep predictions as Parquet files here, for `polymodal drift`.")
    ] = None,
    record_columns: Annotated[
        str, typer.Option(metavar="COLS", help="Input columns to keep with them, by comma; all: every one.")
    ] = "",
    otel: Annotated[bool, typer.Option("--otel", help="Send traces by OpenTelemetry's protocol (OTLP).")] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Serve a model over HTTP: predictions, explanations, embeddings, search, and a page for people."""
    with exits("Stopped."):
        from polymodal.cli import console, options
        from polymodal.serving.server import serve
        from polymodal.serving.settings import Limits, ServerSettings, parse_size, read_api_keys

        limits: dict[str, Any] = {"max_rows": max_rows, "max_pixels": max_pixels, "max_seconds": max_seconds}
        settings = ServerSettings(
            model=model,
            host=host,
            port=port,
            workers=workers,
            index=index,
            has_page=page,
            api_keys=read_api_keys(api_key_file, KEY_VARIABLE),
            tls_cert=tls_cert,
            tls_key=tls_key,
            cors=tuple(cors),
            limits=Limits(max_body_bytes=parse_size(max_body), **limits),
            max_batch=max_batch,
            max_wait_s=max_wait_ms / 1000,
            queue=queue,
            timeout_s=timeout,
            record=record,
            record_columns=tuple(options.parse_columns([record_columns] if record_columns else [])),
            otel=otel,
            device=device,
            is_quiet=quiet,
        )
        serve(settings, console.print_line)
