"""How a command ends when its input is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the command with an error's message: its place and mend say more to a user than a traceback."""
    try:
        yield
    except BrokenPipeError:
        raise  # a reader that has had enough, such as head
    except (ValueError, TypeError, OSError, ImportError, sqlite3.Error) as error:
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        if isinstance(error, ModuleNotFoundError) and "pip install" not in message:
            message += ": it comes with pip install 'nerfound[train]'"
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(1) from error
