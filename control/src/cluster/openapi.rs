//! The manager's routes as an OpenAPI 3.1 document: written by hand, held against the table of
//! routes below and against the running manager in `tests/api`.

use crate::http::response::{Response, json};

/// `GET /api/openapi.json`.
pub(super) fn serve() -> Response {
    json(DOCUMENT)
}

const DOCUMENT: &[u8] = include_bytes!("openapi.json");

#[cfg(test)]
mod tests {
    use super::super::routes::{ROUTES, Route};
    use super::*;
    use crate::http::openapi::tests::{Asks, Described, check};
    use crate::http::route::Route as _;

    /// What is behind the one route of Red5's dialect.
    const STREAM_MANAGER: [(&str, &str); 5] = [
        ("event/list", "GET, HEAD, OPTIONS"),
        ("event/list/stats", "GET, HEAD, OPTIONS"),
        ("event/{scope}/{name}", "GET, HEAD, OPTIONS"),
        ("event/{scope}/{name}/stats", "GET, HEAD, OPTIONS"),
        ("admin/event", "DELETE, OPTIONS"),
    ];

    #[test]
    fn it_describes_the_routes_and_no_others() {
        let (dialect, own): (Vec<_>, Vec<_>) =
            ROUTES.iter().partition(|(_, route)| *route == Route::Red5);
        let own = own.into_iter().map(|(path, route)| Described {
            path: (*path).to_owned(),
            methods: route.methods(),
            asks: match route {
                // It takes no token, it gives them.
                Route::Login => Asks::Itself,
                route if route.is_open() => Asks::Nothing,
                _ => Asks::Token,
            },
        });
        let behind = dialect.into_iter().flat_map(|(path, _)| {
            let base = path.replace("{*rest}", "");
            STREAM_MANAGER.map(|(rest, methods)| Described {
                path: format!("{base}{rest}"),
                methods,
                asks: Asks::Itself,
            })
        });
        check(DOCUMENT, &own.chain(behind).collect::<Vec<_>>());
    }
}
