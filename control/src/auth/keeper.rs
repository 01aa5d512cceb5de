//! Keeps what the guard knows as the files have it, and sees to it that sessions end which nobody
//! would be let in for any more.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use super::guard::{Content, Guard};
use crate::Auth;
use crate::context::now;
use crate::http::site::Site;

/// The files, and what was in them last.
pub(crate) struct Keeper {
    files: Vec<Watched>,
}

struct Watched {
    /// The key that names it.
    key: &'static str,
    path: PathBuf,
    content: Content,
    seen: Seen,
}

/// So that nothing is said or done twice.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    Text(Vec<u8>),
    Unreadable(io::ErrorKind),
}

impl Keeper {
    /// Reads all files for the first time.
    ///
    /// # Errors
    /// `InvalidInput` for the first one that cannot be read or is broken. Revocations may still
    /// have no file.
    pub(crate) fn start(config: &Auth, guard: &Guard) -> io::Result<Self> {
        let keys = config.key_files.iter().enumerate();
        let keys = keys.map(|(index, path)| ("auth.key_files", path, Content::Keys(index)));
        let tokens = config.tokens_file.iter();
        let tokens = tokens.map(|path| ("auth.tokens_file", path, Content::Tokens));
        let revoked = config.revocations_file.iter();
        let revoked = revoked.map(|path| ("auth.revocations_file", path, Content::Revocations));
        let mut files = Vec::new();
        for (key, path, content) in keys.chain(tokens).chain(revoked) {
            let mut file = Watched {
                key,
                path: path.clone(),
                content,
                seen: Seen::Nothing,
            };
            if let Err(why) = file.look(guard) {
                let absent = file.seen == Seen::Unreadable(io::ErrorKind::NotFound);
                if !absent || content != Content::Revocations {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
            }
            files.push(file);
        }
        Ok(Keeper { files })
    }

    /// Looks at the files and sweeps the sessions, for as long as it is polled.
    pub(crate) async fn run(self, site: Arc<impl Site>) {
        let mut changes = site.guard().changes();
        let mut files = self.files;
        loop {
            let guard = site.guard();
            let changed = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
            if changed.is_ok() {
                site.sweep();
            }
            // Whoever writes revocations does not want older ones read back.
            let writing = guard.revocations_file.lock().await;
            let looking = tokio::task::spawn_blocking({
                let guard = guard.clone();
                move || {
                    look_at(&mut files, &guard);
                    files
                }
            });
            let Ok(looked) = looking.await else {
                tracing::error!("the files of tokens and keys are not looked at any more");
                return;
            };
            files = looked;
            drop(writing);
            guard.expire(now());
        }
    }
}

fn look_at(files: &mut [Watched], guard: &Guard) {
    for file in files {
        let absent = file.content == Content::Revocations && !file.path.exists();
        if absent && matches!(file.seen, Seen::Nothing | Seen::Unreadable(_)) {
            continue;
        }
        if let Err(why) = file.look(guard) {
            tracing::error!("{why}; what was read before stays in force");
        }
    }
}

impl Watched {
    /// Reads the file and takes it in, if it is not as it was.
    ///
    /// # Errors
    /// The key, the path, and what is wrong, once.
    fn look(&mut self, guard: &Guard) -> Result<(), String> {
        let text = read(&self.path);
        let seen = match &text {
            Ok(text) => Seen::Text(digest::digest(&digest::SHA256, text).as_ref().to_vec()),
            Err(error) => Seen::Unreadable(error.kind()),
        };
        if seen == self.seen {
            return Ok(());
        }
        self.seen = seen;
        let outcome = match text {
            Ok(text) => guard.take(self.content, &text),
            Err(error) => Err(error.to_string()),
        };
        outcome.map_err(|why| format!("{} {}: {why}", self.key, self.path.display()))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = fs::File::open(path)?;
    file.take(FILE_SIZE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

/// What is written anew is in force, and what was taken away has ended sessions, after this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// 10 000 revocations of the longest names.
const FILE_SIZE_MAX: u64 = 16 * 1024 * 1024;
