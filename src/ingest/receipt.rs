//! What a client is told of a request that was stored.

use serde::Serialize;

/// How much of a client's own text an error repeats, in characters.
const SHOWN: usize = 100;

/// What became of a request. All that it counts as accepted is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Parts of runs that were accepted, repeats included.
    pub parts: usize,
    /// Feedback records that were accepted.
    pub feedback: usize,
    /// What was not.
    pub refused: Vec<Refused>,
}

/// A part of a request that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Which part.
    pub part: String,
    /// Why.
    pub error: String,
}

impl Refused {
    /// A part and why it was refused. The part's name is the client's own text, so it is cut.
    #[must_use]
    pub fn new(part: &str, error: &(impl ToString + ?Sized)) -> Self {
        Self { part: part.chars().take(SHOWN).collect(), error: error.to_string() }
    }
}
