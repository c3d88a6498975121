"""What requests cost: prices, estimates before anything is sent, and a budget that is not passed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from .cache import Usage
from .task import Question

_PER = 1_000_000
# English has about four characters a token, and a message some tokens of its own. The estimate counts bytes, so that
# it errs upwards for other scripts.
_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 5
# The blog's rate: five annotations on a sentence of twenty words, each a line of about 25 tokens. A closed ontology
# finds about a quarter as many, and repeats no descriptions.
_OPEN_OUTPUT_PER_INPUT = 5.0
_CLOSED_OUTPUT_PER_INPUT = 0.8
_UNLIMITED_OUTPUT = 4_096
_DATED = re.compile(r"-\d{4}(?:-?\d{2}-?\d{2})?$")


class Price(NamedTuple):
    """Of a model, in dollars for a million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of so many tokens, in dollars."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / _PER

    def for_batches(self) -> Price:
        """The price through the Batch API."""
        return Price(self.input / 2, self.output / 2)

    def of_usage(self, usage: Iterable[Usage]) -> float:
        """The price of what a run has used, in dollars."""
        return sum((self.for_batches() if used.batch else self).of(*used[2:]) for used in usage)


def price_of(model: str, path: str | os.PathLike[str] | None = None, *, batch: bool = False) -> Price | None:
    """The price of a model; `None` if neither table knows it.

    Args:
        model (`str`): its name, also with a date at its end: `gpt-4o-mini-2024-07-18`.
        path (`str` or `os.PathLike`, *optional*): a JSON file of prices, `{"MODEL": {"input": 0.15, "output": 0.6}}` in
            dollars for a million tokens, which goes before the packaged table `prices.json`.
        batch (`bool`, *optional*, defaults to `False`): the Batch API, at half the price.

    Raises:
        ValueError: if the file is no such table.
    """
    table = {} if path is None else _checked(json.loads(Path(path).read_text(encoding="utf-8")), os.fspath(path))
    packaged = (resources.files(__package__) / "prices.json").read_text(encoding="utf-8")
    for prices in (table, _checked(json.loads(packaged), "prices.json")):
        for name in (model, _DATED.sub("", model)):
            if name in prices:
                price = prices[name]
                return price.for_batches() if batch else price
    return None


