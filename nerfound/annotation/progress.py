"""What a person sees while requests are sent: rate, cost and failures. In a pipe: nothing."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text


class _Rate(ProgressColumn):
    """Finished texts per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f}/s")


class Progress:
    """A progress bar on standard error, if that is a terminal, and the counts behind it.

    Args:
        total (`int`): texts of the run.
        finished (`int`): those that are finished already.
        spent (`float`): dollars spent so far.
    """

    def __init__(self, total: int, finished: int, spent: float) -> None:
        self.answers = 0
        self.failures = 0
        self.faults = 0
        self._spent = spent
        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("annotating"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[cost]}"),
            TextColumn("{task.fields[faults]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=finished, cost=f"${spent:.2f}", faults="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        """Write a line above the bar, on a terminal."""
        if not self._bar.disable:
            self._bar.console.print(message)

    def answered(self, answers: int, spent: float) -> None:
        """So many more texts are finished."""
        self.answers += answers
        self._spent = spent
        self._bar.update(self._task, advance=answers, cost=f"${spent:.2f}")

    def failed(self) -> None:
        """One text failed for good."""
        self.failures += 1
        self._bar.update(self._task, advance=1)

    def fault(self) -> None:
        """One attempt failed."""
        self.faults += 1
        self._bar.update(self._task, faults=f"{self.faults} faults, {self.failures} failed")
