//! What is answered, in its order.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::app::Answer;

/// The answers to come. The last one stays.
#[derive(Debug)]
pub(super) struct Answers {
    statuses: Vec<u16>,
    given: usize,
    delay: Duration,
    body: Bytes,
    content_type: &'static str,
    retry_after: Option<String>,
}

impl Answers {
    pub(super) fn new(statuses: Vec<u16>, delay: Duration, body: &str, retry_after: Option<String>) -> Self {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
        let content_type = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        Self { statuses, given: 0, delay, body: body.to_owned().into(), content_type, retry_after }
    }

    /// The next answer.
    pub(super) fn next(&mut self) -> Answer {
        let status = self.statuses.get(self.given).or(self.statuses.last()).copied().unwrap_or(200);
        self.given = self.given.saturating_add(1);
        let mut headers = Vec::new();
        if !self.body.is_empty() {
            headers.push(("content-type", self.content_type.to_owned()));
        }
        if let Some(when) = self.retry_after.clone().filter(|_| !(200..300).contains(&status)) {
            headers.push(("retry-after", when));
        }
        Answer { status, headers, body: self.body.clone(), delay: self.delay }
    }
}

/// Answers that something is wrong, and what.
pub(super) fn refusal(status: u16, why: &str) -> Answer {
    let headers = vec![("content-type", "application/json".to_owned())];
    let body = json!({"error": why}).to_string().into();
    Answer { status, headers, body, delay: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_played_once_and_its_last_line_stays() {
        let mut answers = Answers::new(vec![500, 429, 200], Duration::ZERO, "{}", Some("7".to_owned()));
        let played: Vec<Answer> = (0..4).map(|_| answers.next()).collect();
        assert_eq!(played.iter().map(|answer| answer.status).collect::<Vec<_>>(), [500, 429, 200, 200]);
        let retry_after = |answer: &Answer| answer.headers.iter().any(|(name, _)| *name == "retry-after");
        assert_eq!(played.iter().map(retry_after).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!(played[0].headers[0], ("content-type", "application/json".to_owned()));
    }
}
