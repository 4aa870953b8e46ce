//! How far a project has been seen, and how far it is old.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::model::glob::Glob;
use crate::model::id::{RuleId, TenantId};
use crate::model::rule::{Cadence, Rule};
use crate::model::time::Timestamp;
use crate::model::window::{GroupKey, Seq};
use crate::store::retention::Aged;
use crate::store::windows::Standing;
use crate::store::{Result, Store};

/// What is kept of the active rules for a round: which projects they watch, and in which groups.
#[derive(Debug, Default)]
pub(super) struct Watching {
    by_name: HashMap<(TenantId, String), Vec<Watch>>,
    by_glob: HashMap<TenantId, Vec<(Glob, Watch)>>,
}

#[derive(Debug)]
struct Watch {
    rule: RuleId,
    cadence: Cadence,
    settle: Duration,
}

impl Watching {
    /// Of these rules. A rule that is paused watches nothing.
    pub(super) fn of(rules: Vec<Rule>) -> Self {
        let mut watching = Self::default();
        for rule in rules {
            let watch = Watch { rule: rule.id, cadence: rule.cadence, settle: rule.settle };
            let glob = Glob::parse(&rule.project);
            if glob.exact().is_some() {
                watching.by_name.entry((rule.tenant_id, rule.project)).or_default().push(watch);
            } else {
                watching.by_glob.entry(rule.tenant_id).or_default().push((glob, watch));
            }
        }
        watching
    }

    fn on(&self, project: &Aged) -> impl Iterator<Item = &Watch> {
        let named = self.by_name.get(&(project.tenant_id, project.name.clone())).into_iter().flatten();
        let globs = self.by_glob.get(&project.tenant_id).into_iter().flatten();
        named.chain(globs.filter(|(glob, _)| glob.matches(&project.name)).map(|(_, watch)| watch))
    }

    /// The last change that every rule which watches the project has seen; where no rule does, all has been seen. The
    /// starts are all there are in the project.
    pub(super) fn seen_by_all(&self, project: &Aged, standing: &Standing, starts: &HashMap<RuleId, Seq>) -> Seq {
        let mut groups: HashMap<(&Cadence, Duration), Seq> = HashMap::new();
        let mut rules = HashSet::new();
        let mut seen = project.last_seq;
        for watch in self.on(project) {
            let group = (&watch.cadence, watch.settle);
            let cursor = *groups.entry(group).or_insert_with(|| cursor(project, group, standing));
            let start = starts.get(&watch.rule).copied().unwrap_or(0);
            seen = seen.min(cursor.max(start));
            rules.insert(watch.rule);
        }
        let spans = standing.spans.iter().filter(|span| rules.contains(&span.rule_id));
        spans.map(|span| span.after).fold(seen, Seq::min)
    }
}

fn cursor(project: &Aged, (cadence, settle): (&Cadence, Duration), standing: &Standing) -> Seq {
    let (tenant_id, project_id) = (project.tenant_id, project.project_id);
    let key = GroupKey { tenant_id, project_id, cadence: cadence.clone(), settle };
    standing.groups.get(&key).map_or(0, |cursor| cursor.seq)
}

/// The last change of the project that was accepted before an instant, or 0. Changes never go back in time within a
/// project, so it is found by halving.
pub(super) async fn last_before(store: &dyn Store, project: &Aged, before: Timestamp) -> Result<Seq> {
    let (mut old, mut end) = (0, project.last_seq);
    while old < end {
        let middle = old.saturating_add(end.saturating_sub(old) / 2);
        let (tenant, id) = (project.tenant_id, project.project_id);
        let next = store.changes(tenant, id, middle, Timestamp(i64::MAX), 1).await?;
        match next.first() {
            Some(change) if change.at < before => old = change.seq,
            _ => end = middle,
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::model::id::{ProjectId, RuleId, TenantId};
    use crate::model::rule::{Actions, BatchLimits, Cadence, RuleState};
    use crate::model::window::{Cursor, Span};

    const TENANT: TenantId = TenantId::DEFAULT;
    const PROJECT: ProjectId = ProjectId(Uuid::from_u128(1));

    fn project() -> Aged {
        Aged { tenant_id: TENANT, project_id: PROJECT, name: "bot".to_owned(), last_seq: 100 }
    }

    fn rule(key: &str, project: &str, every: u64) -> Rule {
        Rule {
            tenant_id: TENANT,
            id: RuleId::of_key(TENANT, key),
            key: key.to_owned(),
            name: key.to_owned(),
            project: project.to_owned(),
            filter: None,
            trace_filter: None,
            tree_filter: None,
            sampling_rate: 1.0,
            cadence: Cadence::Every(Duration::from_secs(every)),
            settle: Duration::ZERO,
            backfill_from: None,
            batch: BatchLimits::default(),
            endpoints: vec![],
            state: RuleState::Active,
            origin: None,
            actions: Actions::default(),
            group_by: None,
            registration: None,
            event: None,
        }
    }

    fn standing(cursors: &[(&Rule, Seq)]) -> Standing {
        let key = |rule: &Rule| GroupKey {
            tenant_id: TENANT,
            project_id: PROJECT,
            cadence: rule.cadence.clone(),
            settle: rule.settle,
        };
        let groups = cursors.iter().map(|(rule, seq)| (key(rule), Cursor { seq: *seq, at: Timestamp(0) })).collect();
        Standing { groups, ..Standing::default() }
    }

    fn seen(rules: &[&Rule], standing: &Standing, starts: &[(&Rule, Seq)]) -> Seq {
        let starts = starts.iter().map(|(rule, seq)| (rule.id, *seq)).collect();
        Watching::of(rules.iter().copied().cloned().collect()).seen_by_all(&project(), standing, &starts)
    }

    #[test]
    fn a_project_that_no_rule_watches_has_been_seen() {
        let elsewhere = Rule { tenant_id: TenantId(Uuid::from_u128(9)), ..rule("b", "bot", 60) };
        assert_eq!(seen(&[&rule("a", "other-*", 60), &elsewhere], &Standing::default(), &[]), 100);
    }

    #[test]
    fn the_slowest_rule_decides() {
        let (a, b) = (rule("a", "b*", 60), rule("b", "bot", 5));
        let standing = standing(&[(&a, 40), (&b, 70)]);
        assert_eq!(seen(&[&a, &b], &standing, &[]), 40);
        assert_eq!(seen(&[&b], &standing, &[]), 70);
    }

    #[test]
    fn a_rule_that_has_not_been_evaluated_has_seen_nothing_behind_its_start() {
        let a = rule("a", "bot", 60);
        assert_eq!(seen(&[&a], &Standing::default(), &[]), 0);
        assert_eq!(seen(&[&a], &Standing::default(), &[(&a, 30)]), 30);
    }

    #[test]
    fn what_a_span_still_covers_has_not_been_seen() {
        let a = rule("a", "bot", 60);
        let span =
            |rule: &Rule, after| Span { tenant_id: TENANT, project_id: PROJECT, rule_id: rule.id, after, through: 50 };
        let other = rule("gone", "bot", 60);
        let spans = vec![span(&a, 20), span(&a, 10), span(&other, 5)];
        let standing = Standing { spans, ..standing(&[(&a, 90)]) };
        assert_eq!(seen(&[&a], &standing, &[]), 10);
    }
}
