//! The description of the routes, and every answer of these tests held against it.

use std::sync::OnceLock;

use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use crate::client::Reply;
use crate::world::World;

static TEXT: &str = include_str!("../../control/src/http/openapi.json");

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(TEXT).expect("JSON"))
}

/// Checks that an answer is one the description has. Paths outside of it are not looked at.
#[track_caller]
pub(crate) fn check(method: &str, target: &str, reply: &Reply) {
    if let Err(fault) = judge(method, target, reply) {
        panic!("{method} {target}: {fault}: {reply:?}");
    }
}

fn judge(method: &str, target: &str, reply: &Reply) -> Result<(), String> {
    let Some(item) = item_of(target) else {
        return Ok(());
    };
    let status = reply.status.as_u16();
    let Some(operation) = item.get(method.to_lowercase()) else {
        // Another check may come first.
        let known = [400, 401, 403, 405, 429, 431].contains(&status);
        return known
            .then_some(())
            .ok_or("it has no such method".to_owned());
    };
    // The document says once of all operations that they may answer this.
    if status == 431 {
        return Ok(());
    }
    let response = operation["responses"].get(status.to_string());
    let response = resolve(response.ok_or(format!("{status} is not described"))?);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let header = resolve(header);
        for value in reply.headers.get_all(name) {
            let text = value.to_str().map_err(|_| format!("{name} is no text"))?;
            let number = text.parse::<u64>().map(Value::from);
            let value = number.unwrap_or_else(|_| Value::from(text));
            fits(&value, &header["schema"]).map_err(|fault| format!("{name}: {fault}"))?;
        }
        if header["required"] == true && !reply.has(name) {
            return Err(format!("no {name}"));
        }
    }
    let Some(content) = response["content"].as_object() else {
        let empty = reply.body.is_empty();
        return empty.then_some(()).ok_or("a body".to_owned());
    };
    let announced = reply.headers.get(CONTENT_TYPE);
    let announced = announced.and_then(|value| value.to_str().ok());
    let announced = announced.unwrap_or_default().split(';').next();
    let media = content
        .get(announced.unwrap_or_default())
        .ok_or("another content type")?;
    if method == "HEAD" || !announced.unwrap_or_default().ends_with("json") {
        return Ok(());
    }
    let body = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    fits(&body, &media["schema"])
}

/// The description of a request's path.
fn item_of(target: &str) -> Option<&'static Value> {
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    let asked: Vec<&str> = path.split('/').collect();
    let paths = document()["paths"].as_object().expect("paths");
    let found = paths.iter().find(|(template, _)| {
        let parts: Vec<&str> = template.split('/').collect();
        let same = |(part, asked): (&&str, &&str)| part == asked || part.starts_with('{');
        parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
    });
    found.map(|(_, item)| item)
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(target) => {
            let pointer = target.trim_start_matches('#');
            document().pointer(pointer).expect("a reference that leads")
        }
        None => value,
    }
}

/// As much of JSON Schema as the document uses; patterns are left to others.
fn fits(value: &Value, schema: &'static Value) -> Result<(), String> {
    let schema = resolve(schema);
    let Some(rules) = schema.as_object() else {
        return Err("no schema".to_owned());
    };
    for (rule, wanted) in rules {
        let kept = match rule.as_str() {
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|kind| is(value, kind)),
                kind => is(value, kind),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "maximum" => value.as_f64() <= wanted.as_f64(),
            "required" => {
                let mut names = wanted.as_array().into_iter().flatten();
                names.all(|name| value.get(name.as_str().unwrap_or_default()).is_some())
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                *wanted != false || value.as_object().is_some_and(|all| all.keys().all(known))
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(name) {
                        fits(inner, schema).map_err(|fault| format!("{name}: {fault}"))?;
                    }
                }
                true
            }
            "items" => {
                for inner in value.as_array().into_iter().flatten() {
                    fits(inner, wanted)?;
                }
                true
            }
            "pattern" | "minLength" | "maxLength" | "description" => true,
            other => return Err(format!("the rule {other} is not known here")),
        };
        if !kept {
            return Err(format!("{value} breaks {rule}: {wanted}"));
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    }
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let world = World::new().await;
    let reply = world.get("/api/openapi.json").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(&reply.json(), document());
    let page = world.get("/api/docs").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.has("content-security-policy"));
    // The page's own files, wherever it was reached.
    for part in page.text().split('"').filter(|part| part.starts_with('/')) {
        let status = world.get(part).await.status.as_u16();
        assert_eq!(status, 200, "{part}");
    }
    world.get("/api/docs/").await.expect(200);
}

#[tokio::test]
async fn the_description_needs_no_token() {
    let world = World::with(|config| config.auth.tokens = vec!["secret".into()]).await;
    for path in ["/api/openapi.json", "/api/docs"] {
        world.get(path).await.expect(200);
    }
    world.get("/api/streams").await.problem(401);
}

#[test]
fn answers_that_are_not_described_are_seen() {
    let reply = |status: u16, kind: &str, body: &str| Reply {
        status: hyper::StatusCode::from_u16(status).expect("a status"),
        headers: [(CONTENT_TYPE, kind.parse().expect("a value"))]
            .into_iter()
            .collect(),
        body: body.to_owned().into(),
    };
    let judge = |target, reply: Reply| judge("GET", target, &reply);
    let info = r#"{"version":"1","gitHash":"","buildTime":"","features":[],"udpPort":1,"backend":"x","alias":"","region":"","pubMax":1,"subMax":1}"#;
    let json = "application/json";
    assert_eq!(judge("/api/info/", reply(200, json, info)), Ok(()));
    assert_eq!(judge("/elsewhere", reply(418, json, "")), Ok(()));
    for wrong in [
        reply(418, json, info),
        reply(200, "text/plain", info),
        reply(200, json, "{"),
        reply(200, json, "{}"),
        reply(200, json, &info.replace(":1,", ":-1,")),
        reply(200, json, &info.replace("[]", "[1]")),
        reply(200, json, &info.replace("{", "{\"more\":1,")),
        // A problem without its header.
        reply(503, "application/problem+json", "{}"),
    ] {
        assert!(judge("/api/info", wrong.clone()).is_err(), "{wrong:?}");
    }
    let headless = reply(201, "application/sdp", "v=0");
    assert!(super::openapi::judge("POST", "/whip/a", &headless).is_err());
    assert!(super::openapi::judge("PUT", "/whip/a", &headless).is_err());
}
