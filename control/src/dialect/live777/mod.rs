//! Live777's HTTP API: streams, their event feed, layers, strategy, information, cascade.

mod feed;
mod intake;
mod render;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use whitewater_link::{MediaKind, SessionId};
use whitewater_model::{Error, Selection, Side, StreamName};

pub(crate) use feed::{Feed, lost};

use crate::cascade::{self, Direction, Wish};
use crate::context::{Context, now};
use crate::http::body::{self, read_json};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, json};
use crate::session;

/// `GET /api/streams/`, all or those named by `?streams=`, sorted by id.
pub(crate) fn list(context: &Context, request: &Request) -> Result<Response, Problem> {
    let wanted = path::query_values(&request.query, "streams")?;
    let snapshot = context.feed.current(context);
    Ok(json(snapshot.list(&wanted)))
}

/// `/api/streams/{stream}`.
pub(crate) fn stream(
    context: &Context,
    name: &StreamName,
    request: &Request,
) -> Result<Response, Problem> {
    match request.method {
        Method::POST => {
            context.act(|registry, now| registry.create_stream(name, now))?;
            tracing::info!(stream = ?name, "stream created");
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Method::DELETE => {
            context.act(|registry, now| registry.destroy_stream(name, now))?;
            context.cascades.end_of(name);
            tracing::info!(stream = ?name, "stream destroyed");
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => {
            let view = context.registry().stream(name, now());
            let view = view.ok_or(whitewater_model::Error::NoSuchStream)?;
            Ok(json(render::stream(&view)))
        }
    }
}

/// `GET /api/sse/streams`.
pub(crate) fn events(context: &Context, request: &Request) -> Result<Response, Problem> {
    let wanted = path::query_values(&request.query, "streams")?;
    feed::events(context, wanted, &request.grant, request.source)
}

/// `GET /api/strategy/`.
pub(crate) fn strategy(context: &Context) -> Response {
    json(render::strategy(&context.config.policy))
}

/// `GET /api/info`.
pub(crate) fn info(context: &Context) -> Response {
    json(render::info(&context.config.about, &context.config.policy))
}

/// What a viewer wants of the stream's layers. Both Live777's word for an encoding and those of the
/// WHEP layer extension; unknown members are left.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_id: Option<String>,
    #[serde(alias = "encodingId")]
    rid: Option<String>,
    #[serde(default, deserialize_with = "body::whole")]
    spatial_layer_id: Option<u32>,
    #[serde(default, deserialize_with = "body::whole")]
    temporal_layer_id: Option<u32>,
    #[serde(default, deserialize_with = "body::whole")]
    max_spatial_layer_id: Option<u32>,
    #[serde(default, deserialize_with = "body::whole")]
    max_temporal_layer_id: Option<u32>,
    #[serde(default, deserialize_with = "body::whole")]
    max_width: Option<u32>,
    #[serde(default, deserialize_with = "body::whole")]
    max_height: Option<u32>,
}

impl Layer {
    /// The m-line it names, if any. A text that is no number names none of ours.
    fn line(&self) -> Result<Option<u16>, Problem> {
        let parse = |id: &String| id.parse().map_err(|_| Error::NoSuchLayer.into());
        self.media_id.as_ref().map(parse).transpose()
    }

    fn selection(self) -> Selection {
        Selection {
            rid: self.rid,
            spatial_id: self.spatial_layer_id,
            temporal_id: self.temporal_layer_id,
            spatial_id_max: self.max_spatial_layer_id,
            temporal_id_max: self.max_temporal_layer_id,
            width_max: self.max_width,
            height_max: self.max_height,
        }
    }
}

/// A layer as Live777 lists them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Encoding<'a> {
    encoding_id: &'a str,
}

/// `/session/{stream}/{session}/layer`. Without simulcast there is one nameless layer: it can be
/// switched off (DELETE) and on again (POST), but has no name to be listed by.
pub(crate) async fn layer(
    context: &Context,
    stream: &StreamName,
    id: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    let found = session::find(context, stream, id, request)?;
    if found.side == Side::Publish {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this session publishes; layers are a viewer's choice",
        ));
    }
    match request.method {
        Method::POST => {
            let layer: Layer = read_json(context, request).await?;
            let (line, principal) = (layer.line()?, &request.grant.principal);
            let selection = layer.selection();
            context.act(|registry, now| {
                registry.select(stream, id, principal, line, selection, now)
            })?;
        }
        Method::DELETE => context.act(|registry, _| {
            let principal = &request.grant.principal;
            registry.mute(stream, id, principal, MediaKind::Video, true)
        })?,
        _ => {
            let layers = context.registry().layers(stream, now());
            let mut rids: Vec<&str> = layers.iter().filter_map(|l| l.rid.as_deref()).collect();
            // Each of its temporal layers has the name.
            rids.dedup();
            let list = rids.into_iter().map(|encoding_id| Encoding { encoding_id });
            let list: Vec<_> = list.collect();
            if list.is_empty() {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "the stream has no simulcast layers",
                ));
            }
            return Ok(json(render::to_json(&list)));
        }
    }
    Ok(empty(StatusCode::OK))
}

/// Both spellings; an empty text counts as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cascade {
    token: Option<String>,
    #[serde(alias = "src")]
    source_url: Option<String>,
    #[serde(alias = "dst")]
    target_url: Option<String>,
}

/// A link as `GET /api/cascade/{stream}` tells it.
#[derive(Serialize)]
struct Link {
    direction: &'static str,
    url: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    failures: u32,
}

/// `/api/cascade/{stream}`: POST makes a link, GET tells how those that there are stand.
pub(crate) async fn cascade(
    context: &Context,
    name: &StreamName,
    request: &mut Request,
) -> Result<Response, Problem> {
    if request.method != Method::POST {
        let link = |view: cascade::View| Link {
            direction: view.direction.as_str(),
            url: view.url,
            state: view.standing.phase.as_str(),
            failure: view.standing.failure,
            failures: view.standing.failures,
        };
        let links: Vec<_> = context.cascades.of(name).into_iter().map(link).collect();
        // Texts and numbers always serialise.
        return Ok(json(serde_json::to_vec(&links).unwrap_or_default()));
    }
    let wish: Cascade = read_json(context, request).await?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (direction, url) = match (given(wish.source_url), given(wish.target_url)) {
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request(
                "sourceUrl and targetUrl exclude each other",
            ));
        }
        (None, None) => return Err(Problem::bad_request("sourceUrl or targetUrl is needed")),
        (Some(url), None) => (Direction::Pull, url),
        (None, Some(url)) => (Direction::Push, url),
    };
    let wish = Wish {
        direction,
        url,
        token: given(wish.token),
    };
    cascade::start(context, name, wish, request.grant.clone()).await?;
    Ok(empty(StatusCode::OK))
}
