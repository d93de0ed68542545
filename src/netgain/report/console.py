"""Where terminal views are printed: at 80 columns, in colour and in words, and the same text when piped.

Apart from the views, so that a command that shows little starts quickly.
"""

import os
import sys

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 100


def console() -> Console:
    """A console for people: as wide as the terminal, and of a fixed width when piped."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without boxes, that survives being copied into a mail."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
