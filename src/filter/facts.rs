//! A run as filters see it.

use crate::model::feedback::Feedback;
use crate::model::run::Run;
use crate::model::run::StoredRun;

/// A run as filters see it. Cheap to make: bodies are taken apart when a filter first asks for them.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The run.
    pub run: &'a Run,
    /// Feedback on it.
    pub feedback: &'a [Feedback],
}

impl<'a> Facts<'a> {
    /// The facts of a stored run.
    #[must_use]
    pub fn of(stored: &'a StoredRun) -> Self {
        Self { run: &stored.run, feedback: &stored.feedback }
    }
}
