"""Runs a program at a terminal of its own, and types.

stdin: {"argv": [...], "columns": 80, "typed": [["what is waited for", "what is then typed"], ...], "done": "a file"}
The file, if one is named, is made once all that is waited for was seen.
stdout: {"output": "...", "code": 0}, where the code is none if the program did not end in time
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

PATIENCE = 60


def main():
    task = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        # The size is set before the program can ask for it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, task["columns"], 0, 0))
        os.execvp(task["argv"][0], task["argv"])
    output, seen, typed = b"", 0, list(task["typed"])
    end = time.monotonic() + PATIENCE
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
        if typed and (at := output.find(typed[0][0].encode(), seen)) >= 0:
            seen = at + len(typed[0][0].encode())
            os.write(terminal, typed.pop(0)[1].encode())
        if not typed and task["done"]:
            open(task["done"], "w").close()
    else:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # By the numbers of shells; none where it had to be killed.
    code = None if code == -signal.SIGKILL else 128 - code if code < 0 else code
    json.dump({"output": output.decode(), "code": code}, sys.stdout)


main()
