//! All that is wrong with a file, ready to be shown: to people with carets, to machines with lines and columns.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::filter::report::{self, Style};
use crate::model::problem::{Problem, Severity};

/// The problems of one file, in its order.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The file's name.
    pub name: String,
    /// Its text with all secrets struck out, byte for byte as long as the file.
    pub shown: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
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

    /// The line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.shown.get(..byte.min(self.shown.len())).unwrap_or(&self.shown);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().trim_start_matches('\u{feff}').chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }

    /// With source lines, carets and hints.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        report::render(&self.name, &self.shown, &self.problems, style)
    }

    fn located<'a>(&self, problem: &'a Problem) -> Located<'a> {
        let (line, column) = self.place(problem.span.start);
        let (end_line, end_column) = self.place(problem.span.end);
        Located {
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
        let problems: Vec<Located<'_>> = self.problems.iter().map(|problem| self.located(problem)).collect();
        let mut document = serializer.serialize_struct("FileReport", 2)?;
        document.serialize_field("name", &self.name)?;
        document.serialize_field("problems", &problems)?;
        document.end()
    }
}
