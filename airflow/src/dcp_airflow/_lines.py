"""From what a driver writes to lines that a task's log can have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_LINE = 4_000
_TOTAL = 10 * 1024 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Other than a tab, these move the cursor, hide text or turn it around.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Lines:
    """Puts pieces of a log together to whole lines, and knows where to go on after a break."""

    def __init__(self, id: str, line: int = _LINE, total: int = _TOTAL) -> None:
        self._id = id
        self._line = line
        self._total = total
        self._rest = b""
        self._cut = False
        self._taken = 0
        self.attempt: int | None = None
        self.offset = 0
        # That no more is taken.
        self.full = False

    def feed(self, attempt: int, offset: int, data: bytes) -> Iterator[str]:
        """The lines that a piece brings to their end."""
        if self.full:
            return
        if attempt != self.attempt:
            yield from self.end()
            self.attempt, self.offset = attempt, offset
            whence = f"byte {offset} on" if offset else "its beginning"
            yield f"the log of attempt {attempt}, from {whence}:"
        # What was read already is not read again, as after a break.
        data = data[max(0, self.offset - offset) :]
        self.offset = max(self.offset, offset) + len(data)
        left = self._total - self._taken
        self._taken += len(data)
        *whole, self._rest = (self._rest + data[: max(left, 0)]).split(b"\n")
        for line in whole:
            if not self._cut:
                yield self._clean(line)
            self._cut = False
        if len(self._rest) > self._line:
            # Whoever writes without end, in one line, is not kept in memory for that.
            if not self._cut:
                yield self._clean(self._rest)
            self._cut, self._rest = True, b""
        if len(data) > left:
            yield from self.end()
            self.full = True
            yield f"the log goes on beyond {self._total // 1024} KiB, and only there: dcp logs {self._id}"

    def end(self) -> Iterator[str]:
        """The last line, where nothing ended it."""
        if self._rest and not self._cut:
            yield self._clean(self._rest)
        self._rest, self._cut = b"", False

    def _clean(self, line: bytes) -> str:
        text = clean(line[: self._line].decode("utf-8", "replace"))
        more = "" if len(line) <= self._line else " … (a longer line, cut)"
        # Airflow folds what is between lines such as `::group::`; behind a bar, they mean nothing.
        return f"| {text}{more}"


def clean(text: str) -> str:
    """The text without what would not be seen as it is."""
    text = _ESCAPES.sub("", text.removesuffix("\r"))
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        it if it == "\t" or unicodedata.category(it) not in _HIDDEN else "\N{REPLACEMENT CHARACTER}"
        for it in text
    )
