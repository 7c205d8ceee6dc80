"""What a remote LLM is to the rest: something that answers one chat, or says in one of three ways why it does not.

A further provider is one module of this package, named like `provider` in params.yaml, with two functions:
`identity(generator)`, who answers, as it enters the key of an answer; and `connect(generator, key, timeout)`, which
returns a Provider. Its settings are a class of lamar/params.py.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from lamar.errors import LamarError
from lamar.params import AnyGenerator, RemoteGenerator

if TYPE_CHECKING:
    from lamar.signals.prompt import Messages

KEY = re.compile(r"[!#-&(-\[\]-~]+")  # printable ASCII without blanks, quotes and backslashes: printed as it is
BLOCKED = "content_filter"
"""finish_reason of an answer that the provider's filter withheld: an answer, too, asked for once."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider said: its text, why it ended there, the tokens it counted, the model it names."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    model: str


class Trouble(Exception):
    """No answer; the message is the provider's own, in one line."""

    def __init__(self, message: object) -> None:
        """Bring a message on one line of at most 300 characters."""
        super().__init__(" ".join(str(message).split())[:300])


class Temporary(Trouble):
    """The same question may be answered later: rate limits, errors of the server or the network, broken answers.

    `wait`: seconds that the server asks to wait. `paid`: the provider may charge for what never arrived.
    """

    def __init__(self, message: object, wait: float | None = None, paid: bool = False) -> None:
        """Keep the message, the wait and whether it may cost something."""
        super().__init__(message)
        self.wait = wait
        self.paid = paid


class Rejected(Trouble):
    """This question will not be answered however often it is asked."""


class Denied(Trouble):
    """No question will be answered: the key, the model's name or the account is wrong."""


class Provider(Protocol):
    """A connection to an LLM."""

    async def ask(self, messages: Messages) -> Reply:
        """The reply to a chat. Raises Temporary, Rejected or Denied."""

    async def close(self) -> None:
        """Give up its connections."""


def identity(generator: AnyGenerator) -> dict[str, Any]:
    """Who answers and how, as it enters the key of an answer."""
    return import_module(f"lamar.llm.{generator.provider}").identity(generator)


def connect(generator: RemoteGenerator, timeout: float) -> Provider:
    """Open a connection whose requests take at most `timeout` seconds. Raises LamarError when the key is missing."""
    module = import_module(f"lamar.llm.{generator.provider}")
    return module.connect(generator, api_key(generator), timeout)


def api_key(generator: RemoteGenerator) -> str | None:
    """The key from the environment or a .env file here or above; None when the generator needs none.

    Raises LamarError when it is not there, or holds what no key does: an HTTP library would complain of it and print it
    in a form that `without` does not find.
    """
    from dotenv import dotenv_values, find_dotenv

    if generator.key is None:
        return None
    found = os.environ.get(generator.key) or dotenv_values(find_dotenv(usecwd=True)).get(generator.key)
    key = (found or "").strip()  # a line break at the end comes with $(cat file)
    if not key:
        raise LamarError(
            f"{generator.key}: no key for {generator.model}; export it or write {generator.key}=... to .env"
        )
    if not KEY.fullmatch(key):
        raise LamarError(f"{generator.key}: holds a blank, a quote or another character that no key has; correct it")
    return key


def without(key: str | None, message: str) -> str:
    """A message that does not tell the key: some servers repeat it in their errors."""
    return message.replace(key, "***") if key else message
