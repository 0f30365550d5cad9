"""What every protocol leaves behind: tables on the terminal, report.json and figures."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Those printed since the last report was written.
_tables: list[dict[str, Any]] = []


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column left-aligned, the others right-aligned; `write` keeps it."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    _tables.append({"title": title, "columns": list(columns), "rows": [list(r) for r in rows]})
    # A pipe or a log has no width of its own: do not let it wrap numbers.
    Console(width=None if console.is_terminal else 120).print(drawn)


def write(directory: Path, report: dict[str, Any], figures: Sequence[Path] = ()) -> None:
    """Write report.json and, of the tables printed, tables.json; print where all is.

    `report["seconds"]` is the time that all took.
    """
    write_json(directory / "tables.json", _tables)
    _tables.clear()
    path = directory / "report.json"
    write_json(path, report)
    names = ", ".join(figure.name for figure in figures)
    print(f"{path}{' and ' + names if names else ''} written in {report['seconds']} s")


def write_json(path: Path, value: Any) -> None:
    """A file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=_plain) + "\n")


def write_text(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a report")
