//! Rules in YAML: from files to drafts of rules and endpoints, and from drafts to a plan.
//!
//! Promises: every problem of all files is found in one reading, each with the bytes it is about; a file with an error
//! yields nothing that would be applied by itself; what could be a secret is struck out before a line of a file is shown
//! anywhere; the same files give the same ids everywhere. What a rule sends to may also be stored already: whoever applies
//! a file says whether it is.
//!
//! Never reads a file, the environment or the clock, never resolves a name, and never decides which addresses are
//! allowed: whoever applies a plan does that, and reports what it refuses at the spans that drafts carry.

mod action;
mod batch;
mod cadence;
mod difference;
mod document;
mod endpoint;
mod export;
mod format;
mod grouping;
mod lower;
mod node;
mod offsets;
mod outside;
pub mod plan;
mod reading;
mod report;
mod rule;
mod schema;
mod secret;
mod signing;
mod target;
mod trying;
mod variables;

use crate::filter::Mode;

pub use difference::Difference;
pub use endpoint::{EndpointDraft, EndpointName};
pub use export::{export, literal};
pub use outside::{Outside, Standing};
pub use report::{FileReport, bounded};
pub use rule::RuleDraft;
pub use schema::schema;
pub use signing::SigningDraft;
pub use target::TargetDraft;
pub use variables::resolve;

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its name, for messages and as its rules' origin.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What files say.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Rules, in the order of the files.
    pub rules: Vec<RuleDraft>,
    /// Named endpoints, and those written inside rules.
    pub endpoints: Vec<EndpointDraft>,
    /// Endpoints that rules name and no file has, in the order of the files.
    pub outside: Vec<Outside>,
    /// One for each file, also when there is nothing to say.
    pub reports: Vec<FileReport>,
}

impl Loaded {
    /// Whether any file is refused. Then none is to be applied.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.reports.iter().any(FileReport::has_errors)
    }
}

/// Reads files together, with the variables they name.
#[must_use]
pub fn load(files: &[SourceFile], variables: &dyn Fn(&str) -> Option<String>) -> Loaded {
    lower::load(files, variables, Mode::Lenient)
}

/// Reads files together, and warns of filters that LangSmith's hosted service refuses.
#[must_use]
pub fn load_strictly(files: &[SourceFile], variables: &dyn Fn(&str) -> Option<String>) -> Loaded {
    lower::load(files, variables, Mode::Strict)
}
