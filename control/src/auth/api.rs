//! `/api/auth/revocations`: what is revoked, shown and changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode};
use serde::Serialize;

use super::revocations::{Full, Revocation, Shown};
use crate::context::Context;
use crate::http::body::read_json;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full, json};

#[derive(Serialize)]
struct List {
    revocations: Vec<Shown>,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    revocation: Shown,
    /// Live sessions that ended by it.
    ended: usize,
}

/// The list, or with an id one entry of it.
pub(crate) async fn revocations(
    context: &Context,
    id: Option<&str>,
    request: &mut Request,
) -> Result<Response, Problem> {
    match (id, &request.method) {
        (Some(id), &Method::DELETE) => remove(context, id).await,
        (None, &Method::POST) => add(context, request).await,
        _ => {
            let revocations = context.guard.revocations();
            Ok(json(render(&List { revocations })))
        }
    }
}

async fn add(context: &Context, request: &mut Request) -> Result<Response, Problem> {
    let revocation: Revocation = read_json(context, request).await?;
    let guard = &context.guard;
    let shown = revocation.shown();
    let file = guard.revocations_file.lock().await;
    guard.revoke(revocation).map_err(|Full| {
        Problem::overloaded("there are 10000 revocations; give them an until, or take some back")
    })?;
    // In force, whether or not it can be kept.
    let ended = guard.sweep(context);
    keep(context, file.as_deref()).await?;
    tracing::info!(id = shown.id(), ended, "revocation made");
    let made = Made {
        revocation: shown,
        ended,
    };
    Ok(full(StatusCode::CREATED, "application/json", render(&made)))
}

async fn remove(context: &Context, id: &str) -> Result<Response, Problem> {
    let guard = &context.guard;
    let gone = || Problem::not_found("there is no such revocation");
    let number = u128::from_str_radix(id, 16).map_err(|_| gone())?;
    let file = guard.revocations_file.lock().await;
    if !guard.take_back(number) {
        return Err(gone());
    }
    keep(context, file.as_deref()).await?;
    tracing::info!(id = format!("{number:032x}"), "revocation taken back");
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Writes the file, if there is one. To be called with its lock held.
async fn keep(context: &Context, path: Option<&Path>) -> Result<(), Problem> {
    let Some(path) = path.map(Path::to_path_buf) else {
        return Ok(());
    };
    let text = context.guard.render_revocations();
    let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%error, "auth.revocations_file cannot be written");
            Err(not_kept())
        }
        Err(_) => Err(not_kept()),
    }
}

/// A reader sees the old text or the new one, also after a crash.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn not_kept() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this is in force, but will be lost when the server ends: its file cannot be written",
    )
}

fn render(value: &impl Serialize) -> Vec<u8> {
    // Strings and numbers always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}
