//! Rule files of the bench. A rule's key says what it must find, so that the checker can tell.

use std::fmt::Write as _;

/// A rule to be written.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) key: String,
    pub(crate) project: String,
    pub(crate) filter: String,
    pub(crate) trace_filter: Option<&'a str>,
    pub(crate) every: &'a str,
    pub(crate) settle: Option<&'a str>,
    /// Runs in a message at most; none: the default.
    pub(crate) max_runs: Option<u32>,
    /// The number of its own endpoint; none: the one that all share.
    pub(crate) endpoint: Option<u32>,
    /// Endpoints of its own, which may take long to answer; none: as the number says.
    pub(crate) urls: Vec<String>,
}

/// What everything that is sent is signed with. No secret: it guards a sink that checks nothing.
const SECRET: &str = "whsec_YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gh";

/// The filter of `bench-error` rules.
const FAILED: &str = r#"eq(status, "error")"#;
/// The filter of `bench-score` rules.
const LOW: &str = r#"and(eq(feedback_key, "user_score"), lt(feedback_score, 0.5))"#;

impl<'a> Wanted<'a> {
    /// Finds runs that fail, in all projects.
    pub(crate) fn errors(name: &str, every: &'a str) -> Self {
        Self {
            key: format!("bench-error-{name}"),
            project: "bench-*".to_owned(),
            filter: FAILED.to_owned(),
            trace_filter: None,
            every,
            settle: None,
            max_runs: None,
            endpoint: None,
            urls: Vec::new(),
        }
    }

    /// Finds runs that fail in one project, tells each in a message, and has an endpoint of its own.
    pub(crate) fn own_endpoint(number: u32, project: &str) -> Self {
        let rule = Self::errors(&number.to_string(), "immediate");
        Self { project: project.to_owned(), max_runs: Some(1), endpoint: Some(number), ..rule }
    }

    /// Finds runs that fail in a trace of the bench, in all projects.
    pub(crate) fn traces(name: &str, every: &'a str, settle: &'a str) -> Self {
        let trace_filter = Some(r#"eq(name, "support-agent")"#);
        Self { key: format!("bench-trace-{name}"), trace_filter, settle: Some(settle), ..Self::errors(name, every) }
    }

    /// Finds runs with a low score, in all projects.
    pub(crate) fn scores(name: &str, every: &'a str) -> Self {
        Self { key: format!("bench-score-{name}"), filter: LOW.to_owned(), ..Self::errors(name, every) }
    }

    /// Finds nothing, in one project, after as much looking as a rule of its kind takes.
    pub(crate) fn idle(number: u32, project: &str) -> Self {
        let filter = match number % 5 {
            0 => format!(r#"and(eq(run_type, "llm"), eq(name, "Model-{number}"))"#),
            1 => format!(r#"and(eq(metadata_key, "user_id"), eq(metadata_value, "nobody-{number}"))"#),
            2 => format!(r#"and(eq(status, "error"), search("UnheardOf{number}Error"))"#),
            3 => format!(r"and(gt(latency, {}), eq(is_root, true))", 3600 + number),
            _ => format!(r#"has(tags, "canary-{number}")"#),
        };
        Self {
            key: format!("bench-idle-{number}"),
            project: project.to_owned(),
            filter,
            ..Self::errors("", "immediate")
        }
    }
}

/// Rules in one file: one with too many is refused.
const IN_A_FILE: usize = 10_000;

/// Rule files that belong together.
pub(crate) fn files(rules: &[Wanted<'_>], url: &str) -> Result<Vec<String>, std::fmt::Error> {
    let mut files: Vec<String> = rules.chunks(IN_A_FILE).map(|rules| listed(rules, url)).collect::<Result<_, _>>()?;
    if let Some(first) = files.first_mut() {
        first.push_str(&endpoints(url));
    }
    Ok(files)
}

/// A rule file.
pub(crate) fn file(rules: &[Wanted<'_>], url: &str) -> Result<String, std::fmt::Error> {
    Ok(listed(rules, url)? + &endpoints(url))
}

fn endpoints(url: &str) -> String {
    format!("endpoints:\n  - key: bench-sink\n    url: {}\n    signing_secret: {SECRET}\n", quoted(url))
}

fn listed(rules: &[Wanted<'_>], url: &str) -> Result<String, std::fmt::Error> {
    let mut out = String::from("version: 1\nrules:\n");
    for rule in rules {
        writeln!(out, "  - key: {}\n    project: {}", rule.key, quoted(&rule.project))?;
        writeln!(out, "    filter: {}\n    every: {}", quoted(&rule.filter), rule.every)?;
        if let Some(filter) = rule.trace_filter {
            writeln!(out, "    trace_filter: {}", quoted(filter))?;
        }
        if let Some(settle) = rule.settle {
            writeln!(out, "    settle: {settle}")?;
        }
        if let Some(max) = rule.max_runs {
            writeln!(out, "    batch: {{ max_runs: {max} }}")?;
        }
        match rule.endpoint {
            _ if !rule.urls.is_empty() => {
                writeln!(out, "    webhooks:")?;
                for url in &rule.urls {
                    writeln!(out, "      - {{ url: {}, signing_secret: {SECRET}, timeout: 15s }}", quoted(url))?;
                }
            }
            Some(number) => {
                let url = quoted(&format!("{url}/{number}"));
                writeln!(out, "    webhooks: [{{ url: {url}, signing_secret: {SECRET} }}]")?;
            }
            None => writeln!(out, "    webhooks: [{{ endpoint: bench-sink }}]")?,
        }
    }
    Ok(out)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_yaml_with_every_rule_and_one_endpoint() {
        let rules = [Wanted::errors("a", "immediate"), Wanted::traces("b", "2s", "1s"), Wanted::idle(3, "bench-00001")];
        let text = file(&rules, "http://127.0.0.1:1/hook").unwrap();
        assert_eq!(text.matches("- key: ").count(), 4, "{text}");
        assert_eq!(files(&rules, "http://127.0.0.1:1/hook").unwrap(), std::slice::from_ref(&text));
        assert!(text.contains("settle: 1s") && text.contains("filter: 'eq(status, \"error\")'"), "{text}");
    }
}
