//! `runhook rules check`: what a file alone can tell. No server, no data directory, no variables needed.

use std::io::Write;

use serde_json::json;

use crate::cli::count::counted;
use crate::cli::rules::files::{read, understand, understand_strictly};
use crate::cli::rules::{Files, Look, style};
use crate::cli::{Context, Exit, Output};
use crate::model::problem::{Problem, Severity};
use crate::rule_file::{FileReport, bounded};

/// Checks files.
pub(super) fn run(files: &Files, strict: bool, look: Look, context: &mut Context) -> anyhow::Result<Exit> {
    let sources = read(&files.paths)?;
    let mut loaded = if strict { understand_strictly(&sources) } else { understand(&sources) }.loaded;
    loaded.warn_of_outside();
    let reports: Vec<FileReport> = loaded.reports.into_iter().map(tolerant).collect();
    let count = |severity| reports.iter().map(|report| report.count(severity)).sum::<usize>();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let reports = bounded(reports);
    let fine = errors == 0 && (warnings == 0 || !strict);
    if context.output == Output::Json {
        context.json(&json!({"ok": fine, "errors": errors, "warnings": warnings, "files": reports}))?;
    } else if look == Look::Github {
        reports.iter().try_for_each(|report| annotate(report, &mut context.out))?;
    } else {
        show(&reports, &mut context.out)?;
        let verdict = if fine { "fine" } else { "not fine" };
        let counts = format!("{}, {}", counted(errors, "error", "errors"), counted(warnings, "warning", "warnings"));
        writeln!(context.out, "{}: {verdict} ({counts})", counted(reports.len(), "file", "files"))?;
    }
    Ok(if fine { Exit::Fine } else { Exit::Wrong })
}

/// Writes reports with carets.
pub(super) fn show(reports: &[FileReport], out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    for report in reports.iter().filter(|report| !report.is_silent()) {
        writeln!(out, "{}\n", report.render(style()))?;
    }
    Ok(())
}

/// A variable need not be set where a file is only checked.
fn tolerant(report: FileReport) -> FileReport {
    let soften = |problem: Problem| match problem.code {
        "missing-variable" => Problem { severity: Severity::Warning, ..problem },
        _ => problem,
    };
    FileReport { problems: report.problems.into_iter().map(soften).collect(), ..report }
}

/// Workflow commands of GitHub Actions, which show at the line of a pull request.
fn annotate(report: &FileReport, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let lines = report.lines();
    for problem in &report.problems {
        let level = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (line, column) = lines.place(problem.span.start);
        let hint = problem.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let (name, code) = (property(&report.name), property(problem.code));
        let message = escaped(&format!("{}{hint}", problem.message));
        writeln!(out, "::{level} file={name},line={line},col={column},title={code}::{message}")?;
    }
    if report.untold > 0 {
        writeln!(out, "::notice file={}::and {} more", property(&report.name), report.untold)?;
    }
    Ok(())
}
