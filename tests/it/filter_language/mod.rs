//! The filter language from outside: what parses, what it means, what is said about what does not.

mod command;
mod corpus;
mod errors;
mod laws;
mod meaning;
mod pairs;

use runhook::filter::{Facts, Filter, Mode};
use runhook::model::feedback::Feedback;
use runhook::model::run::Run;

/// A filter that parses.
fn filter(text: &str) -> Filter {
    Filter::parse(text, Mode::Lenient).map_err(|problems| (text, problems)).unwrap().0
}

/// Whether a run passes.
fn passes(text: &str, run: &Run, feedback: &[Feedback]) -> bool {
    filter(text).matches(&Facts::new(run, feedback))
}
