"""Events that are hard to carry, and what must be read back of them."""

import json
import uuid

AWKWARD = {
    "eventType": "view_product",
    "productName": "Tablet",
    "price": 7998,
    "ratio": 1.5,
    "on_sale": True,
    "nothing": None,
    "null_text": "null",
    "empty": "",
    "quotes": "\"double\" 'single' \\backslash/ `tick`",
    "lines": "one\ntwo\r\nthree\ttab",
    "controls": "\u0001\u001f\u007f\u2028\u2029\ufeff",
    "chinese": "你好，世界",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 𝔘",
    "rtl": "שלום עליכם",
    "markup": "<script>alert('&amp;')</script> %E4%BD%A0 a+b=c&d",
    "nested": {"cart": [{"名": "ü", "n": 1}, [], {}], "none": None},
    "键": "值",
    "a key with spaces.and-dots": "v",
    "long": "é" * 3000,
}


def marked(count=1, **fields):
    """A fresh marker, and so many events that carry it, numbered."""
    marker = uuid.uuid4().hex
    return marker, [{"marker": marker, "number": str(n), **fields} for n in range(count)]


def awkward():
    """A fresh marker, and the awkward event with it."""
    marker = uuid.uuid4().hex
    return marker, {"marker": marker, **AWKWARD}


def as_text(event):
    """The event with every value as text: what JSON clients send, and what a logstore keeps."""
    return {key: _text(value) for key, value in event.items()}


def _text(value):
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
