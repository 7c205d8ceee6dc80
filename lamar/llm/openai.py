"""OpenAI, and every server that speaks its protocol: vLLM, Ollama, Azure, gateways, `transformers serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamar.llm.provider import BLOCKED, Denied, Rejected, Reply, Temporary, Trouble, without
from lamar.params import OpenaiGenerator

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletion

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
        self._create = client.chat.completions.create  # loads half of the SDK, which no request's timeout should meet
        self._key = key

    async def ask(self, messages: Messages) -> Reply:
        """The reply to a chat. Raises Temporary, Rejected or Denied."""
        import openai

        body = request(self._generator, messages)
        options = {name: body.pop(name) for name in ("model", "messages")}
        try:
            return to_reply(await self._create(**options, extra_body=body))
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
        message = without(self._key, f"{error.status_code}: {said(error)}")
        if error.status_code in DENIED or error.code == NO_MORE_MONEY:
            return Denied(message)
        if error.status_code in TEMPORARY or error.status_code >= 500:
            return Temporary(message, wait=wait_asked(error.response.headers))
        return Rejected(message)


def said(error: APIStatusError) -> str:
    """The provider's own message, without what the SDK puts around it."""
    body = error.body
    return str(body.get("message") or body) if isinstance(body, dict) else str(body or error.message)


def to_reply(completion: ChatCompletion) -> Reply:
    """Read a completion. Raises Temporary when it holds no answer: some servers send 200 with an error inside."""
    choices = getattr(completion, "choices", None)
    message = choices[0].message if choices else None
    if message is None:
        raise Temporary(f"an answer without choices: {str(completion)[:200]}", paid=True)
    usage = completion.usage
    return Reply(
        text=(message.content or getattr(message, "refusal", None) or "").strip(),
        finish_reason=choices[0].finish_reason or "stop",
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
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
