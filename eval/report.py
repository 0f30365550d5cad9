"""What every protocol leaves behind: tables on the terminal, report.json and figures."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column left-aligned, the others right-aligned."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    # A pipe or a log has no width of its own: do not let it wrap numbers.
    Console(width=None if console.is_terminal else 120).print(drawn)


def write(directory: Path, report: dict[str, Any], figures: Sequence[Path] = ()) -> None:
    """Write report.json, whole or not at all, and print where it and the figures are.

    `report["seconds"]` is the time that all took.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "report.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=2, default=_plain) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    names = ", ".join(figure.name for figure in figures)
    print(f"{path}{' and ' + names if names else ''} written in {report['seconds']} s")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a report")
