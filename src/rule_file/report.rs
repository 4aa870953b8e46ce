//! All that is wrong with a file, ready to be shown: to people with carets, to machines with lines and columns.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::filter::report::{self, Lines, Style};
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

    /// Where its lines are.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        Lines::of(&self.shown)
    }

    /// With source lines, carets and hints.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        report::render(&self.name, &self.shown, &self.problems, style)
    }
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
        let mut document = serializer.serialize_struct("FileReport", 2)?;
        document.serialize_field("name", &self.name)?;
        document.serialize_field("problems", &problems)?;
        document.end()
    }
}
