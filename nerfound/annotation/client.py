"""One request to an OpenAI-compatible server, and what its failures mean. Retrying is not done here."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from .answers import Answer, answer_from_completion
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
            # The transport on aiohttp takes half the processor time of the one on httpcore
            http_client=DefaultAioHttpClient(limits=httpx2.Limits(max_connections=connections), timeout=deadline),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.openai.close()

    async def ask(self, body: dict[str, Any]) -> Answer:
        """Send one request.

        Raises:
            PassingError: if it may be answered when sent again.
            LastingError: if it may not.
            AnnotationStoppedError: if no request of the run can be answered: wrong key, unknown model, no credit.
        """
        try:
            async with asyncio.timeout(self._deadline):  # of the whole request: a server may trickle for ever
                # Parsing the body into the package's models takes as long as all the rest, and would gain nothing
                response = await self.openai.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return answer_from_completion(response.json())
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
