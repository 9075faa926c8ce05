"""The commands for embeddings: ``polymodal embed | index | search``.

Slow imports are made inside the command that needs them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.arguments import Data, Device, Json, ModelPath, Quiet, StrictTable, Verbose, exits, unwinding
from polymodal.cli.progress_bar import LOADING, open_progress

IndexPath = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder that `polymodal index` wrote.")]


def embed_command(
    model: ModelPath,
    data: Data,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Ends in .parquet, .jsonl or .csv.")],
    device: Device = None,
    strict: StrictTable = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Turn every row of a table into vectors: one a row and, of a model without target, one a stream."""
    with exits("Stopped; nothing was written."), unwinding(), open_progress(verbose, quiet) as progress:
        from polymodal.cli.prediction_files import check_output, open_output

        check_output(output, data)
        with progress.phase(LOADING, None):
            from polymodal.cli import console
            from polymodal.runs.model import load

            loaded = load(model, device)
        num_rows = 0
        with open_output(output) as write:
            for batch in loaded.embed_batches(data, strict=strict, progress=progress):
                write(batch.to_columns(), (), ())
                num_rows += len(batch.rows)
        console.print_line(f"{num_rows:,} rows embedded: {output}")


def index_command(
    model: ModelPath,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="INDEX", help="Folder to write.")],
    device: Device = None,
    strict: StrictTable = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Make a searchable index of a table's rows."""
    with exits("Stopped; nothing was written."), unwinding(), open_progress(verbose, quiet) as progress:
        with progress.phase(LOADING, None):
            from polymodal.cli import console
            from polymodal.model.search_index import check_index_folder, save_index
            from polymodal.runs.model import load

            check_index_folder(output)
            loaded = load(model, device)
        index, _ = loaded.index(data, strict=strict, progress=progress)
        save_index(index, output)
        console.print_line(f"{len(index):,} rows indexed: {output}")


def search_command(
    model: ModelPath,
    index: IndexPath,
    text: Annotated[str | None, typer.Option(help="Search by this text.")] = None,
    image: Annotated[str | None, typer.Option(metavar="FILE", help="Search by this picture.")] = None,
    audio: Annotated[str | None, typer.Option(metavar="FILE", help="Search by this sound.")] = None,
    query: Annotated[
        list[str], typer.Option("--query", metavar="COL=VALUE", help="Search by this cell of a column; repeatable.")
    ] = [],  # noqa: B006
    within: Annotated[
        str, typer.Option(metavar="STREAM", help="Compare with this stream's vectors; default: the whole row's.")
    ] = "row",
    top: Annotated[int, typer.Option(min=1, help="How many rows.")] = 10,
    device: Device = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Find the rows of an index that are nearest to a text, a picture, a sound or any cells."""
    with exits("Stopped."), open_progress(verbose, quiet) as progress:
        from polymodal.cli import options

        cells = options.parse_pairs("--query", query)
        by_modality = {"text": text, "image": image, "audio": audio}
        with progress.phase(LOADING, None):
            from polymodal.cli import console
            from polymodal.model.search_index import load_index
            from polymodal.runs.model import load

            loaded = load(model, device)
        cells |= loaded.query_cells({name: value for name, value in by_modality.items() if value is not None})
        hits = loaded.search(load_index(index), cells, top=top, within=within)
        if json:
            console.print_json({"hits": [dataclasses.asdict(hit) for hit in hits]})
        else:
            console.print_hits(hits)
