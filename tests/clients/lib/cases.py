"""Cases and how they are run.

A case is a function with a sentence for a name. It gets a `Context`: a folder of its own, and
everything it starts through it is stopped when it ends, whatever way it ends.
"""

import contextlib
import multiprocessing
import signal
import tempfile
import time
import traceback
from pathlib import Path

from lib.tollgate import Tollgate

CASE_LIMIT_S = 120

_cases = []


class NotHere(Exception):
    """What this machine does not allow: the case says so, and counts neither as passed nor as failed."""


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

    def tollgate(self, config=None, wrapper=(), admin_ca=None):
        """Starts a Tollgate with a data folder of its own, behind a command if one is given, and waits until it is ready.

        With `admin_ca` its private listener speaks TLS, and is believed by that file.
        """
        folder = self.folder / f"tollgate-{len(self.tollgates)}"
        folder.mkdir()
        tollgate = Tollgate(self.binary, folder, config, wrapper=wrapper)
        tollgate.admin_ca = admin_ca
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


def run_cases(cases, options):
    """Runs the cases, `options.jobs` at a time; returns how many passed, how many failed, and the
    sentences of those that passed only when they were tried again.

    Each has a folder and ports of its own, and runs in a process whose only thread it has.
    What is told comes in the order of the cases.
    """
    forks = multiprocessing.get_context("fork")
    over = forks.Event()
    passed = failed = 0
    flaky = []
    group = None
    with forks.Pool(options.jobs, _prepare, (cases, options, over)) as pool:
        for each, outcome in zip(cases, pool.imap(_run_numbered, range(len(cases)))):
            if outcome is None:
                continue
            succeeded, told = outcome
            if each.group != group:
                group = each.group
                print(f"\n{group}", flush=True)
            print("\n".join(told), flush=True)
            passed += succeeded is True
            failed += succeeded is False
            if succeeded and len(told) > 1:
                flaky.append(each.sentence)
        pool.close()
        pool.join()
    return passed, failed, flaky


_run = None


def _prepare(*run):
    global _run
    _run = run


def _run_numbered(number):
    """What became of one case and what each try told, or nothing when it was not run because another one had failed."""
    cases, options, over = _run
    if over.is_set():
        return None
    told = []
    for _ in range(options.tries):
        succeeded, lines = _run_one(cases[number], options.binary)
        told.append(lines)
        if succeeded is not False:
            break
    if succeeded is False and not options.keep_going:
        over.set()
    return succeeded, told


def _run_one(each, binary):
    """Whether one case passed, or nothing when this machine does not allow it; and the lines that tell it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tollgate-test-") as folder:
        context = Context(folder, binary)
        try:
            each.run(context)
        except NotHere as why:
            return None, f"  NOT RUN          {each.sentence}: {why}"
        except Exception:  # a case may fail in any way; the next one still runs
            lines = [f"  FAILED  {time.monotonic() - started:5.1f} s  {each.sentence}", _indent(traceback.format_exc())]
            lines += [_indent(tollgate.describe()) for tollgate in context.tollgates]
            return False, "\n".join(lines)
        finally:
            context.close()
    return True, f"  ok      {time.monotonic() - started:5.1f} s  {each.sentence}"


def _indent(text):
    return "\n".join("          " + line for line in text.splitlines())
