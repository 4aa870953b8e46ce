//! The checker: reads the database and what the load and the sink remember, once everything is at rest, and says
//! whether the promises were kept.
//!
//! It is independent of Runhook: it links none of its code, and decides what should have matched from the ids of runs
//! and the keys of rules alone. It assumes that the rules of the bench were applied before the load began, and judges
//! no other rules than theirs.

mod database;
mod evidence;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::record::{Ack, Notice, read_acks, read_notices};

pub(crate) use database::Source;
pub(crate) use evidence::Evidence;
pub(crate) use judge::{Leniency, Violation, judge};

/// How many violations of one promise are shown.
const SHOWN: usize = 20;

/// `bench check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The database: `sqlite://FILE` or `postgres://…`
    #[arg(long, value_name = "URL", env = "RUNHOOK_DATABASE_URL")]
    database: String,
    /// What a load wrote with --log. Repeatable
    #[arg(long, value_name = "FILE")]
    acks: Vec<PathBuf>,
    /// What a sink wrote with --log. Repeatable; without it only the database is judged
    #[arg(long, value_name = "FILE")]
    notices: Vec<PathBuf>,
    /// Deliveries may have failed
    #[arg(long)]
    failed_deliveries: bool,
    /// Deliveries may be pending
    #[arg(long)]
    pending_deliveries: bool,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acknowledged_runs: usize,
    pub(crate) acknowledged_feedback: usize,
    pub(crate) stored_runs: usize,
    pub(crate) matches: usize,
    pub(crate) windows: usize,
    pub(crate) messages: usize,
    /// Messages that arrived, each counted once.
    pub(crate) arrived: usize,
    /// Arrivals of a message that had arrived before. Allowed: delivery is at least once.
    pub(crate) repeats: usize,
    /// Violations, by promise.
    pub(crate) violations: BTreeMap<&'static str, usize>,
    /// The first of each.
    pub(crate) shown: Vec<Violation>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// In a sentence.
    pub(crate) fn sentence(&self) -> String {
        let outcome = if self.is_clean() {
            "all promises kept".to_owned()
        } else {
            let counts: Vec<String> =
                self.violations.iter().map(|(promise, count)| format!("{promise}: {count}")).collect();
            format!("BROKEN ({})", counts.join(", "))
        };
        format!(
            "{outcome}: {} runs acknowledged, {} stored, {} matches in {} windows, {} messages, {} arrived, {} of them again",
            self.acknowledged_runs,
            self.stored_runs,
            self.matches,
            self.windows,
            self.messages,
            self.arrived,
            self.repeats
        )
    }
}

/// Checks a database that is at rest.
pub(crate) async fn check(
    database: &str,
    acks: Vec<Ack>,
    notices: Option<Vec<Notice>>,
    leniency: Leniency,
) -> anyhow::Result<Verdict> {
    let mut evidence = Evidence { acks, notices, ..Evidence::default() };
    Source::open(database).await?.read(&mut evidence).await?;
    Ok(verdict(&evidence, leniency))
}

fn verdict(evidence: &Evidence, leniency: Leniency) -> Verdict {
    let (mut violations, mut shown) = (BTreeMap::new(), Vec::new());
    for violation in judge(evidence, leniency) {
        let count: &mut usize = violations.entry(violation.promise).or_default();
        *count += 1;
        if *count <= SHOWN {
            shown.push(violation);
        }
    }
    let notices = evidence.notices.as_deref().unwrap_or_default();
    let mut arrived: Vec<_> = notices.iter().map(|notice| notice.message).collect();
    arrived.sort_unstable();
    arrived.dedup();
    let feedback = evidence.acks.iter().filter(|ack| ack.feedback).count();
    Verdict {
        acknowledged_runs: evidence.acks.len() - feedback,
        acknowledged_feedback: feedback,
        stored_runs: evidence.runs.len(),
        matches: evidence.matches.len(),
        windows: evidence.windows.len(),
        messages: evidence.messages.len(),
        arrived: arrived.len(),
        repeats: notices.len() - arrived.len(),
        violations,
        shown,
    }
}

impl Arguments {
    fn leniency(&self) -> Leniency {
        Leniency { failed_deliveries: self.failed_deliveries, pending_deliveries: self.pending_deliveries }
    }

    /// Runs it.
    pub(crate) async fn run(self) -> anyhow::Result<Verdict> {
        let mut acks = Vec::new();
        for file in &self.acks {
            acks.extend(read_acks(file)?);
        }
        let mut notices = (!self.notices.is_empty()).then(Vec::new);
        for file in &self.notices {
            notices.get_or_insert_default().extend(read_notices(file)?);
        }
        check(&self.database, acks, notices, self.leniency()).await
    }
}
