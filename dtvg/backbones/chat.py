"""Inputs put to an instruct model as its chat template has them (`data.template: chat`).

The input is the user's only message, and the answer starts after the generation prompt.
docs/backbones.md "Chat templates".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from dtvg.errors import ConfigError

DATE = "26 Jul 2024"
"""The day that templates with a date are given, so that an input is the same on every day."""
_NO_CLOCK = f"{{% macro strftime_now(form) %}}{DATE}{{% endmacro %}}\n"
"""Put before a template: stands in for the library's clock, and itself writes nothing."""
_MESSAGE, _ANSWER = "input", "answer"


class ChatTemplate:
    """The chat template of one backbone's tokenizer."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Try the template once.

        Args:
            tokenizer: of transformers.
            name: the backbone's, for messages.

        Raises:
            ConfigError: the tokenizer has no template, or it cannot be applied.
        """
        self.tokenizer = tokenizer
        self.name = name
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"Backbone '{name}' has no chat template in its tokenizer, so data.template cannot "
                "be chat; set it to plain, or choose an instruct model."
            )
        try:
            self.template = str(tokenizer.get_chat_template())
            self.opening = self.texts([_MESSAGE])[0]
        except Exception as error:  # noqa: BLE001 - a template is a program and raises anything
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"The chat template of backbone '{name}' cannot be applied to one message of a "
                f"user ({reason}); set data.template to plain."
            ) from None

    @property
    def identity(self) -> str:
        """What identifies the template, by its text."""
        return hashlib.sha256(self.template.encode()).hexdigest()[:16]

    def fingerprint(self, data: str) -> str:
        """Return the fingerprint of data that are read through this template.

        Args:
            data: their fingerprint as plain text.
        """
        return hashlib.sha256(f"{data}/chat/{self.identity}".encode()).hexdigest()[:16]

    @cached_property
    def spaced(self) -> bool:
        """Whether the template has a space between the generation prompt and an answer."""
        messages = [
            {"role": "user", "content": _MESSAGE},
            {"role": "assistant", "content": _ANSWER},
        ]
        try:
            whole = self._apply([messages], False)[0]
        except Exception:  # noqa: BLE001 - as above; an answer then follows at once
            return False
        return whole.startswith(f"{self.opening} {_ANSWER}")

    def texts(self, inputs: Sequence[str]) -> list[str]:
        """Return inputs as the model reads them, up to where its answer starts."""
        return self._apply([[{"role": "user", "content": text}] for text in inputs], True)

    def _apply(self, conversations: list[list[dict[str, str]]], opened: bool) -> list[str]:
        found: list[str] = self.tokenizer.apply_chat_template(
            conversations,
            chat_template=_NO_CLOCK + self.template,
            tokenize=False,
            add_generation_prompt=opened,
            enable_thinking=False,
            date_string=DATE,
        )
        return found

    def ids(self, inputs: Sequence[str], limit: int) -> list[list[int]]:
        """Return token ids of inputs in the template; a long input is cut at its end.

        Args:
            inputs: plain texts.
            limit: tokens allowed, the template's own included.

        Raises:
            ConfigError: the template alone needs more.
        """
        rows = self._encode(self.texts(inputs))
        return [
            row if len(row) <= limit else self._cut(text, len(row), limit)
            for text, row in zip(inputs, rows, strict=True)
        ]

    def _cut(self, text: str, length: int, limit: int) -> list[int]:
        """Return the ids of as much of one input as fits; `length` is what the whole takes."""
        ends = self._token_ends(text)
        left = max(0, len(ends) - (length - limit))
        while True:
            row = self._encode(self.texts([text[: ends[left - 1]] if left else ""]))[0]
            if len(row) <= limit:
                return row
            if left == 0:
                break
            # several tokens may end at one character, so the next cut may be too far
            left = max(0, left - (len(row) - limit))
        raise ConfigError(
            f"The chat template of backbone '{self.name}' takes "
            f"{len(self._encode(self.texts(['']))[0])} tokens without an input, and "
            f"data.max_source_tokens is {limit}; raise it."
        )

    def _token_ends(self, text: str) -> list[int]:
        """Return where each token of a text ends; of each character, where that is not told."""
        if not getattr(self.tokenizer, "is_fast", False):
            return list(range(1, len(text) + 1))
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [int(end) for _, end in found["offset_mapping"]]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Encode rendered texts, whose marks stand in them."""
        encode: Callable[..., Any] = self.tokenizer
        return [list(ids) for ids in encode(texts, add_special_tokens=False)["input_ids"]]
