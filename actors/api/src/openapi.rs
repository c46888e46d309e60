//! `GET /v1/openapi.json`: the API in its own words.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

/// One call: method, path and what it does.
pub(crate) type Call = (&'static str, &'static str, &'static str);

/// Every call. A test holds this list and the routes together.
pub(crate) const CALLS: &[Call] = &[
    ("get", "/healthz", "The process answers"),
    ("get", "/metrics", "What this node counts, as text for Prometheus"),
    ("get", "/v1/openapi.json", "This document"),
    ("get", "/v1/version", "Version of the daemon"),
    ("get", "/v1/cluster", "The cluster, its leader and members; answers before init as well"),
    ("post", "/v1/cluster/init", "Make this node the first member of a new cluster"),
    ("post", "/v1/cluster/join", "Join the cluster of a peer, by a join token"),
    ("post", "/v1/cluster/rejoin", "Begin again with an empty log under this node's identity"),
    (
        "get",
        "/v1/status",
        "Deployments and replicas; `watch` streams a snapshot per change, `consistent` asks the leader",
    ),
    ("get", "/v1/nodes", "Members"),
    ("post", "/v1/nodes/join-tokens", "Make a join token, good for one node"),
    ("post", "/v1/nodes/{name}/remove", "Begin to remove a member; `force` does not move replicas"),
    ("get", "/v1/volumes", "Named volumes and the nodes that hold them"),
    ("get", "/v1/networks", "Networks in use"),
    ("get", "/v1/routes", "Routes; `domain` picks one"),
    ("get", "/v1/routes/{domain}", "The routes of a domain with their replicas"),
    ("get", "/v1/certificates", "Certificates of the front door, by domain"),
    ("get", "/v1/certificates/{domain}", "The certificate of one domain"),
    ("get", "/v1/audit", "Audit log; `follow` streams new lines"),
    ("get", "/v1/replicas", "Replicas"),
    ("get", "/v1/replicas/{id}", "One replica with its history"),
    ("get", "/v1/deployments", "Deployments"),
    ("post", "/v1/deployments", "Apply resolved documents"),
    ("post", "/v1/plan", "What an apply of resolved documents would do"),
    ("get", "/v1/deployments/{name}", "One deployment with its documents"),
    ("delete", "/v1/deployments/{name}", "Remove a deployment; `volumes` removes its data"),
    ("get", "/v1/deployments/{name}/history", "Kept revisions, newest first"),
    ("post", "/v1/deployments/{name}/rollback", "An earlier revision as a new one"),
    ("post", "/v1/deployments/{name}/scale", "Numbers of replicas over those of the files"),
    ("get", "/v1/deployments/{name}/wait", "Stream of progress until a condition holds"),
    ("post", "/v1/restart", "Replace or restart a deployment, a service or a replica"),
    (
        "get",
        "/v1/why",
        "The chain of causes of a `subject` or `node`, of a `name` asked `from` a replica, or of a way `from` one `to` another",
    ),
    ("get", "/v1/logs", "Stream of log lines, merged over replicas"),
];

/// `GET /v1/openapi.json`
pub(crate) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// An OpenAPI 3.1 document of paths, parameters in paths, and the one shape of errors.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, summary) in CALLS {
        let operation = json!({
            "summary": summary,
            "parameters": parameters(path),
            "responses": {
                "200": { "description": "Done" },
                "default": {
                    "description": "Refused",
                    "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/Error" },
                    } },
                },
            },
        });
        let calls = paths.entry(*path).or_insert_with(|| json!({}));
        calls[method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "JACO", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Error": error_schema() } },
    })
}

fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    names.map(parameter).collect()
}

fn error_schema() -> Value {
    let codes: Vec<&str> = jaco_model::ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": { "type": "string", "enum": codes },
                "message": { "type": "string" },
                "details": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        } },
    })
}
