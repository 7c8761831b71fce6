"""A job for worker processes, which find it by the name of its module."""

import os
import time


class Job:
    """Answers (offset + task, process); a negative task raises, None ends the process, a fraction takes its time."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, task):
        if task is None:
            os._exit(3)
        if task < 0:
            raise ArithmeticError(f'task {task}')
        time.sleep(task % 1)
        return self.offset + task, os.getpid()


class Unmakeable:
    """Raises where it is made."""

    def __init__(self, **arguments):
        raise LookupError('there is no job')
