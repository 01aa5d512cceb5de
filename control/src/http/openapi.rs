//! The routes as an OpenAPI 3.1 document: written by hand, and held against the table of routes
//! below and against every answer in `tests/http`.

use super::response::{Response, json};

/// `GET /api/openapi.json`.
pub(crate) fn serve() -> Response {
    json(DOCUMENT)
}

const DOCUMENT: &[u8] = include_bytes!("openapi.json");

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::route::Route as _;
    use super::super::router::{ROUTES, Route};
    use super::*;

    /// A route that a document has to describe.
    pub(crate) struct Described {
        pub(crate) path: String,
        pub(crate) methods: &'static str,
        pub(crate) asks: Asks,
    }

    /// What a route wants to see first.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Asks {
        /// A token, where any are configured.
        Token,
        Nothing,
        /// Something of its own, by which it may refuse.
        Itself,
    }

    /// Holds a document against the routes, and against itself.
    pub(crate) fn check(document: &[u8], routes: &[Described]) {
        let document = serde_json::from_slice(document).expect("JSON");
        has_the_routes_and_their_methods_and_no_others(&document, routes);
        says_what_asks_for_no_token(&document, routes);
        leads_somewhere_with_every_reference_and_has_unique_ids(&document);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    fn has_the_routes_and_their_methods_and_no_others(document: &Value, routes: &[Described]) {
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().expect("a path item");
                let methods = item.keys().filter(|key| *key != "parameters");
                methods.map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = routes
            .iter()
            .flat_map(|route| {
                let methods = route.methods.split(", ");
                methods.map(|method| (route.path.clone(), method.to_owned()))
            })
            .collect();
        let missing: Vec<_> = served.difference(&described).collect();
        let extra: Vec<_> = described.difference(&served).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "missing: {missing:?}, extra: {extra:?}"
        );
    }

    fn says_what_asks_for_no_token(document: &Value, routes: &[Described]) {
        for Described { path, asks, .. } in routes {
            let item = document["paths"][path].as_object().expect("a path item");
            for (method, operation) in item.iter().filter(|(key, _)| *key != "parameters") {
                let is_options = method == "options";
                let says = operation["security"].as_array().is_some_and(Vec::is_empty);
                assert_eq!(says, is_options || *asks != Asks::Token, "{method} {path}");
                let refuses = operation["responses"]["401"].is_object();
                assert_eq!(
                    refuses,
                    !is_options && *asks != Asks::Nothing,
                    "{method} {path}"
                );
            }
        }
    }

    fn leads_somewhere_with_every_reference_and_has_unique_ids(document: &Value) {
        let mut found = Vec::new();
        objects(document, &mut found);
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
    fn it_describes_the_routes_and_no_others() {
        let described = |(path, route): &(&str, Route)| Described {
            path: (*path).to_owned(),
            methods: route.methods(),
            asks: if route.is_open() {
                Asks::Nothing
            } else {
                Asks::Token
            },
        };
        let routes: Vec<_> = ROUTES.iter().map(described).collect();
        check(DOCUMENT, &routes);
    }
}
