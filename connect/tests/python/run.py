"""Runs tests as `python -m unittest` does, and ends at once.

PySpark's threads repeat calls for ten minutes after the end of their server, and Python would wait for them.
"""

import os
import sys
import unittest

if __name__ == "__main__":
    program = unittest.main(module=None, exit=False)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(not program.result.wasSuccessful() or program.result.testsRun == 0)
