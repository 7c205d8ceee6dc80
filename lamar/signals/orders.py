"""Item texts that speak to the LLM instead of about the item.

Such an item has its own question like any other, where it can spoil one signal. It is not shown where all items would
read it, or what the LLM made of it: in the questions that propose a signal, and among a prompt's examples. These words
are those of the usual orders in English; a text that only looks like one costs nothing, since another item is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lamar.signals.prompt import TURNS, as_data

ORDERS = re.compile(
    # an order at the beginning of a text or a sentence, or after a conjunction
    r"(?:^|[.!?:;,\-–—|()\[\]\"“]\s*|\b(?:and|but|then|now|please|instead|always|only|just|never|must|should)\s+)"
    r"(?:ignore|disregard|forget|override|stop|do not|don['’]t|say|tell|write|reply|respond|answer|output|print|repeat|"
    r"return|state|mention|praise|promote|advertise|recommend|describe|pretend|act|imagine|translate|summari[sz]e|insert|"
    r"append|include|start with|begin with|end with)\b"
    # talk about the conversation
    r"|\b(?:instructions?|prompts?|language model|(?:an|the|dear) (?:ai|llm|assistant|chatbot)|chatgpt|jailbreak|"
    r"your (?:task|role|job|answer|output|response|reply|signal|examples?)|from now on|you (?:are|must|should|will)|"
    r"(?:previous|above|earlier|following) (?:text|rules?|examples?|questions?|messages?|sentences?|words))\b"
    # a label of the conversation
    r"|\b(?:input|output|answer|assistant|system|user|human|feature)\s*:",
    re.IGNORECASE,
)


def gives_orders(texts: Iterable[str]) -> bool:
    """Whether one of an item's texts, as a question would show it, reads like an order or has chat markers."""
    return any(TURNS.search(text) or ORDERS.search(as_data(text)) for text in texts)
