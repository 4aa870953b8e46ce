//! What the process owns beside its store, and some endpoints of this API work on: the key file, the directory of
//! blobs, the folder of rules. Handed in by whoever wires.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use zeroize::Zeroizing;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::model::time::Timestamp;

/// What the process owns beside its store.
pub trait Premises: Send + Sync {
    /// The text of the key file.
    fn key_text(&self) -> Result<Zeroizing<String>, PremisesError>;

    /// Replaces the text of the key file, whole or not at all.
    fn replace_keys(&self, text: &str) -> Result<(), PremisesError>;

    /// Removes all blobs. Whether they are in a directory of this process; blobs elsewhere are left alone.
    fn clear_blobs(&self) -> Result<bool, PremisesError>;

    /// The data directory. A process without one shares its database with others, and its key file is the operator's.
    fn data_dir(&self) -> Option<&Path>;

    /// What may be shown of where the database is.
    fn database(&self) -> &str;

    /// What this process does, as it is written in the configuration.
    fn roles(&self) -> &str;

    /// When the process started.
    fn started_at(&self) -> Timestamp;

    /// How the folder of rules that the process keeps to stands, if there is one.
    fn rules_folder(&self) -> Option<FolderState>;
}

/// How a folder of rules stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderState {
    /// The folder.
    pub path: PathBuf,
    /// When it was last found changed, or in the way of being read.
    pub looked_at: Timestamp,
    /// When it was last applied; never, if it was always refused.
    pub applied_at: Option<Timestamp>,
    /// How many rule files were in it then.
    pub files: usize,
    /// How many errors and warnings they had.
    pub problems: usize,
    /// Why it was not applied, if it was not.
    pub error: Option<String>,
}

/// A file of the premises could not be used; the text names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PremisesError(pub String);

impl From<PremisesError> for Problem {
    fn from(error: PremisesError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "premises", error.0)
            .hint("the server's own files are in the way; `runhook doctor` on its machine says more")
    }
}

/// The premises, as an extractor.
#[derive(Clone)]
pub struct Home(pub Arc<dyn Premises>);

impl FromRequestParts<Api> for Home {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let found = Extension::<Arc<dyn Premises>>::from_request_parts(parts, api).await;
        found.map(|Extension(premises)| Self(premises)).map_err(|_| {
            Problem::new(StatusCode::NOT_IMPLEMENTED, "no-premises", "this server has no files of its own")
        })
    }
}
