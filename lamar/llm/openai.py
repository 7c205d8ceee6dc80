"""OpenAI, and every server that speaks its protocol: vLLM, Ollama, Azure, gateways, `transformers serve`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from lamar.llm.provider import BLOCKED, Denied, Rejected, Reply, Temporary, Trouble, without
from lamar.params import OpenaiGenerator

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError, AsyncOpenAI

    from lamar.signals.prompt import Messages

DEFAULT_URL = "https://api.openai.com/v1"  # never the SDK's OPENAI_BASE_URL: who answers enters the key of an answer
DENIED = {401, 402, 403, 404}  # the key, the account, the model
TEMPORARY = {408, 409, 425, 429}  # and all of 5xx
NO_MORE_MONEY = "insufficient_quota"  # a 429 that no waiting mends


def identity(generator: OpenaiGenerator) -> dict[str, Any]:
    """Who answers, as it enters the key of an answer; asked live or in a batch, the answer is the same."""
    return {
        "provider": "openai",
        "base_url": base_url(generator),
        "model": generator.model,
        "max_tokens": generator.max_tokens,
        "options": generator.options,
    }


def base_url(generator: OpenaiGenerator) -> str:
    """The server that is asked."""
    return (generator.base_url or DEFAULT_URL).rstrip("/")


def request(generator: OpenaiGenerator, messages: Messages) -> dict[str, Any]:
    """The body of the request that asks for one answer, live and in a batch."""
    limit = {generator.limit_name: generator.max_tokens}
    return {"model": generator.model, "messages": list(messages), **limit, **generator.options}


def connect(generator: OpenaiGenerator, key: str | None, timeout: float) -> OpenaiProvider:
    """A connection without the SDK's own retries, which would multiply the runner's."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url(generator), api_key=key or "none", max_retries=0, timeout=timeout)
    return OpenaiProvider(generator, client, key)


class OpenaiProvider:
    """Chat completions, one a question."""

    def __init__(self, generator: OpenaiGenerator, client: AsyncOpenAI, key: str | None) -> None:
        """Ask as `generator` says through `client`; no error tells the key."""
        self._generator = generator
        self._client = client
        completions = client.chat.completions  # loads half of the SDK, which no request's timeout should meet
        self._create = completions.with_raw_response.create
        self._key = key

    async def ask(self, messages: Messages) -> Reply:
        """The reply to a chat. Raises Temporary, Rejected or Denied."""
        import openai

        body = request(self._generator, messages)
        options = {name: body.pop(name) for name in ("model", "messages")}
        try:
            answer = await self._create(**options, extra_body=body)
            return to_reply(json.loads(answer.content))
        except openai.APIStatusError as error:
            if error.code == BLOCKED:  # Azure's filter: the question itself is withheld
                return Reply("", BLOCKED, 0, 0, self._generator.model)
            raise self._trouble(error) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reached = type(cause).__name__ not in ("ConnectError", "ConnectTimeout")
            told = f"{base_url(self._generator)}: {str(error).rstrip('.').lower()} ({cause})"
            raise Temporary(without(self._key, told), paid=reached) from None
        except (openai.APIError, ValueError) as error:  # what came is no JSON, or no completion
            raise Temporary(without(self._key, f"broken answer ({error})"), paid=True) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _trouble(self, error: APIStatusError) -> Trouble:
        message = without(self._key, f"{error.status_code}: {said(error.body or error.message)}")
        if error.status_code in DENIED or error.code == NO_MORE_MONEY:
            return Denied(message)
        if error.status_code in TEMPORARY or error.status_code >= 500:
            return Temporary(message, wait=wait_asked(error.response.headers))
        return Rejected(message)


def said(body: Any) -> str:
    """The provider's own message in the body of a failure, without what is put around it."""
    while isinstance(body, list) and body:  # Gemini's endpoint
        body = body[0]
    error = (body.get("error") or body) if isinstance(body, dict) else body
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


class Message(BaseModel):
    """What the model wrote; a refusal stands in a field of its own."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One of the answers; we ask for one."""

    message: Message
    finish_reason: str | None = None


class Counts(BaseModel):
    """Tokens; null where nobody counted."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None

    def tokens(self) -> tuple[int, int]:
        """Read and written, zeros where nobody counted. Some count what the model thinks in the total alone."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return 0, 0
        return self.prompt_tokens, max(self.completion_tokens, (self.total_tokens or 0) - self.prompt_tokens)


class Completion(BaseModel):
    """What is read of a completion. The SDK checks nothing: servers that speak its protocol answer all sorts."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Counts | None = None
    model: str | None = None


def to_reply(body: Any) -> Reply:
    """Read a completion. Raises ValueError when it holds no answer: some servers send 200 with an error inside."""
    try:
        completion = Completion.model_validate(body)
    except ValidationError as error:
        if not isinstance(body, dict) or body.get("error"):
            raise ValueError(said(body)) from None
        wrong = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None
    first = completion.choices[0]
    read, written = (completion.usage or Counts()).tokens()
    return Reply(
        text=(first.message.content or first.message.refusal or "").strip(),
        finish_reason=first.finish_reason or "stop",
        input_tokens=read,
        output_tokens=written,
        model=completion.model or "",
    )


def wait_asked(headers: httpx2.Headers) -> float | None:
    """Seconds that Retry-After asks to wait: a number, or a date; None when there is none that can be read."""
    import time
    from email.utils import parsedate_to_datetime

    asked = headers.get("retry-after", "")
    try:
        seconds = float(asked) if asked[:1].isdigit() else parsedate_to_datetime(asked).timestamp() - time.time()
    except ValueError:
        return None
    return max(seconds, 0.0)
