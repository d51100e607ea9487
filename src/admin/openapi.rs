//! The description of the admin API, made of its table: OpenAPI 3.1, whose schemas are JSON Schema.

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::answer::ErrorView;
use super::table::{BASE, CALLS, COMMON, Form, Parameter, Spec};

/// The description, as text.
#[must_use]
pub fn openapi() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = serde_json::to_string_pretty(&described()).unwrap_or_default();
        text.push('\n');
        text
    })
}

fn described() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let error = generator.subschema_for::<ErrorView>();
    let mut paths = Map::new();
    for spec in CALLS {
        let path = format!("{BASE}/{}", spec.path);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            let method = spec.method.as_str().to_ascii_lowercase();
            item.insert(method, operation(spec, &mut generator));
        }
    }
    let responses = COMMON.iter().chain(&[409]).map(|status| {
        let content = json!({"application/json": {"schema": error}});
        let response = json!({"description": meaning(*status), "content": content});
        (format!("Refused{status}"), response)
    });
    let responses: Map<String, Value> = responses.collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The private API of a node: what it is, what it holds, and what people change while it runs. See docs/admin-api.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8081", "description": "admin.listen"}],
        "security": [{"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "The token of admin.token, or of keys/admin.key in the data directory. It may make every call.",
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate that an [[admin.client]] of the configuration gives a role. Which role a call needs, says x-tollgate-role.",
                },
            },
        },
    })
}

fn operation(spec: &Spec, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    parameters.extend(spec.in_path.iter().map(|it| parameter(it, "path")));
    parameters.extend(spec.in_query.iter().map(|it| parameter(it, "query")));
    let form = match spec.form {
        Form::Json => "application/json",
        Form::Lines => "application/x-ndjson",
    };
    let answer = (spec.answer)(generator);
    let mut responses = Map::new();
    let schema = match spec.form {
        Form::Json => json!({"schema": answer}),
        // Of one line: there is no schema for a stream of them.
        Form::Lines => json!({"x-line-schema": answer, "schema": {"type": "string"}}),
    };
    responses.insert(
        spec.status.to_string(),
        json!({"description": spec.summary, "content": {form: schema}}),
    );
    for status in COMMON.iter().chain(spec.refusals) {
        let reference = json!({"$ref": format!("#/components/responses/Refused{status}")});
        responses.insert(status.to_string(), reference);
    }
    let mut operation = json!({
        "operationId": spec.label.label(),
        "summary": spec.summary,
        "parameters": parameters,
        "responses": responses,
        "x-tollgate-role": spec.role.label(),
    });
    if let (Some((schema, optional)), Some(operation)) = (spec.body, operation.as_object_mut()) {
        let schema = schema(generator);
        let content = json!({"application/json": {"schema": schema}});
        let body = json!({"required": !optional, "content": content});
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    let schema = match parameter.number {
        Some((least, most)) => json!({"type": "integer", "minimum": least, "maximum": most}),
        None => json!({"type": "string"}),
    };
    json!({
        "name": parameter.name, "in": place, "required": place == "path",
        "description": parameter.what, "schema": schema,
    })
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "What was sent is wrong.",
        401 => {
            "The token is not there, or not that of this node, and no certificate stands for it."
        }
        403 => {
            "The request names another host, comes from a page in a browser, or the role of its certificate is not enough."
        }
        404 => "There is no such path, or no such thing.",
        405 => "The path does not take that method.",
        408 => "The body did not arrive in time.",
        409 => "It cannot be done as things stand.",
        413 => "The body is too large.",
        415 => "The body is not JSON by its Content-Type.",
        503 => "The disk or the node has no room for it now.",
        _ => "A fault of the node, which is in its log.",
    }
}
