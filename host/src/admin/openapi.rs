//! The description of the interface, OpenAPI 3.1, made from the list of routes and the types of their answers.

use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::Rule;
use super::problem::Problem;
use super::routes::{Body, ROUTES, Route};
use super::upload::SIGNATURE;

/// Describes a type.
pub type Describe = fn(&mut SchemaGenerator) -> Schema;

const ABOUT: &str = "\
Looks at the pipelines of a running host, and operates them. Where tokens are configured, each request but those for \
health has `Authorization: Bearer TOKEN`. A pipeline that the token does not let see is one that is not there (404). What \
is no success is `application/problem+json`.";

/// A reference to the description of `T`, which is put among the others.
pub fn of<T: JsonSchema>(all: &mut SchemaGenerator) -> Schema {
    all.subschema_for::<T>()
}

/// The description.
pub async fn document() -> Json<Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut all = settings.into_generator();
    let problem = all.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route, &problem, &mut all);
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": {"title": "Rowgate", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": all.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }))
}

fn operation(route: &Route, problem: &Schema, all: &mut SchemaGenerator) -> Value {
    let (kind, gives) = (route.gives.0, (route.gives.1)(all));
    let mut answers = Map::new();
    answers.insert("200".into(), json!({"description": "Done", "content": {kind: {"schema": gives}}}));
    for status in route.refusals() {
        let refused = json!({"description": "See `code`", "content": {"application/problem+json": {"schema": problem}}});
        answers.insert(status.to_string(), refused);
    }
    for status in route.also {
        answers.insert(status.to_string(), answers["200"].clone());
    }
    let mut operation = json!({
        "operationId": route.id(),
        "summary": route.about,
        "parameters": parameters(route, all),
        "responses": answers,
    });
    if route.body == Body::Component {
        let content = json!({"application/wasm": {"schema": {"type": "string", "format": "binary"}}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    if route.rule != Rule::Anyone {
        operation["security"] = json!([{"token": []}]);
    }
    operation
}

/// The parameters in the path, those of the query, and the header that goes with a component.
fn parameters(route: &Route, all: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let mut parameters: Vec<Value> = in_path.collect();
    let query = route.query.map(|query| query(all).to_value());
    let members = query.as_ref().and_then(|query| query["properties"].as_object()).into_iter().flatten();
    parameters.extend(members.map(|(name, schema)| {
        json!({"name": name, "in": "query", "required": false, "schema": schema, "description": schema["description"]})
    }));
    if route.body == Body::Component {
        let about = "The component's detached signature: the text of its `.minisig` file, in Base64";
        let schema = json!({"type": "string", "contentEncoding": "base64"});
        parameters.push(json!({"name": SIGNATURE, "in": "header", "schema": schema, "description": about}));
    }
    parameters
}
