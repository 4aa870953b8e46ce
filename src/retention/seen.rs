//! How far a project has been seen, and how far it is old.

use crate::model::glob::Glob;
use crate::model::rule::Rule;
use crate::model::time::Timestamp;
use crate::model::window::{GroupKey, Seq};
use crate::store::retention::Aged;
use crate::store::windows::Standing;
use crate::store::{Result, Store};

/// The last change that every rule which watches the project has seen. A rule that is paused watches nothing; where no
/// rule does, all has been seen.
pub(super) fn by_all(project: &Aged, rules: &[Rule], standing: &Standing) -> Seq {
    let watching = rules
        .iter()
        .filter(|rule| rule.tenant_id == project.tenant_id && Glob::parse(&rule.project).matches(&project.name));
    watching.map(|rule| by_one(project, rule, standing)).min().unwrap_or(project.last_seq).min(project.last_seq)
}

fn by_one(project: &Aged, rule: &Rule, standing: &Standing) -> Seq {
    let key = GroupKey {
        tenant_id: project.tenant_id,
        project_id: project.project_id,
        cadence: rule.cadence.clone(),
        settle: rule.settle,
    };
    let cursor = standing.groups.get(&key).map_or(0, |cursor| cursor.seq);
    let start = standing.starts.get(&rule.id).copied().unwrap_or(0);
    let spans = standing.spans.iter().filter(|span| span.rule_id == rule.id).map(|span| span.after);
    spans.min().unwrap_or(Seq::MAX).min(cursor.max(start))
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

    #[test]
    fn a_project_that_no_rule_watches_has_been_seen() {
        assert_eq!(by_all(&project(), &[rule("a", "other-*", 60)], &Standing::default()), 100);
    }

    #[test]
    fn the_slowest_rule_decides() {
        let (a, b) = (rule("a", "b*", 60), rule("b", "bot", 5));
        let standing = standing(&[(&a, 40), (&b, 70)]);
        assert_eq!(by_all(&project(), &[a.clone(), b.clone()], &standing), 40);
        assert_eq!(by_all(&project(), &[b], &standing), 70);
    }

    #[test]
    fn a_rule_that_has_not_been_evaluated_has_seen_nothing_behind_its_start() {
        let a = rule("a", "bot", 60);
        assert_eq!(by_all(&project(), std::slice::from_ref(&a), &Standing::default()), 0);
        let standing = Standing { starts: [(a.id, 30)].into(), ..Standing::default() };
        assert_eq!(by_all(&project(), &[a], &standing), 30);
    }

    #[test]
    fn what_a_span_still_covers_has_not_been_seen() {
        let a = rule("a", "bot", 60);
        let span =
            |rule: &Rule, after| Span { tenant_id: TENANT, project_id: PROJECT, rule_id: rule.id, after, through: 50 };
        let other = rule("gone", "bot", 60);
        let spans = vec![span(&a, 20), span(&a, 10), span(&other, 5)];
        let standing = Standing { spans, ..standing(&[(&a, 90)]) };
        assert_eq!(by_all(&project(), &[a], &standing), 10);
    }
}
