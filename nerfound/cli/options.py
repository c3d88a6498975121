"""Options that take several values."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class ListOptions(TyperCommand):
    """A command whose repeatable options also take their values in one go: `--k 1 4 16`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option's name before each further value."""
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        expanded: list[str] = []
        current = None
        for position, argument in enumerate(args):
            value = not argument.startswith("-") or argument.lstrip("-").isdigit()
            if not value:
                current = argument if argument in lists else None
            elif current and args[position - 1] != current:
                expanded.append(current)
            expanded.append(argument)
        return super().parse_args(ctx, expanded)
