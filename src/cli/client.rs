//! How commands reach the engine: a server's API, or the same API in process.

use serde_json::Value;

/// The engine, near or far.
pub struct Client {}

/// What a command prints: for people, or as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Text for people.
    Human,
    /// One JSON document.
    Json,
}

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Fine (0).
    Fine,
    /// The thing asked about is wrong (1).
    Wrong,
    /// It could not run (3). Usage errors (2) are clap's.
    CouldNotRun,
}

impl Client {
    /// Calls the API and returns its JSON. An answer of 400 or above is an error that carries the problem document.
    pub async fn call(&self, _method: &str, _path: &str, _body: Option<&Value>) -> Result<Value, CallError> {
        unimplemented!()
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine answered with a problem.
    #[error("{}", .problem.get("detail").and_then(Value::as_str).unwrap_or("the server refused"))]
    Problem {
        /// The HTTP status.
        status: u16,
        /// The problem document.
        problem: Value,
    },
    /// The engine could not be reached.
    #[error("{0}")]
    Unreachable(String),
}
