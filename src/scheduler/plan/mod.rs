//! What there is to look at in a project: stretches of its changes, each for rules that share one progress. Pure.
//!
//! A group's stretch begins at its cursor; a cursor that is not there is at 0. Changes that precede the start of all of
//! its rules are passed over unread, so a group whose rules were paused for long costs nothing to bring forward. A rule that still has a span (its backfill, or what it would have missed by
//! moving) looks at it alone, at once, whatever its cadence.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::matcher::CompiledRule;
use crate::model::id::WindowId;
use crate::model::rule::Cadence;
use crate::model::time::Timestamp;
use crate::model::window::{Change, GroupKey, Progress, Seq, Window};
use crate::scheduler::cadence::{Moment, Timing, ready_at};
use crate::store::windows::{Standing, Stirred};

/// The cadences of the rules in force, read once.
pub(super) type Timings = HashMap<Cadence, Arc<Timing>>;

/// A rule, and from where on it looks at the project.
#[derive(Debug, Clone)]
pub(super) struct RuleAt {
    pub(super) rule: Arc<CompiledRule>,
    /// Changes up to this number are not the rule's.
    pub(super) start: Seq,
}

/// Changes that some rules have not looked at.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) progress: Progress,
    pub(super) timing: Arc<Timing>,
    pub(super) settle: Duration,
    pub(super) rules: Vec<RuleAt>,
    /// Where the next window begins.
    pub(super) after: Seq,
    /// Changes up to here concern none of the rules.
    pub(super) from: Seq,
    /// Where a span ends; a group's stretch has no end.
    pub(super) through: Option<Seq>,
    /// The end of the last window.
    pub(super) last_end: Option<Timestamp>,
}

/// Changes that were read, in order.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) changes: Vec<Change>,
    /// Whether more are there.
    pub(super) more: bool,
}

/// What remains of a stretch behind a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Seen,
    /// More than was read.
    Unread,
    /// Changes that have not settled, the first accepted then.
    Unsettled(Timestamp),
}

/// A window cut from a stretch. It covers changes after `Stretch::after` and up to `through`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) through: Seq,
    pub(super) start_time: Timestamp,
    pub(super) end_time: Timestamp,
    pub(super) rest: Rest,
}

/// All stretches of a project that hold unseen changes.
pub(super) fn stretches(
    project: &Stirred,
    standing: &Standing,
    rules: &[Arc<CompiledRule>],
    timings: &Timings,
) -> Vec<Stretch> {
    let mut stretches = spans(project, standing, rules);
    stretches.extend(
        groups(project, standing, rules)
            .into_iter()
            .map(|(key, rules)| group_stretch(key, rules, standing, timings))
            .filter(|stretch| stretch.from < project.last_seq),
    );
    stretches
}

fn groups(project: &Stirred, standing: &Standing, rules: &[Arc<CompiledRule>]) -> BTreeMap<GroupKey, Vec<RuleAt>> {
    let mut groups: BTreeMap<GroupKey, Vec<RuleAt>> = BTreeMap::new();
    for rule in rules {
        let key = GroupKey {
            tenant_id: project.tenant_id,
            project_id: project.project_id,
            cadence: rule.rule.cadence.clone(),
            settle: rule.rule.settle,
        };
        let start = standing.starts.get(&rule.rule.id).copied().unwrap_or(0);
        groups.entry(key).or_default().push(RuleAt { rule: Arc::clone(rule), start });
    }
    groups
}

fn group_stretch(key: GroupKey, rules: Vec<RuleAt>, standing: &Standing, timings: &Timings) -> Stretch {
    let earliest = rules.iter().map(|rule| rule.start).min().unwrap_or(0);
    let cursor = standing.groups.get(&key);
    let after = cursor.map_or(0, |cursor| cursor.seq);
    Stretch {
        timing: timings.get(&key.cadence).map_or_else(|| Arc::new(Timing::of(&key.cadence)), Arc::clone),
        settle: key.settle,
        progress: Progress::Group(key),
        rules,
        after,
        from: after.max(earliest),
        through: None,
        last_end: cursor.map(|cursor| cursor.at),
    }
}

