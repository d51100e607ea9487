"""Cases and how they are run.

A case is a function with a sentence for a name. It gets a `Context`: a folder of its own, and
everything it starts through it is stopped when it ends, whatever way it ends.
"""

import contextlib
import signal
import tempfile
import time
import traceback
from pathlib import Path

from lib.tollgate import Tollgate

CASE_LIMIT_S = 120

_cases = []


class Case:
    """One case: a sentence, the function that shows it, and the file that it stands in."""

    def __init__(self, sentence, function, arguments):
        self.sentence = sentence
        self.group = function.__module__.rpartition(".")[2]
        self._function = function
        self._arguments = arguments

    def run(self, context):
        """Runs the function under the time limit."""
        with limited(CASE_LIMIT_S, f"the case took longer than {CASE_LIMIT_S} s"):
            self._function(context, *self._arguments)


def case(sentence):
    """Makes a case of the function below."""

    def register(function):
        _cases.append(Case(sentence, function, ()))
        return function

    return register


def case_for_each(values, sentence):
    """Makes a case of the function below for each value, or tuple of values; `{}` in the sentence stands for it."""

    def register(function):
        for value in values:
            arguments = value if isinstance(value, tuple) else (value,)
            _cases.append(Case(sentence.format(*arguments), function, arguments))
        return function

    return register


def all_cases():
    """Every case, in the order of the files."""
    return list(_cases)


class Context:
    """The folder and the processes of one case."""

    def __init__(self, folder, binary):
        self.folder = Path(folder)
        self.binary = binary
        self.tollgates = []
        self._stack = contextlib.ExitStack()

    def tollgate(self, config=None):
        """Starts a Tollgate with a data folder of its own, and waits until it is ready."""
        folder = self.folder / f"tollgate-{len(self.tollgates)}"
        folder.mkdir()
        tollgate = Tollgate(self.binary, folder, config)
        self.tollgates.append(tollgate)
        self._stack.callback(tollgate.kill)
        tollgate.start()
        return tollgate

    def use(self, manager):
        """Enters a context manager that is left when the case ends."""
        return self._stack.enter_context(manager)

    def close(self):
        """Stops what the case started."""
        self._stack.close()


@contextlib.contextmanager
def limited(seconds, message):
    """Raises `TimeoutError` in the main thread when the block takes longer."""

    def expired(_signal, _frame):
        raise TimeoutError(message)

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_cases(cases, binary, keep_going):
    """Runs the cases one after another; returns how many passed and how many failed."""
    passed = failed = 0
    group = None
    for each in cases:
        if each.group != group:
            group = each.group
            print(f"\n{group}", flush=True)
        if _run_one(each, binary):
            passed += 1
        else:
            failed += 1
            if not keep_going:
                break
    return passed, failed


def _run_one(each, binary):
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tollgate-test-") as folder:
        context = Context(folder, binary)
        try:
            each.run(context)
        except Exception:  # a case may fail in any way; the next one still runs
            print(f"  FAILED  {time.monotonic() - started:5.1f} s  {each.sentence}", flush=True)
            print(_indent(traceback.format_exc()), flush=True)
            for tollgate in context.tollgates:
                print(_indent(tollgate.describe()), flush=True)
            return False
        finally:
            context.close()
    print(f"  ok      {time.monotonic() - started:5.1f} s  {each.sentence}", flush=True)
    return True


def _indent(text):
    return "\n".join("          " + line for line in text.splitlines())
