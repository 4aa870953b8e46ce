//! How far a copy is: a bar on a terminal, a line for each tenth elsewhere, nothing where one JSON document is wanted.

use std::io::{self, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app::transfer::{Beginning, Progress, Step};

/// Shows how far it is.
pub(super) struct Shown<'o> {
    bar: ProgressBar,
    /// Where lines go, if that is what is wanted.
    lines: Option<&'o mut (dyn Write + Send)>,
    what: String,
    total: u64,
    done: u64,
    told: u64,
}

impl<'o> Shown<'o> {
    pub(super) fn new(err: &'o mut (dyn Write + Send), is_quiet: bool) -> Self {
        let is_watched = !is_quiet && io::stderr().is_terminal();
        let target = if is_watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{msg:30} {bar:30} {pos}/{len}  {per_sec}  {eta} left");
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let lines = (!is_quiet && !is_watched).then_some(err);
        Self { bar, lines, what: String::new(), total: 0, done: 0, told: 0 }
    }

    fn say(&mut self, line: &str) {
        if let Some(out) = &mut self.lines {
            // What is copied counts, not who reads of it.
            let _nobody_reads = writeln!(out, "{line}");
        }
    }

    fn tell(&mut self) {
        let line = format!("{}: {} of {}", self.what, self.done, self.total);
        self.say(&line);
        self.told = self.done;
    }

    fn tenth(&self, done: u64) -> u64 {
        done.saturating_mul(10).checked_div(self.total).unwrap_or(0)
    }
}

impl Progress for Shown<'_> {
    fn begins(&mut self, beginning: Beginning) {
        if beginning == Beginning::Resumed {
            self.say("going on with the copy that was begun");
        }
    }

    fn step(&mut self, step: Step, total: u64, done: u64) {
        self.what = match step {
            Step::Copy(table) => format!("copying {table}"),
            Step::Blobs => "copying blobs".to_owned(),
            Step::Compare(table) => format!("comparing {table}"),
        };
        (self.total, self.done, self.told) = (total, done, done);
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(self.what.clone());
    }

    fn advance(&mut self, by: u64) {
        self.done = self.done.saturating_add(by);
        self.bar.inc(by);
        if self.tenth(self.done) > self.tenth(self.told) {
            self.tell();
        }
    }

    fn end(&mut self) {
        if self.told != self.done {
            self.tell();
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_of_each_tenth_and_of_the_end() {
        let mut said = Vec::new();
        let mut shown = Shown::new(&mut said, false);
        if shown.lines.is_none() {
            // Someone watches this on a terminal.
            return;
        }
        shown.step(Step::Copy("runs"), 1000, 950);
        (0..10).for_each(|_| shown.advance(5));
        shown.end();
        shown.step(Step::Compare("rules"), 3, 0);
        shown.advance(2);
        shown.end();
        shown.step(Step::Blobs, 0, 0);
        shown.end();
        drop(shown);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said, "copying runs: 1000 of 1000\ncomparing rules: 2 of 3\n");
    }
}