fn spans(project: &Stirred, standing: &Standing, rules: &[Arc<CompiledRule>]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for span in standing.spans.iter().filter(|span| span.project_id == project.project_id) {
        let progress = Progress::Span(span.rule_id);
        let Some(rule) = rules.iter().find(|rule| rule.rule.id == span.rule_id) else { continue };
        // One span of a rule at a time, the earliest first.
        if stretches.iter().any(|other| other.progress == progress) {
            continue;
        }
        stretches.push(Stretch {
            progress,
            timing: Arc::new(Timing::Immediate),
            settle: rule.rule.settle,
            rules: vec![RuleAt { rule: Arc::clone(rule), start: span.after }],
            after: span.after,
            from: span.after,
            through: Some(span.through),
            last_end: None,
        });
    }
    stretches
}

impl Stretch {
    /// Whether the due instant depends on when the first unseen change was accepted.
    pub(super) fn asks_first(&self) -> bool {
        self.timing.asks_first(self.settle)
    }

    /// How many changes of the project, as it was listed, it has not seen.
    pub(super) fn unseen(&self, project: &Stirred) -> Seq {
        self.through.unwrap_or(project.last_seq).saturating_sub(self.from).max(0)
    }

    /// When it is due, given when its first unseen change was accepted.
    pub(super) fn due_at(&self, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.timing.due_at(Moment { settle: self.settle, last: self.last_end, first, now })
    }

    /// Cuts the next window from what was read; if nothing of it is ready, what remains.
    pub(super) fn cut(&self, reading: &Reading, now: Timestamp) -> Result<Cut, Rest> {
        let end = self.through.unwrap_or(Seq::MAX);
        let unseen = reading.changes.iter().filter(|change| change.seq > self.from && change.seq <= end);
        let settled = |change: &&Change| ready_at(change.at, self.settle, now) <= now;
        let read_to_the_end = !reading.more || reading.changes.last().is_some_and(|last| last.seq >= end);
        let rest = match unseen.clone().find(|change| !settled(change)) {
            Some(change) => Rest::Unsettled(change.at),
            None if read_to_the_end => Rest::Seen,
            None => Rest::Unread,
        };
        let mut ready = unseen.take_while(settled);
        let Some(first) = ready.next() else { return self.cut_nothing(rest, now) };
        let last = ready.last().unwrap_or(first);
        let start_time = self.last_end.unwrap_or(first.at);
        let through = if rest == Rest::Seen { self.through.unwrap_or(last.seq) } else { last.seq };
        let quiet_until =
            if rest == Rest::Unread || self.through.is_some() { last.at } else { now.before(self.settle) };
        Ok(Cut { through, start_time, end_time: quiet_until.max(last.at).max(start_time), rest })
    }

    /// A span whose changes are gone is used up by a window over nothing.
    fn cut_nothing(&self, rest: Rest, now: Timestamp) -> Result<Cut, Rest> {
        let through = self.through.filter(|_| rest == Rest::Seen).ok_or(rest)?;
        Ok(Cut { through, start_time: now, end_time: now, rest })
    }

    /// The window of a cut, evaluated with this version of the rules.
    pub(super) fn window(&self, project: &Stirred, cut: &Cut, rules_version: i64) -> Window {
        let (tenant_id, project_id) = (project.tenant_id, project.project_id);
        Window {
            id: WindowId::of(tenant_id, project_id, &self.progress, self.after, rules_version),
            tenant_id,
            project_id,
            progress: self.progress.clone(),
            after: self.after,
            through: cut.through,
            start_time: cut.start_time,
            end_time: cut.end_time,
        }
    }
}

#[cfg(test)]
mod tests;
