//! All that is wrong with a file, ready to be shown: to people with carets, to machines with lines and columns.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::filter::report::{self, Lines, Style};
use crate::model::problem::{Problem, Severity};

/// How many problems one answer tells.
const MOST_TOLD: usize = 200;

/// The problems of one file, in its order.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The file's name.
    pub name: String,
    /// Its text with all secrets struck out, byte for byte as long as the file.
    pub shown: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// How many more there are than are told.
    pub untold: usize,
}

#[derive(serde::Serialize)]
struct Located<'a> {
    severity: Severity,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl FileReport {
    /// Whether the file is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many problems matter this much.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Where its lines are.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        Lines::of(&self.shown)
    }

    /// With source lines, carets and hints.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let told = report::render(&self.name, &self.shown, &self.problems, style);
        match self.untold {
            0 => told,
            more if told.is_empty() => format!("{}: {more} more", self.name),
            more => format!("{told}\n\n{}: and {more} more", self.name),
        }
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.problems.is_empty() && self.untold == 0
    }
}

/// The same reports with no more problems than anyone reads: errors before warnings, each file in its own order.
#[must_use]
pub fn bounded(mut reports: Vec<FileReport>) -> Vec<FileReport> {
    let mut room = MOST_TOLD;
    let mut warnings = room.saturating_sub(reports.iter().map(|report| report.count(Severity::Error)).sum());
    for report in &mut reports {
        let before = report.problems.len();
        report.problems.retain(|problem| {
            let left = match problem.severity {
                Severity::Error => &mut room,
                Severity::Warning => &mut warnings,
            };
            let told = *left > 0;
            *left = left.saturating_sub(1);
            told
        });
        report.untold = report.untold.saturating_add(before.saturating_sub(report.problems.len()));
    }
    reports
}

impl<'a> Located<'a> {
    fn of(problem: &'a Problem, lines: &Lines<'_>) -> Self {
        let (line, column) = lines.place(problem.span.start);
        let (end_line, end_column) = lines.place(problem.span.end);
        Self {
            severity: problem.severity,
            code: problem.code,
            message: &problem.message,
            hint: problem.hint.as_deref(),
            line,
            column,
            end_line,
            end_column,
        }
    }
}

impl Serialize for FileReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines = self.lines();
        let problems: Vec<Located<'_>> = self.problems.iter().map(|problem| Located::of(problem, &lines)).collect();
        let mut document = serializer.serialize_struct("FileReport", if self.untold > 0 { 3 } else { 2 })?;
        document.serialize_field("name", &self.name)?;
        document.serialize_field("problems", &problems)?;
        if self.untold > 0 {
            document.serialize_field("untold", &self.untold)?;
        }
        document.end()
    }
}
