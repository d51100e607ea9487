"""The admin API by its description: OpenAPI 3.1, checked by a validator, and held against real answers."""

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

from lib.cases import case
from lib.expect import check, equal
from lib.identity import Rules
from lib.tollgate import OPEN

JSON = "application/json"
# What is asked with, where a call cannot be made without anything.
BODIES = {
    "explain": {"target": f"/logstores/{OPEN}/track", "headers": [["host", "127.0.0.1"]], "body": "{}"},
    "reload": {"dry_run": True},
}


@case("the description of the admin API is OpenAPI 3.1, and every answer of a node is as it says")
def described(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    document = tollgate.admin("GET", "openapi.json").json()
    errors = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    equal(errors, [], "what the validator finds")
    asked, done = 0, 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = operation["operationId"]
            place = path.removeprefix("/api/v1/")
            for parameter in operation["parameters"]:
                place = place.replace("{" + parameter["name"] + "}", "nothing")
            answer = tollgate.admin(method.upper(), place, **({"json": BODIES[name]} if name in BODIES else {}))
            response = operation["responses"].get(str(answer.status_code))
            check(response, f"{method} {path} answers {answer.status_code}, which is not described: {answer.text}")
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
            kind = answer.headers["content-type"]
            check(kind in response["content"], f"{method} {path} answers {kind}")
            asked += 1
            if kind == JSON:
                schema = {**response["content"][JSON]["schema"], "components": document["components"]}
                wrong = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(answer.json())]
                equal(wrong, [], f"what is wrong with the answer of {method} {path}: {answer.text}")
                done += answer.status_code < 300
    check(asked >= 20 and done >= 10, f"{done} of {asked} calls were done")
