//! Endpoints that rules of files send to and no file has. They may be stored already; what a file alone can tell of them
//! is where they are named.

use std::ops::Range;

use crate::model::problem::Problem;
use crate::rule_file::Loaded;

/// A named endpoint that a rule sends to and no file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Its key.
    pub key: String,
    /// The file that names it.
    pub file: String,
    /// Where.
    pub span: Range<usize>,
    /// The endpoint of the files that may have been meant.
    pub near: Option<String>,
}

/// What is known of a key outside the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// An endpoint is stored under it, and stays.
    Stored,
    /// One is stored that came from this file, and goes because the files no longer have it.
    Leaving(String),
    /// There is none; this one may have been meant.
    Nowhere(Option<String>),
}

impl Loaded {
    /// Refuses the files that name an endpoint which is nowhere, or will be nowhere once they are applied.
    pub fn refuse_outside(&mut self, standing: impl Fn(&str) -> Standing) {
        let found = self.outside.clone();
        for outside in found {
            let (message, hint) = match standing(&outside.key) {
                Standing::Stored => continue,
                Standing::Leaving(origin) => (
                    format!("the endpoint `{}` is no longer in {origin}, and goes with this", outside.key),
                    "put it back, or make one of that name with `runhook endpoints create` once it is gone".to_owned(),
                ),
                Standing::Nowhere(stored) => (
                    format!("there is no endpoint `{}`, neither in these files nor on the server", outside.key),
                    hint(&outside.key, outside.near.as_deref().or(stored.as_deref())),
                ),
            };
            self.report(&outside, Problem::error("unknown-endpoint", outside.span.clone(), message).hint(hint));
        }
    }

    /// Warns of them where nobody can say whether they are stored.
    pub fn warn_of_outside(&mut self) {
        let found = self.outside.clone();
        for outside in found {
            let message = format!("these files have no endpoint `{}`; the server must have it", outside.key);
            let hint = hint(&outside.key, outside.near.as_deref());
            self.report(&outside, Problem::warning("outside-endpoint", outside.span.clone(), message).hint(hint));
        }
    }

    fn report(&mut self, outside: &Outside, problem: Problem) {
        if let Some(report) = self.reports.iter_mut().find(|report| report.name == outside.file) {
            report.problems.push(problem);
            report.problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        }
    }
}

fn hint(key: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add it to `endpoints` of a file, or make it with `runhook endpoints create {key}`"),
    }
}
