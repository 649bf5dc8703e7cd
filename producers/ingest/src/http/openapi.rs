//! The `OpenAPI` document, made from the list of routes.

mod bodies;

use std::collections::BTreeMap;

use events::envelope::EventType;
use serde_json::{Map, Value, json};

use crate::http::problem::Kind;
use crate::http::routes::{ROUTES, Route, Serves};

/// The document, version 3.1.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let operations: Map<String, Value> =
            route.methods.iter().map(|method| (method.to_lowercase(), operation(route, method))).collect();
        paths.insert(route.path.to_owned(), Value::Object(operations));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace collection API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A 2xx is sent after the event is durable. Every other answer is application/problem+json.",
        },
        "paths": paths,
        "components": { "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer" },
            "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
        }, "schemas": schemas() },
    })
}

fn schemas() -> Value {
    let mut schemas = json!({
            "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "detail": {"type": "string"}, "id": {"type": ["string", "null"]},
                    "event_id": {"type": "string", "format": "uuid"}, "nbr": {"type": "integer"},
                    "limit_bytes": {"type": "integer"}, "routes": {"type": "array", "items": {"type": "string"}},
                    "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
                },
            },
            "Finding": {
                "type": "object",
                "required": ["code", "severity", "path", "message"],
                "properties": {
                    "code": {"type": "string"}, "severity": {"enum": ["error", "warning", "normalized"]},
                    "path": {"type": "string"}, "section": {"type": "string"}, "message": {"type": "string"},
                    "offset": {"type": "integer"},
                },
            },
            "Accepted": {
                "type": "object",
                "required": ["event_id", "warnings"],
                "properties": {
                    "event_id": {"type": "string", "format": "uuid"},
                    "warnings": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
                },
            },
            "BatchResult": {
                "type": "object",
                "required": ["accepted", "refused", "unavailable", "results"],
                "properties": {
                    "accepted": {"type": "integer"}, "refused": {"type": "integer"}, "unavailable": {"type": "integer"},
                    "results": {"type": "array", "items": {
                        "type": "object",
                        "required": ["line", "status"],
                        "properties": {
                            "line": {"type": "integer", "minimum": 1}, "status": {"enum": [200, 400, 413, 500, 503]},
                            "type": {"type": "string"}, "event_id": {"type": "string", "format": "uuid"},
                            "limit_bytes": {"type": "integer"}, "errors_omitted": {"type": "integer"},
                            "warnings": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
                            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
                        },
                    }},
                },
            },
            "Health": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": {"enum": ["ok", "spooling"]}, "tenants": {"enum": ["stale"]},
                    "spool_events": {"type": "integer"}, "spool_bytes": {"type": "integer"},
                },
            },
    });
    if let Some(members) = schemas.as_object_mut() {
        let of_type = |event_type| Some((bodies::name(event_type).to_owned(), bodies::schema(event_type)?));
        members.extend(EventType::COLLECTED.into_iter().filter_map(of_type));
    }
    schemas
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(route: &Route, method: &str) -> Value {
    let mut responses = BTreeMap::new();
    responses.insert(route.success.to_string(), success(route));
    for kind in route.problems() {
        let entry = responses.entry(kind.status().as_str().to_owned()).or_insert_with(|| json!({"description": ""}));
        describe(entry, route, kind);
    }
    let mut operation = json!({ "summary": route.summary, "responses": responses });
    if let Some(members) = operation.as_object_mut() {
        members.extend(parameters(route).map(|parameters| ("parameters".to_owned(), parameters)));
        let body = (method == "POST").then(|| media_types(route)).flatten();
        members.extend(body.map(|content| ("requestBody".to_owned(), json!({ "content": content }))));
        if route.problems().any(|kind| kind == Kind::UnknownKey) {
            members.insert("security".to_owned(), json!([{"bearer": []}, {"apiKey": []}]));
        }
    }
    operation
}

fn success(route: &Route) -> Value {
    match route.serves {
        Serves::Single(_) => {
            json!({"description": "Durable.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}})
        }
        Serves::Batch => json!({
            "description": "A result for each line.",
            "content": {"application/json": {"schema": reference("BatchResult")}},
        }),
        Serves::OpenRtb | Serves::Notice => json!({"description": "Durable; no content."}),
        Serves::Metrics | Serves::ProblemPage => json!({"description": "Text.", "content": {"text/plain": {}}}),
        Serves::Health | Serves::SinkHealth => {
            json!({"description": "It does.", "content": {"application/json": {"schema": reference("Health")}}})
        }
        Serves::OpenApi => json!({"description": "OpenAPI 3.1.", "content": {"application/json": {}}}),
    }
}

/// Adds a kind of problem to the answer of its status.
fn describe(entry: &mut Value, route: &Route, kind: Kind) {
    let (title, _, _) = kind.text();
    let described = entry.get("description").and_then(Value::as_str).unwrap_or_default();
    let separator = if described.is_empty() { "" } else { "; " };
    let described = format!("{described}{separator}{title}");
    if let Some(members) = entry.as_object_mut() {
        members.insert("description".to_owned(), Value::String(described));
        if route.serves != Serves::OpenRtb {
            let schema = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
            members.insert("content".to_owned(), schema);
        }
    }
}

fn parameters(route: &Route) -> Option<Value> {
    match route.serves {
        Serves::Batch => Some(json!([{"name": "type", "in": "query", "schema": {"enum": types()}}])),
        Serves::Notice => Some(notice_parameters()),
        Serves::ProblemPage => {
            Some(json!([{"name": "problem", "in": "path", "required": true, "schema": {"type": "string"}}]))
        }
        Serves::Single(_)
        | Serves::OpenRtb
        | Serves::Health
        | Serves::SinkHealth
        | Serves::Metrics
        | Serves::OpenApi => None,
    }
}

fn types() -> Vec<&'static str> {
    EventType::COLLECTED.iter().map(|event_type| event_type.name()).collect()
}

fn notice_parameters() -> Value {
    let mut parameters =
        vec![json!({"name": "notice", "in": "path", "required": true, "schema": {"enum": ["nurl", "burl", "lurl"]}})];
    let names = ["auction_id", "imp_id", "bid_id", "seat_id", "dsp_id", "auction_price", "auction_currency"];
    let more = ["auction_multiplier", "auction_loss", "auction_imp_ts", "key", "tenant", "sig"];
    parameters.extend(
        names.iter().chain(&more).map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}})),
    );
    Value::Array(parameters)
}

fn media_types(route: &Route) -> Option<Value> {
    match route.serves {
        Serves::Single(event_type) => {
            Some(json!({"application/json": {"schema": reference(bodies::name(event_type))}}))
        }
        Serves::OpenRtb => Some(json!({"application/json": {"schema": reference(bodies::name(EventType::AdRequest))}})),
        // In place of macros in the query; which members it must have is said at the route of its type.
        Serves::Notice => Some(json!({"application/json": {"schema": {"type": "object"}}})),
        Serves::Batch => Some(json!({"application/x-ndjson": {"schema": {"type": "string"}}})),
        Serves::Health | Serves::SinkHealth | Serves::Metrics | Serves::OpenApi | Serves::ProblemPage => None,
    }
}