def _checked(content: object, where: str) -> dict[str, Price]:
    try:
        if not isinstance(content, Mapping):
            raise TypeError(content)
        prices = {str(name): Price(float(row["input"]), float(row["output"])) for name, row in content.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{where} is no price table; write {{"MODEL": {{"input": 0.15, "output": 0.6}}}}') from error
    if any(not 0 <= value < math.inf for price in prices.values() for value in price):
        raise ValueError(f"{where}: a price is negative or infinite; prices are dollars for a million tokens")
    return prices


class TokenEstimate:
    """How many tokens the requests of a run will take.

    Args:
        question (`Question`): what is asked.
        mean_output (`float`, *optional*): what an answer took on average so far, where any is known.
    """

    def __init__(self, question: Question, mean_output: float | None = None) -> None:
        self._fixed_bytes = len(question.body(""))
        self._fixed = _tokens(question.prompt.system) + 2 * _TOKENS_PER_MESSAGE
        self._mean_output = mean_output
        self._ratio = _CLOSED_OUTPUT_PER_INPUT if question.prompt.concepts else _OPEN_OUTPUT_PER_INPUT
        self._most = question.max_output_tokens or _UNLIMITED_OUTPUT

    def prompt(self, text: str) -> int:
        """Tokens of a request."""
        return self._fixed + _tokens(text)

    def most(self, text: str) -> tuple[int, int]:
        """Tokens of a request, none of which is shorter than a byte, and of its answer, at most."""
        return self._fixed_bytes + len(text.encode()), self.most_completion

    def completion(self, text: str) -> float:
        """Tokens of its answer, as expected."""
        expected = self._ratio * _tokens(text) + _TOKENS_PER_MESSAGE if self._mean_output is None else self._mean_output
        return min(expected, self._most)

    @property
    def most_completion(self) -> int:
        """Tokens of an answer at most."""
        return self._most


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


@dataclass
class Estimate:
    """What a run will take, before anything is sent.

    Args:
        requests (`int`): requests to send.
        finished (`int`): requests that the cache answers.
        prompt_tokens (`int`): tokens of the requests to send, about.
        completion_tokens (`float`): tokens of their answers, about.
        most_completion_tokens (`int`): the same at most.
        price (`Price`, *optional*): of the model; `None` if it is not known.
    """

    requests: int = 0
    finished: int = 0
    prompt_tokens: int = 0
    completion_tokens: float = 0.0
    most_completion_tokens: int = 0
    price: Price | None = None

    def __str__(self) -> str:
        lines = [
            f"requests to send: {self.requests:,} ({self.finished:,} more are answered from the cache)",
            f"tokens, about: {self.prompt_tokens:,} in, {self.completion_tokens:,.0f} out "
            f"(at most {self.most_completion_tokens:,} out)",
        ]
        if self.price is None:
            lines.append("cost: no price is known for this model; give --prices FILE")
        else:
            expected = self.price.of(self.prompt_tokens, self.completion_tokens)
            most = self.price.of(self.prompt_tokens, self.most_completion_tokens)
            lines.append(
                f"cost, about: ${expected:,.2f} (at most ${most:,.2f}), at ${self.price.input:g} in and "
                f"${self.price.output:g} out for a million tokens"
            )
        return "\n".join(lines)


class Budget:
    """Keeps what is spent, and what may be, below a limit.

    Every request reserves the most that it can cost before it is sent. A request without an answer may have been billed
    nevertheless, and an answer without usage has been: what they reserved counts as spent, and is `unsettled`.

    Args:
        price (`Price`, *optional*): of the model.
        limit (`float`, *optional*): dollars.
        spent (`float`, *optional*): dollars spent by earlier invocations of the run, as the server counted.
        unsettled (`float`, *optional*): dollars that they may have spent besides.
    """

    def __init__(
        self, price: Price | None, limit: float | None = None, spent: float = 0.0, unsettled: float = 0.0
    ) -> None:
        self._price = price
        self._limit = limit
        self._reserved = 0.0
        self.spent = spent + unsettled
        self.unsettled = unsettled

    @property
    def at_risk(self) -> float:
        """Dollars that may be spent beyond what the answers so far tell: the unsettled, and those under way."""
        return self.unsettled + self._reserved

    def most(self, prompt_tokens: int, most_completion_tokens: int) -> float:
        """The most that a request can cost, in dollars; 0 where the price is not known."""
        return self._price.of(prompt_tokens, most_completion_tokens) if self._price else 0.0

    def reserve(self, prompt_tokens: int, most_completion_tokens: int) -> float | None:
        """Set aside the most that a request can cost; `None` if the limit might be passed."""
        most = self.most(prompt_tokens, most_completion_tokens)
        if self._limit is not None and self.spent + self._reserved + most > self._limit:
            return None
        self._reserved += most
        return most

    def settle(self, reserved: float, prompt_tokens: int, completion_tokens: int) -> None:
        """Replace what an answered request reserved by what it cost."""
        self._reserved -= reserved
        self.charge(reserved, prompt_tokens, completion_tokens)

    def charge(self, most: float, prompt_tokens: int, completion_tokens: int) -> None:
        """Count what an answer has cost: its tokens if the server says how many, else the most that it can have."""
        if prompt_tokens or completion_tokens:
            self.spent += self._price.of(prompt_tokens, completion_tokens) if self._price else 0.0
        else:
            self.spent += most
            self.unsettled += most

    def release(self, reserved: float, *, lost: bool) -> None:
        """Give back what a request reserved that was not answered; `lost` if it may have been billed."""
        self._reserved -= reserved
        if lost:
            self.spent += reserved
            self.unsettled += reserved
