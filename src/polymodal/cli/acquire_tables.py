"""What to get next, on the terminal: tables that fit 80 columns (rich)."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.acquisition.acquisition import Acquisition, Labelling

WIDTH = 80
SHOWN = 10
"""Entries of the order that are shown."""


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_found(found: Acquisition | Labelling) -> None:
    """Print what to get next, and the first entries of the order.

    Args:
        found: Cells or labels to get.
    """
    if isinstance(found, Labelling):
        _print_labelling(found)
    else:
        _print_acquisition(found)
    for notice in found.notices:
        _console().print(escape(f"Note: {notice}"))


def _print_acquisition(found: Acquisition) -> None:
    console = _console()
    if not found.rows_lacking:
        console.print(escape(f"{found.table}: no row of {found.rows:,} lacks a stream. There is nothing to get."))
        return
    console.print(escape(acquisition_sentence(found)))
    console.print(_stream_table(found))
    if found.entries:
        console.print(_order_table(found))


def acquisition_sentence(found: Acquisition) -> str:
    """Say how much there is to get, and what it brings.

    Args:
        found: What to get.

    Returns:
        One or two sentences.
    """
    number = len(found.entries)
    left = [
        f"{found.over_budget:,} more do not fit into the budget of {found.budget:g}" if found.over_budget else "",
        f"{found.not_worth:,} are not worth their cost at {found.price:g} a unit" if found.not_worth else "",
    ]
    rest = "; ".join(filter(None, left))
    return (
        f"{found.table}: {found.rows_lacking:,} of {found.rows:,} rows lack a stream. {number:,} "
        f"cell{'s' * (number != 1)} to get for {found.cost:g}, expected to lower the loss by {found.gain:.4g} "
        f"{found.unit} in all{f'; {rest}' if rest else ''}."
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("stream", "answer") else "right", overflow="fold")
    return table


def _stream_table(found: Acquisition) -> Table:
    table = _table(f"Streams, by the estimator {found.estimator!r}", "stream", "absent", "chosen", "cost", "mean gain")
    for entry in found.per_stream():
        mean = f"{entry['mean_gain']:.4f}" if entry["chosen"] else "–"
        table.add_row(
            escape(entry["stream"]), f"{entry['absent']:,}", f"{entry['chosen']:,}", f"{entry['cost']:g}", mean
        )
    return table


def _order_table(found: Acquisition) -> Table:
    shown = found.entries[:SHOWN]
    table = _table(
        f"The first {len(shown)} of {len(found.entries):,}", "order", "row", "stream", "gain", "cost", "spent"
    )
    for entry in shown:
        table.add_row(
            str(entry.order),
            f"{entry.row:,}",
            escape(entry.stream),
            f"{entry.gain:.4f}",
            f"{entry.cost:g}",
            f"{entry.spent:g}",
        )
    return table


def _print_labelling(found: Labelling) -> None:
    console = _console()
    if not found.unlabelled:
        console.print(escape(f"{found.table}: every row has a value of {found.target!r}. There is nothing to label."))
        return
    sentence = (
        f"{found.table}: {found.unlabelled:,} of {found.rows:,} rows have no {found.target}. "
        f"{len(found.order):,} are chosen, by {found.method}."
    )
    console.print(escape(sentence))
    columns = found.to_columns()
    table = _table(f"The first {min(SHOWN, len(found.order))} of {len(found.order):,}", *columns)
    for order, row, uncertainty, answer in list(zip(*columns.values(), strict=True))[:SHOWN]:
        table.add_row(str(order), f"{row:,}", f"{uncertainty:.4f}", escape(str(answer)))
    console.print(table)
