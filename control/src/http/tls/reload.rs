//! Takes a renewed certificate into use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::pem::{self, Content};
use super::{Current, TlsError};
use crate::http::site::Site;

/// Looks at both files now and then. Their content is compared and not their times, which renewals
/// through symbolic links need not change.
pub(in crate::http) struct Reload {
    files: (PathBuf, PathBuf),
    content: Content,
    current: Arc<Current>,
}

impl Reload {
    pub(super) fn new(files: (PathBuf, PathBuf), content: Content, current: Arc<Current>) -> Self {
        Reload {
            files,
            content,
            current,
        }
    }

    /// Never ends. What cannot be used leaves the former certificate in place.
    pub(in crate::http) async fn run(mut self, site: Arc<impl Site>) {
        let mut complaint = Complaint::default();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (certificate, key) = self.files.clone();
            let read = spawn_blocking(move || pem::read(&certificate, &key)).await;
            match read {
                Ok(Ok((content, _))) if content == self.content => complaint.withdraw(),
                Ok(Ok((content, certified))) => {
                    let fingerprint = super::fingerprint(&certified);
                    self.current.replace(certified);
                    self.content = content;
                    complaint.withdraw();
                    site.counters().count_certificate(true);
                    tracing::info!(fingerprint, "a new certificate is in use");
                }
                Ok(Err(error)) => {
                    if complaint.raise(&error) {
                        site.counters().count_certificate(false);
                        tracing::error!(%error, "the former certificate stays in use");
                    }
                }
                // The runtime is going away.
                Err(_) => return std::future::pending().await,
            }
        }
    }
}

/// Says a thing once, and only if it is still so at the second look: between the writing of the
/// certificate and that of its key the two do not match.
#[derive(Default)]
struct Complaint {
    text: String,
    seen: u8,
}

impl Complaint {
    fn raise(&mut self, error: &TlsError) -> bool {
        let text = error.to_string();
        if text != self.text {
            *self = Complaint { text, seen: 0 };
        }
        self.seen = self.seen.saturating_add(1);
        self.seen == 2
    }

    fn withdraw(&mut self) {
        *self = Complaint::default();
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_made_once_and_not_at_first_sight() {
        let error = |what| TlsError::Content("cert.pem".into(), what);
        let mut complaint = Complaint::default();
        let said = [(); 4].map(|()| complaint.raise(&error("is broken")));
        assert_eq!(said, [false, true, false, false]);
        assert!(!complaint.raise(&error("is empty")), "another one");
        assert!(complaint.raise(&error("is empty")));
        complaint.withdraw();
        assert!(!complaint.raise(&error("is empty")));
        assert!(complaint.raise(&error("is empty")), "it came back");
    }
}
