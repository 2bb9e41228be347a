"""Runs tests as `python -m unittest` does, bounds the time of each, and ends at once.

PySpark's threads repeat calls for ten minutes after the end of their server. Python would wait for them, and some calls of
PySpark hold a lock meanwhile.
"""

import faulthandler
import os
import signal
import sys
import unittest

SECONDS = 400
"""Longest time of a test without a DEADLINE, and of the set-up of a class."""


class BoundedResult(unittest.TextTestResult):
    def startTestRun(self):
        super().startTestRun()
        signal.alarm(SECONDS)

    def startTest(self, test):
        signal.alarm(getattr(test, "DEADLINE", SECONDS))
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(SECONDS)


def fail(*_):
    """Shows what each thread does, and lets the test fail, so that its servers are stopped."""
    faulthandler.dump_traceback()
    # The clean-up may hang as well.
    faulthandler.dump_traceback_later(60, exit=True)
    raise TimeoutError("the test took longer than its deadline")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, fail)
    runner = unittest.TextTestRunner(resultclass=BoundedResult, verbosity=2)
    program = unittest.main(module=None, exit=False, testRunner=runner)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(not program.result.wasSuccessful() or program.result.testsRun == 0)
