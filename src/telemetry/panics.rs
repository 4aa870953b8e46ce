//! What a panic says. Its words may be made of data (a slice that is out of bounds quotes the text it was taken of, an
//! `unwrap` shows the value), so only words that are in the source are shown, and otherwise where it happened.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;

const WITHHELD: &str = "(what it says may hold data, and is withheld)";

/// Withholds the words of every panic from now on that may hold data.
pub fn withhold() {
    std::panic::set_hook(Box::new(tell));
}

/// The words of a panic that may be shown.
#[must_use]
pub fn words(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or(WITHHELD)
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    // Straight to stderr: the log may be what panicked. Nobody is left to tell if that fails.
    let _nobody_reads = writeln!(std::io::stderr(), "panic at {place} in thread {name}: {}", words(panic.payload()));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _nobody_reads = writeln!(std::io::stderr(), "{trace}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_source_are_shown_and_words_made_of_data_are_not() {
        let fixed: Box<dyn Any + Send> = Box::new("the index is empty");
        let made: Box<dyn Any + Send> = Box::new(format!("not a boundary of {}", "hunter2"));
        assert_eq!((words(fixed.as_ref()), words(made.as_ref())), ("the index is empty", WITHHELD));
    }
}
