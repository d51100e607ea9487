"""The page of docs/openapi.json: every call with its parameters, body and answers, and every object."""

import json

HEAD = """# Calls of the admin API

Made from [openapi.json](openapi.json), the description of the [admin API](admin-api.md) that a test holds to the code.
Every call needs `Authorization: Bearer` with the admin token. Each may also be refused as
[the page about the API](admin-api.md#refusals) says; of refusals only the statuses are named here.
"""


def page(text):
    """The page in Markdown, of the text of the description."""
    described = json.loads(text)
    parts = [HEAD, "\n## Calls\n"]
    for path, methods in described["paths"].items():
        for method, call in methods.items():
            parts.append(_call(path, method, call))
    parts.append("\n## Objects\n")
    for name, schema in sorted(described["components"]["schemas"].items()):
        parts.append(_object(name, schema))
    return "\n".join(parts)


def _call(path, method, call):
    parts = [f"### {method.upper()} {path}\n", call["summary"] + "\n"]
    if call.get("description"):
        parts.append(call["description"] + "\n")
    if call.get("parameters"):
        rows = [
            (f"`{each['name']}`", each["in"], _type(each["schema"]), "yes" if each.get("required") else "",
             each.get("description", ""))
            for each in call["parameters"]
        ]
        parts.append(_table(("parameter", "in", "type", "needed", "meaning"), rows))
    body = call.get("requestBody")
    if body:
        for kind, content in body["content"].items():
            parts.append(f"Body: {_type(content.get('schema', {}))}, as `{kind}`.\n")
    answers, refusals = [], []
    for status, answer in sorted(call["responses"].items()):
        if "$ref" in answer:
            refusals.append(status)
            continue
        shapes = [f"{_type(content.get('schema', {}))} (`{kind}`)" for kind, content in answer.get("content", {}).items()]
        answers.append(f"{status}: {', '.join(shapes) or 'no body'}")
    parts.append(f"Answers {'; '.join(answers)}." + (f" Refusals: {', '.join(refusals)}." if refusals else "") + "\n")
    return "\n".join(parts)


def _object(name, schema):
    parts = [f"### {name}\n"]
    if schema.get("description"):
        parts.append(schema["description"] + "\n")
    needed = schema.get("required", [])
    members = schema.get("properties", {})
    if members:
        rows = [
            (f"`{member}`", _type(each), "yes" if member in needed else "", each.get("description", ""))
            for member, each in members.items()
        ]
        parts.append(_table(("member", "type", "always", "meaning"), rows))
    elif any(key in schema for key in ("enum", "oneOf", "anyOf", "type")):
        parts.append(f"{_type(schema)}\n")
    return "\n".join(parts)


def _type(schema):
    """A type in a few words, with links to objects."""
    if schema is True or not schema:
        return "any"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " or ".join(_type(each) for each in schema[key])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    kind = schema.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    words = []
    for each in kinds:
        if each == "array":
            words.append(f"list of {_type(schema.get('items', {}))}")
        elif each == "object" and schema.get("additionalProperties") not in (None, False, True):
            words.append(f"object of {_type(schema['additionalProperties'])}")
        elif each == "object" and "properties" in schema:
            inner = (f"`{name}`: {_type(inner)}" for name, inner in schema["properties"].items())
            words.append("object with " + ", ".join(inner))
        else:
            words.append(each)
    said = " or ".join(words)
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if schema.get(key)]
    return f"{said}, {' '.join(bounds)}" if bounds else said


def _table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
