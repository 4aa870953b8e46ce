//! What there is to look at in a project: stretches of its changes, each for rules that share one progress. Pure.
//!
//! A group's stretch begins at its cursor; a cursor that is not there is at 0. Changes that precede the start of all of
//! its rules are passed over unread, so a group whose rules were paused for long costs nothing to bring forward. A rule that still has a span (its backfill, or what it would have missed by
//! moving) looks at it alone, at once, whatever its cadence.

mod watchers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::matcher::{Matcher, RuleSet};
use crate::model::glob::Glob;
use crate::model::id::{RuleId, WindowId};
use crate::model::rule::Cadence;
use crate::model::time::Timestamp;
use crate::model::window::{Change, Cursor, GroupKey, Progress, Seq, Window};
use crate::scheduler::cadence::{Moment, Timing, ready_at};
use crate::store::windows::{Standing, Stirred};
use watchers::Watchers;

pub(super) use watchers::Place;

/// The cadences of the rules in force, read once.
pub(super) type Timings = HashMap<Cadence, Arc<Timing>>;

/// Changes that some rules have not looked at.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) progress: Progress,
    pub(super) timing: Arc<Timing>,
    pub(super) settle: Duration,
    pub(super) watchers: Watchers,
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

/// All stretches of a project that hold unseen changes. The starts are those beyond what `behind` says.
pub(super) fn stretches(
    project: &Stirred,
    standing: &Standing,
    starts: HashMap<RuleId, Seq>,
    matcher: &Matcher,
    timings: &Timings,
) -> Vec<Stretch> {
    let mut stretches = spans(project, standing, matcher);
    let starts = Arc::new(starts);
    for (key, sets) in groups(project, matcher) {
        let cursor = standing.groups.get(&key).copied();
        let stretch = group_stretch(key, Watchers::new(sets, Arc::clone(&starts)), cursor, timings);
        if stretch.from < project.last_seq {
            stretches.push(stretch);
        }
    }
    stretches
}

/// The last change that every group of the project has seen, if one has to be told from where on rules look: a rule that
/// begins no later is not held back by its start any more.
pub(super) fn behind(project: &Stirred, standing: &Standing, matcher: &Matcher) -> Option<Seq> {
    let seen = |key: &GroupKey| standing.groups.get(key).map_or(0, |cursor| cursor.seq);
    groups(project, matcher).keys().map(seen).min().filter(|seen| *seen < standing.last_start)
}

fn groups(project: &Stirred, matcher: &Matcher) -> BTreeMap<GroupKey, Vec<Arc<RuleSet>>> {
    let mut groups: BTreeMap<GroupKey, Vec<Arc<RuleSet>>> = BTreeMap::new();
    for set in matcher.of_project(project.tenant_id, &project.name) {
        let key = GroupKey {
            tenant_id: project.tenant_id,
            project_id: project.project_id,
            cadence: set.cadence().clone(),
            settle: set.settle(),
        };
        groups.entry(key).or_default().push(set);
    }
    groups
}

fn group_stretch(key: GroupKey, watchers: Watchers, cursor: Option<Cursor>, timings: &Timings) -> Stretch {
    let after = cursor.map_or(0, |cursor| cursor.seq);
    Stretch {
        timing: timings.get(&key.cadence).map_or_else(|| Arc::new(Timing::of(&key.cadence)), Arc::clone),
        settle: key.settle,
        progress: Progress::Group(key),
        from: watchers.earliest(after),
        watchers,
        after,
        through: None,
        last_end: cursor.map(|cursor| cursor.at).filter(|at| *at != Cursor::NEVER),
    }
}

fn spans(project: &Stirred, standing: &Standing, matcher: &Matcher) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut seen = HashSet::new();
    for span in standing.spans.iter().filter(|span| span.project_id == project.project_id) {
        let Some(rule) = matcher.rule(project.tenant_id, span.rule_id) else { continue };
        // One span of a rule at a time, the earliest first.
        if !Glob::parse(&rule.rule.project).matches(&project.name) || !seen.insert(span.rule_id) {
            continue;
        }
        stretches.push(Stretch {
            progress: Progress::Span(span.rule_id),
            timing: Arc::new(Timing::Immediate),
            settle: rule.rule.settle,
            watchers: Watchers::one(rule, span.after),
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
