//! The routes as an OpenAPI 3.1 document: written by hand, and held against the table of routes
//! below and against every answer in `tests/http`.

use super::response::{Response, json};

/// `GET /api/openapi.json`.
pub(crate) fn serve() -> Response {
    json(DOCUMENT)
}

const DOCUMENT: &[u8] = include_bytes!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::router::ROUTES;
    use super::*;

    fn document() -> Value {
        serde_json::from_slice(DOCUMENT).expect("JSON")
    }

    /// Every object of the document.
    fn objects<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
        match value {
            Value::Object(object) => {
                found.push(object);
                object.values().for_each(|inner| objects(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| objects(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn it_has_the_routes_and_their_methods_and_no_others() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().expect("a path item");
                let methods = item.keys().filter(|key| *key != "parameters");
                methods.map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = ROUTES
            .iter()
            .flat_map(|(path, route)| {
                let methods = route.methods().split(", ");
                methods.map(move |method| ((*path).to_owned(), method.to_owned()))
            })
            .collect();
        let missing: Vec<_> = served.difference(&described).collect();
        let extra: Vec<_> = described.difference(&served).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "missing: {missing:?}, extra: {extra:?}"
        );
    }

    #[test]
    fn what_asks_for_no_token_says_so() {
        let document = document();
        for (path, route) in ROUTES {
            let item = document["paths"][path].as_object().expect("a path item");
            for (method, operation) in item.iter().filter(|(key, _)| *key != "parameters") {
                let open = route.is_open() || method == "options";
                let says = operation["security"].as_array().is_some_and(Vec::is_empty);
                assert_eq!(says, open, "{method} {path}");
                let refuses = operation["responses"]["401"].is_object();
                assert_eq!(refuses, !open, "{method} {path}");
            }
        }
    }

    #[test]
    fn its_references_lead_somewhere_and_its_ids_are_unique() {
        let document = document();
        let mut found = Vec::new();
        objects(&document, &mut found);
        let mut ids = BTreeSet::new();
        let mut referred = BTreeSet::new();
        for object in found {
            if let Some(Value::String(target)) = object.get("$ref") {
                let pointer = target.strip_prefix('#').expect("inside the document");
                assert!(document.pointer(pointer).is_some(), "{target}");
                referred.insert(target.clone());
            }
            if let Some(Value::String(id)) = object.get("operationId") {
                assert!(ids.insert(id), "{id} twice");
            }
        }
        for kind in ["parameters", "headers", "responses", "schemas"] {
            let components = document["components"][kind].as_object().expect("an object");
            for name in components.keys() {
                let target = format!("#/components/{kind}/{name}");
                assert!(referred.contains(&target), "nothing uses {target}");
            }
        }
    }

    #[test]
    fn it_is_of_this_version() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
