"""What a run did: for the user, and in `annotation.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import write_text_atomically
from .cache import RequestCache
from .costs import Price
from .task import AnnotationTask, Question
from .workspace import UNSETTLED, Workspace
from .writing import Outcome


@dataclass
class AnnotationReport:
    """What a run did.

    Args:
        outcome (`Outcome`): what became of the texts.
        preparation (`dict[str, int]`): documents, passages, and what was left out before any request, by reason.
        requests (`int`): requests that this run has paid for, in all its invocations.
        prompt_tokens (`int`): their tokens.
        completion_tokens (`int`): tokens of their answers.
        cost (`float`, *optional*): dollars; `None` if the price is not known.
        over_budget (`bool`): whether `max_cost` ended it.
        unsettled (`float`): dollars perhaps spent besides, at most: on requests that got no answer but may have been
            billed, and on answers without usage. They count for `max_cost`.
    """

    outcome: Outcome
    preparation: dict[str, int]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    over_budget: bool
    unsettled: float = 0.0

    def __str__(self) -> str:
        outcome = self.outcome
        lines = [f"{name}: {count:,}" for name, count in self.preparation.items() if count]
        lines.append(
            f"annotated: {outcome.annotated:,} of {outcome.texts:,} texts, {outcome.entities:,} entities; "
            f"rejected: {outcome.rejected.total():,} texts, {outcome.rejected_lines.total():,} lines"
        )
        for what, counts in (("text", outcome.rejected), ("line", outcome.rejected_lines)):
            lines += [f"  {what} rejected, {reason}: {count:,}" for reason, count in counts.most_common()]
        cost = "price unknown" if self.cost is None else f"${self.cost:,.4f}"
        tokens = f"{self.prompt_tokens:,} tokens in, {self.completion_tokens:,} out"
        lines.append(f"paid: {self.requests:,} requests, {tokens}, {cost}")
        if self.unsettled:
            lines.append(
                f"perhaps billed besides, for requests without answer or usage: ${self.unsettled:,.4f} at most"
            )
        if outcome.pending:
            why = "the cost limit was reached" if self.over_budget else "the run ended early"
            lines.append(f"not asked yet: {outcome.pending:,} texts ({why}); the same command goes on with them")
        return "\n".join(lines)


def make_report(
    workspace: Workspace, cache: RequestCache, outcome: Outcome, price: Price | None, *, over_budget: bool
) -> AnnotationReport:
    """Sum up a run; what it paid is what the request cache says."""
    usage = cache.usage_of_run(workspace.run)
    return AnnotationReport(
        outcome,
        workspace.fact("counts"),
        sum(used.requests for used in usage),
        sum(used.prompt_tokens for used in usage),
        sum(used.completion_tokens for used in usage),
        price.of_usage(usage) if price else None,
        over_budget,
        workspace.fact(UNSETTLED) or 0.0,
    )


def write_report(output: Path, task: AnnotationTask, question: Question, report: AnnotationReport) -> None:
    """Write `annotation.json`: settings, prompt and counts."""
    content = {
        "source": asdict(task.source),
        "selection": asdict(task.selection),
        "model": task.model,
        "parameters": question.sent_parameters,
        "prompt": {"label": question.prompt.label, "system": question.prompt.system},
        "concepts": [concept._asdict() for concept in task.concepts],
        **vars(report),
        "outcome": vars(report.outcome),
    }
    write_text_atomically(output / "annotation.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
