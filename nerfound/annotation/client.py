"""One request to an OpenAI-compatible server, and what its failures mean. Retrying is not done here."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient, omit

from .cache import Answer
from .pacing import AnnotationStoppedError

KEY_VARIABLE = "OPENAI_API_KEY"
_PASSING_STATUS = frozenset((408, 409, 425, 429))
_FATAL_STATUS = {
    401: f"the server does not accept the key; set {KEY_VARIABLE}",
    402: "the account has no credit; top it up",
    403: "the key may not use this model or server; check it",
    404: "the server knows no such model or address; check --model and --base-url",
}
_LONGEST_RETRY_AFTER = 600.0  # seconds; quotas of a day are refused so
_OUT_OF_CREDIT = "insufficient_quota"
_BAD_PARAMETER = frozenset(("unsupported_value", "unsupported_parameter"))
_MOST_TOKENS = 2**31 - 1  # that the columns of the corpus hold
# What the package tells of this machine is nobody's business, and every header of a request takes time
_TELEMETRY = ("Arch", "Async", "Lang", "OS", "Package-Version", "Runtime", "Runtime-Version")
_HEADERS: Any = {f"X-Stainless-{name}": omit for name in _TELEMETRY} | {"Accept-Encoding": "gzip, deflate"}


class PassingError(RuntimeError):
    """A failure that may be gone next time.

    Args:
        detail (`str`): what happened.
        retry_after (`float`, *optional*): seconds after which the server wants to be asked again.
        limited (`bool`, *optional*): the server is up, but has had enough requests for now.
        perhaps_billed (`bool`, *optional*): the server may have answered all the same.
    """

    def __init__(
        self, detail: str, *, retry_after: float | None = None, limited: bool = False, perhaps_billed: bool = False
    ) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.limited = limited
        self.perhaps_billed = perhaps_billed


class LastingError(RuntimeError):
    """The server refuses this very request, and will again."""


class _HttpClient(DefaultAioHttpClient):
    """The package's transport on aiohttp, which takes half the processor time of the one on httpcore.

    The package names the whole address and all headers of a request, so that there is nothing to be merged into it.
    """

    _parsed = staticmethod(lru_cache(maxsize=64)(httpx2.URL))

    def build_request(self, method: str, url: Any, *, timeout: Any = None, **parts: Any) -> httpx2.Request:
        extensions = {"timeout": httpx2.Timeout(timeout).as_dict()}
        return httpx2.Request(method, self._parsed(url), extensions=extensions, **parts)


class ChatClient:
    """Sends single chat completion requests through the `openai` package.

    Args:
        base_url (`str`, *optional*): of the server, with `/v1`; by default `OPENAI_BASE_URL`, else that of OpenAI. The
            key is `OPENAI_API_KEY`; other servers may do without.
        deadline (`float`): seconds for one request, from connecting to the last byte.
        connections (`int`): the most connections at once.

    Raises:
        ValueError: if there is no key and OpenAI's server is to be asked.
    """

    def __init__(self, base_url: str | None, *, deadline: float, connections: int) -> None:
        key = os.environ.get(KEY_VARIABLE, "").strip()  # a file read into it ends with a line end
        if not key.isascii() or not key.isprintable():
            raise ValueError(f"the environment variable {KEY_VARIABLE} holds characters that no key has; set it anew")
        if not key and not (base_url or os.environ.get("OPENAI_BASE_URL")):
            raise ValueError(
                f"no key: set the environment variable {KEY_VARIABLE}, or name another server by --base-url"
            )
        self._secret = key
        self._deadline = deadline
        self.openai = AsyncOpenAI(
            base_url=base_url,
            api_key=key or "none",  # the package insists on one; servers without keys ignore it
            max_retries=0,
            timeout=deadline,
            default_headers=_HEADERS,
            http_client=_HttpClient(limits=httpx2.Limits(max_connections=connections)),
        )
        self._address = f"{self.openai.base_url}chat/completions"
        # The deadline is kept here, for the request as a whole; timers of its parts would cost, and gain nothing
        self._options: Any = {"timeout": None}

    async def close(self) -> None:
        """Close the connections."""
        await self.openai.close()

    async def ask(self, body: bytes) -> Answer:
        """Send one request.

        Args:
            body (`bytes`): as `Question.body` writes it.

        Raises:
            PassingError: if it may be answered when sent again.
            LastingError: if it may not.
            AnnotationStoppedError: if no request of the run can be answered: wrong key, unknown model, no credit.
        """
        try:
            async with asyncio.timeout(self._deadline):  # of the whole request: a server may trickle for ever
                # Parsing the body into the package's models takes as long as all the rest, and would gain nothing
                response = await self.openai.post(
                    self._address, cast_to=httpx2.Response, content=body, options=self._options
                )
            return answer_from_completion(json.loads(response.content))
        except (TimeoutError, openai.APITimeoutError):
            raise PassingError(f"no answer within {self._deadline:g} s", perhaps_billed=True) from None
        except openai.APIStatusError as error:
            raise self.fault_of_status(error) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            billed = not isinstance(cause, httpx2.ConnectError)
            raise PassingError(self._shown(f"{type(cause).__name__}: {cause}"), perhaps_billed=billed) from None
        except (ValueError, RecursionError) as error:  # an answer that is no JSON, or too deep, or no completion
            raise PassingError(self._shown(f"unreadable answer: {error}"), perhaps_billed=True) from None

    def fault_of_status(self, error: openai.APIStatusError) -> Exception:
        """What a status other than success means."""
        detail = self._shown(f"{error.status_code}: {error.message}")
        if error.code == _OUT_OF_CREDIT:
            return AnnotationStoppedError(
                f"the account has no credit left ({detail}). Nothing is lost: the same command goes on"
            )
        if error.status_code in _FATAL_STATUS:
            return AnnotationStoppedError(f"{_FATAL_STATUS[error.status_code]} ({detail})")
        if not is_lasting(error.status_code):
            retry_after = retry_after_seconds(error.response.headers)
            if retry_after is not None and retry_after > _LONGEST_RETRY_AFTER:
                return AnnotationStoppedError(
                    f"the server takes no request for {retry_after:.0f} s ({detail}). Nothing is lost: the same "
                    "command goes on then"
                )
            return PassingError(detail, retry_after=retry_after, limited=error.status_code == 429)
        if error.code in _BAD_PARAMETER and error.param:
            detail = f"{detail}; --parameter {error.param}=null leaves it out"
        return LastingError(detail)

    def _shown(self, message: str) -> str:
        """A message without the key, in case the server repeats it, and not too long."""
        return (message.replace(self._secret, "***") if self._secret else message)[:500]


def is_lasting(status: int) -> bool:
    """Whether a status refuses one very request: neither for now, nor together with all others."""
    return 400 <= status < 500 and status not in _PASSING_STATUS and status not in _FATAL_STATUS


def retry_after_seconds(headers: httpx2.Headers) -> float | None:
    """When the server wants to be asked again, by its header `retry-after`, seconds or a date; `None` without it."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def answer_from_completion(completion: Any) -> Answer:
    """Read the body of a chat completion.

    Raises:
        ValueError: if it is none.
    """
    try:
        choice = completion["choices"][0]
        message, usage = choice["message"], completion.get("usage") or {}
        return Answer(
            content=_storable(message.get("content")),
            refusal=_storable(message.get("refusal")),
            finish_reason=_storable(choice.get("finish_reason")),
            model=_storable(completion.get("model")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            answered_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the answer is no chat completion: {completion!r:.200}") from error


def _count(tokens: Any) -> int:
    """A number of tokens, made one that can be stored and paid whatever the server says."""
    try:
        return min(max(int(tokens or 0), 0), _MOST_TOKENS)
    except OverflowError:  # JSON may hold numbers that are infinite
        return _MOST_TOKENS


def _storable(value: Any) -> str:
    """A string as UTF-8 can hold it: JSON may name half of a character."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode("utf-8", "replace").decode()
