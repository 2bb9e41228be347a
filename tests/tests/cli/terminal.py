"""Runs a program in a pseudo-terminal, and types text when expected output appears.

stdin: {"argv": [...], "columns": 80, "typed": [["expected output", "text to type"], ...], "done": "FILE"}
A text such as `kill -TERM` sends a signal instead of being typed.
`done` is optional: the file is created after all expected output has appeared.
stdout: {"output": "...", "screen": "...", "code": 0, "is_raw": false}: the whole output, the final content of the screen, the exit
code, which is null if the program did not exit within the timeout, and whether the program left the terminal in raw mode
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

TIMEOUT = 60


def main():
    task = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        # The program must not see the default size.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, task["columns"], 0, 0))
        os.execvp(task["argv"][0], task["argv"])
    output, seen, typed = b"", 0, list(task["typed"])
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:
            more = b""
        if not more:
            break
        output += more
        while typed and (at := output.find(typed[0][0].encode(), seen)) >= 0:
            seen = at + len(typed[0][0].encode())
            react(child, terminal, typed.pop(0)[1])
        if not typed and task["done"]:
            open(task["done"], "w").close()
    else:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A signal gives the exit code that a shell reports.
    code = None if code == -signal.SIGKILL else 128 - code if code < 0 else code
    shown = screen(output.decode(), task["columns"])
    is_raw = not termios.tcgetattr(terminal)[3] & termios.ICANON
    json.dump({"output": output.decode(), "screen": shown, "code": code, "is_raw": is_raw}, sys.stdout)


def react(child, terminal, text):
    if text.startswith("kill -"):
        os.kill(child, signal.Signals["SIG" + text.removeprefix("kill -")])
    else:
        os.write(terminal, text.encode())


def screen(output, columns):
    """Returns the final content of the screen. Knows the control sequences that dcp writes, and rejects others."""
    lines, row, column = [""], 0, 0
    for text, sequence in re.findall(r"([^\x1b])|\x1b\[([0-9;?]*[A-Za-z])", output.replace("\n", "\v"), re.DOTALL):
        if sequence == "2K":
            lines[row] = ""
        elif sequence.endswith("A"):
            row = max(0, row - int(sequence[:-1] or 1))
        elif sequence.endswith("B"):
            row += int(sequence[:-1] or 1)
        elif sequence in ("J", "K"):
            lines[row] = lines[row][:column]
        elif sequence.endswith("C"):
            column += int(sequence[:-1] or 1)
        elif sequence.endswith("m") or sequence in ("?25l", "?25h", "?2004l", "?2004h", "?2026l", "?2026h"):
            pass
        elif sequence:
            raise ValueError(f"unknown control sequence {sequence}")
        elif text == "\r":
            column = 0
        elif text == "\v":
            row += 1
        else:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return "\n".join(line.rstrip() for line in lines)


main()
