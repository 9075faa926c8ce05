"""The error that answers a request: an HTTP status and one sentence."""

from __future__ import annotations


class RequestError(Exception):
    """What is wrong with a request, or why it cannot be answered now.

    Attributes:
        status: HTTP status, 400 to 599.
        sentence: One sentence that names the field and the row, for the client.
        retry_after_s: When to try again; None where that would not help.
    """

    def __init__(self, status: int, sentence: str, *, retry_after_s: int | None = None) -> None:
        """Store what is wrong.

        Args:
            status: HTTP status, 400 to 599.
            sentence: One sentence for the client.
            retry_after_s: When to try again; None where that would not help.
        """
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after_s = retry_after_s


def in_cell(row: int, column: str, reason: str, status: int = 422) -> RequestError:
    """Build the error of one cell.

    Args:
        row: Number of the row in the request, from 1.
        column: Name of the column.
        reason: What is wrong, as one clause.
        status: HTTP status.

    Returns:
        The error, ready to raise.
    """
    return RequestError(status, f"Row {row}, column {column!r}: {reason.rstrip('.')}.")
