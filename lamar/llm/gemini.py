"""Gemini through google-generativeai, whose maker no longer supports it: kept short, over REST, a thread a request.

Google's OpenAI-compatible endpoint is the better way to newer models (`provider: openai` with `base_url`).
"""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lamar.llm.openai import DENIED, TEMPORARY, wait_asked
from lamar.llm.provider import BLOCKED, Denied, Rejected, Reply, Temporary, Trouble, without
from lamar.params import GeminiGenerator

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.generativeai.types import GenerateContentResponse

    from lamar.signals.prompt import Messages

ROLES = {"user": "user", "assistant": "model"}
FINISHED = {"STOP": "stop", "MAX_TOKENS": "length"}  # OpenAI's words for it
WITHHELD = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"}
WRONG_KEY = "API key not valid"  # comes as status 400


def identity(generator: GeminiGenerator) -> dict[str, Any]:
    """Who answers, as it enters the key of an answer."""
    named = {"provider": "gemini", "model": generator.model, "max_tokens": generator.max_tokens}
    return named | {"base_url": generator.base_url, "options": generator.options}


def connect(generator: GeminiGenerator, key: str | None, timeout: float) -> GeminiProvider:
    """A connection with as many threads as there may be requests in flight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it is no longer supported; see above
        import google.generativeai as genai

    options = {"api_endpoint": generator.base_url} if generator.base_url else {}
    genai.configure(api_key=key or "none", transport="rest", client_options=options)
    return GeminiProvider(generator, key, timeout)


class GeminiProvider:
    """generateContent, one a question."""

    def __init__(self, generator: GeminiGenerator, key: str | None, timeout: float) -> None:
        """Ask as `generator` says; no error tells the key."""
        self._generator = generator
        self._key = key
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(generator.concurrency)

    async def ask(self, messages: Messages) -> Reply:
        """The reply to a chat. Raises Temporary, Rejected or Denied."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, messages)

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, messages: Messages) -> Reply:
        import google.generativeai as genai
        import requests
        from google.api_core.exceptions import GoogleAPICallError
        from google.protobuf import json_format

        system = "\n\n".join(each["content"] for each in messages if each["role"] == "system") or None
        turns = [
            {"role": ROLES[each["role"]], "parts": [each["content"]]} for each in messages if each["role"] != "system"
        ]
        limits = {"max_output_tokens": self._generator.max_tokens, **self._generator.options}
        model = genai.GenerativeModel(self._generator.model, generation_config=limits, system_instruction=system)
        try:
            once = {"retry": None, "timeout": self._timeout}
            return self._to_reply(model.generate_content(turns, request_options=once))
        except GoogleAPICallError as error:
            raise self._trouble(error) from None
        except requests.RequestException as error:
            refused = isinstance(error, requests.ConnectionError) and "Failed to establish" in str(error)
            raise Temporary(without(self._key, str(error)), paid=not refused) from None
        except (json_format.Error, ValueError) as error:  # what came is no answer
            raise Temporary(without(self._key, f"broken answer ({error})"), paid=True) from None

    def _to_reply(self, response: GenerateContentResponse) -> Reply:
        used = response.usage_metadata
        read = used.prompt_token_count
        tokens = read, max(used.candidates_token_count, used.total_token_count - read)  # with what the model thinks
        if not response.candidates:
            if response.prompt_feedback.block_reason:
                return Reply("", BLOCKED, *tokens, self._generator.model)
            raise Temporary("an answer without candidates", paid=True)
        first = response.candidates[0]
        reason = first.finish_reason.name
        text = "".join(part.text for part in first.content.parts).strip()
        finished = BLOCKED if reason in WITHHELD else FINISHED.get(reason, reason.lower())
        return Reply(text, finished, *tokens, self._generator.model)

    def _trouble(self, error: GoogleAPICallError) -> Trouble:
        status = int(error.code or 500)
        message = without(self._key, f"{status}: {error.message}")
        if status in DENIED or WRONG_KEY in message:
            return Denied(message)
        if status in TEMPORARY or status >= 500:
            return Temporary(message, wait=wait_asked(getattr(error.response, "headers", {})))
        return Rejected(message)
