//! What a message tells, read back from its body: only as much as a format needs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The longest text of a run that goes into a summary, in characters.
const BRIEF: usize = 300;

/// A body.
#[derive(Deserialize)]
pub(super) struct Told<'a> {
    #[serde(borrow)]
    pub(super) rule_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) start_time: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) end_time: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) runs: Vec<Run<'a>>,
    #[serde(borrow)]
    pub(super) rule_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) project: Cow<'a, str>,
    pub(super) part: u32,
    pub(super) parts: u32,
}

/// A run in it. What a run may lack is optional here too.
#[expect(clippy::struct_field_names, reason = "the names are those of the payload")]
#[derive(Deserialize)]
pub(super) struct Run<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) session_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) run_type: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) thread_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) app_path: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) inputs: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) outputs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inputs_s3_urls: Option<Links<'a>>,
    #[serde(borrow, default)]
    outputs_s3_urls: Option<Links<'a>>,
    #[serde(default)]
    feedback_stats: Option<BTreeMap<String, Stats>>,
}

#[derive(Deserialize)]
struct Links<'a> {
    #[serde(rename = "ROOT", borrow)]
    root: Link<'a>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    presigned_url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Stats {
    n: u64,
    avg: Option<f64>,
}

fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    let value = <&RawValue>::deserialize(reader)?;
    Ok((value.get() != "null").then_some(value))
}

impl Told<'_> {
    /// The project's id.
    pub(super) fn project_id(&self) -> &str {
        self.runs.first().map(|run| run.session_id.as_ref()).unwrap_or_default()
    }

    /// What happened, in one line.
    pub(super) fn headline(&self) -> String {
        let runs = match self.runs.len() {
            1 => "1 run".to_owned(),
            count => format!("{count} runs"),
        };
        let part = if self.parts > 1 { format!(" (part {} of {})", self.part, self.parts) } else { String::new() };
        format!("{}: {runs} in {}{part}", self.rule_name, self.project)
    }

    /// Whether some run failed.
    pub(super) fn has_errors(&self) -> bool {
        self.runs.iter().any(|run| run.status == "error")
    }
}

impl Run<'_> {
    /// Where its inputs are, when they did not travel inside.
    pub(super) fn inputs_url(&self) -> Option<&str> {
        self.inputs_s3_urls.as_ref().map(|links| links.root.presigned_url.as_ref())
    }

    /// Where its outputs are, when they did not travel inside.
    pub(super) fn outputs_url(&self) -> Option<&str> {
        self.outputs_s3_urls.as_ref().map(|links| links.root.presigned_url.as_ref())
    }

    /// The beginning of its error.
    pub(super) fn error_text(&self) -> Option<String> {
        let error = self.error?;
        let text = serde_json::from_str::<String>(error.get()).unwrap_or_else(|_| error.get().to_owned());
        Some(brief(text.trim(), BRIEF)).filter(|text| !text.is_empty())
    }

    /// Its feedback: `user_score 0.2 (3)`.
    pub(super) fn feedback(&self) -> String {
        let stats = self.feedback_stats.iter().flatten();
        let said = stats.filter_map(|(key, stats)| Some(format!("{key} {} ({})", rounded(stats.avg?), stats.n)));
        said.collect::<Vec<_>>().join(", ")
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The beginning of a text, with a sign that there was more.
pub(super) fn brief(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
