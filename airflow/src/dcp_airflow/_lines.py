"""Converts the output of a driver to lines for a task's log."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_MAX_LINE = 4_000
_MAX_TOTAL = 10 * 1024 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Characters of these categories, except the tab, move the cursor, hide text or reverse it.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class LogLines:
    """Joins pieces of a log to whole lines, and knows the `attempt` and `cursor` to continue after a break."""

    def __init__(self, execution_id: str, max_line: int = _MAX_LINE, max_total: int = _MAX_TOTAL) -> None:
        self._execution_id = execution_id
        self._max_line = max_line
        self._max_total = max_total
        self._partial = b""
        self._truncated = False
        self._bytes_read = 0
        self.attempt: int | None = None
        self.cursor = ""
        self.limit_reached = False

    def feed(self, attempt: int, cursor: str, data: bytes) -> Iterator[str]:
        """Yields the lines that a piece completes; `cursor` is the position after the piece."""
        if self.limit_reached:
            return
        if attempt != self.attempt:
            yield from self.flush()
            self.attempt = attempt
            yield f"log of attempt {attempt}:"
        self.cursor = cursor
        remaining = self._max_total - self._bytes_read
        self._bytes_read += len(data)
        *whole, self._partial = (self._partial + data[: max(remaining, 0)]).split(b"\n")
        for line in whole:
            if not self._truncated:
                yield self._format(line)
            self._truncated = False
        if len(self._partial) > self._max_line:
            # Drops the rest of an overlong line, which would otherwise be held in memory.
            if not self._truncated:
                yield self._format(self._partial)
            self._truncated, self._partial = True, b""
        if len(data) > remaining:
            yield from self.flush()
            self.limit_reached = True
            yield f"this log ends at {self._max_total // 1024} KiB; for all of it: dcp logs {self._execution_id}"

    def flush(self) -> Iterator[str]:
        """Yields the last line if no newline ended it."""
        if self._partial and not self._truncated:
            yield self._format(self._partial)
        self._partial, self._truncated = b"", False

    def _format(self, line: bytes) -> str:
        text = sanitize(line[: self._max_line].decode("utf-8", "replace"))
        suffix = "" if len(line) <= self._max_line else " … (truncated)"
        # Airflow folds lines such as `::group::`; the bar prevents that.
        return f"| {text}{suffix}"


def sanitize(text: str) -> str:
    """Returns the text without terminal escapes, and with hidden characters replaced."""
    text = _ESCAPES.sub("", text.removesuffix("\r"))
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        it if it == "\t" or unicodedata.category(it) not in _HIDDEN else "\N{REPLACEMENT CHARACTER}"
        for it in text
    )
