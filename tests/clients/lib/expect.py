"""Assertions that say what was expected and what was there."""

import json
import time


def check(condition, message):
    """Fails with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def equal(actual, expected, what):
    """Fails unless both are equal; of dictionaries, shows only what differs."""
    if actual == expected:
        return
    if isinstance(actual, dict) and isinstance(expected, dict):
        lines = [
            f"  {key}: expected {_show(expected, key)}, got {_show(actual, key)}"
            for key in sorted(set(actual) | set(expected), key=str)
            if actual.get(key, _MISSING) != expected.get(key, _MISSING)
        ]
        raise AssertionError(f"{what} differs:\n" + "\n".join(lines))
    raise AssertionError(f"{what}: expected {_short(expected)}, got {_short(actual)}")


def until(probe, what, seconds=20.0):
    """Calls the probe until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.05)


_MISSING = object()


def _show(mapping, key):
    return _short(mapping[key]) if key in mapping else "nothing"


def _short(value):
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 400 else f"{text[:400]}... ({len(text)} characters)"
