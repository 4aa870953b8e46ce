//! Where rules stand in projects when they arrive, change, pause or go. Pure; every backend uses it.
//!
//! A group has one cursor for each project, shared by its rules. A rule that joins late must neither see what came
//! before it nor miss what its group has passed already, so it has, for each project, a start (changes up to it are
//! ignored) and spans (changes it still has to see on its own). The laws:
//!
//! - A rule that is new to a project, or resumed, starts at the project's newest change. `backfill_from` gives it a span
//!   from the last change before that instant to its start; moving `backfill_from` back gives it a span for the
//!   difference.
//! - A rule that moves to another group has seen what its old group has. What the new group has passed beyond that
//!   becomes a span; what the new group has yet to pass up to there is ignored.
//! - A paused rule stands nowhere: what it still had to see is dropped.
//! - A group that no other active rule is in has no past: its cursor is put where the rule stands, and no window of it has
//!   ended.
//! - A project that comes after the rule has no start for it: the rule sees it from the first change.
//! - A project that gets a name the rule watches has a past that was never the rule's: it starts at the newest change.
//!
//! Everything placed here must end in a new version of the rules, so that no evaluation that began before it commits.

use std::collections::{HashMap, HashSet};

use crate::model::glob::Glob;
use crate::model::id::{EndpointId, ProjectId, RuleId};
use crate::model::rule::{Rule, RuleState};
use crate::model::time::Timestamp;
use crate::model::window::{Cursor, GroupKey, Seq, Span};

/// Where a rule stands after a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The rule ignores changes up to this number.
    pub start: Seq,
    /// Changes its new group has passed and it has not seen: after the first number, through the second.
    pub span: Option<(Seq, Seq)>,
}

/// Places a rule that had seen its project's changes up to `seen` into a group whose cursor is at `cursor`.
#[must_use]
pub fn placed(seen: Seq, cursor: Seq) -> Placement {
    Placement { start: seen, span: (seen < cursor).then_some((seen, cursor)) }
}

/// A project as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// Its newest change.
    pub last_seq: Seq,
}

/// All of a tenant that placement looks at.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    grounds: Vec<Ground>,
    by_name: HashMap<String, usize>,
    rules: HashMap<RuleId, Rule>,
    members: HashMap<GroupKey, HashSet<RuleId>>,
    /// The groups' cursors.
    pub cursors: HashMap<GroupKey, Cursor>,
    /// The rules' starts.
    pub starts: HashMap<(ProjectId, RuleId), Seq>,
    /// Last changes before an instant, for what [`Scene::instants`] asked.
    pub before: HashMap<(ProjectId, Timestamp), Seq>,
}

/// What is to be written, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// Starts and spans to drop.
    pub forget: Vec<(ProjectId, RuleId)>,
    /// Starts to set.
    pub starts: Vec<(ProjectId, RuleId, Seq)>,
    /// Spans to add.
    pub spans: Vec<Span>,
    /// Cursors to set.
    pub cursors: Vec<(GroupKey, Cursor)>,
    /// Projects that some group has not seen beyond this number.
    pub unsettle: Vec<(ProjectId, Seq)>,
}

/// How a rule comes to stand where it stands.
#[derive(Clone, Copy)]
enum Arrival<'a> {
    New,
    Resumed,
    Edited(&'a Rule),
}

impl Scene {
    /// A tenant's projects, and its rules, paused ones included.
    #[must_use]
    pub fn new(grounds: Vec<Ground>, rules: Vec<Rule>) -> Self {
        let by_name = grounds.iter().enumerate().map(|(at, ground)| (ground.name.clone(), at)).collect();
        let mut scene = Self { grounds, by_name, ..Self::default() };
        for rule in rules {
            scene.join(&rule);
            scene.rules.insert(rule.id, rule);
        }
        scene
    }

    /// A rule as it is.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(&id)
    }

    /// Whether some rule sends to this endpoint.
    #[must_use]
    pub fn sends_to(&self, endpoint: EndpointId) -> bool {
        self.rules.values().any(|rule| rule.endpoints.contains(&endpoint))
    }

    /// For which projects and instants `before` must be filled in before the rule is put.
    #[must_use]
    pub fn instants(&self, rule: &Rule) -> Vec<(ProjectId, Timestamp)> {
        let old = self.rules.get(&rule.id).and_then(|old| old.backfill_from);
        let instants: Vec<Timestamp> =
            if rule.backfill_from.is_none() { Vec::new() } else { rule.backfill_from.into_iter().chain(old).collect() };
        let grounds = self.watched(&rule.project).into_iter();
        grounds.flat_map(|ground| instants.iter().map(move |instant| (ground.project_id, *instant))).collect()
    }

    /// Takes a rule out. Its starts and spans go with it, in every project.
    pub fn remove(&mut self, rule: RuleId) -> Option<Rule> {
        let old = self.rules.remove(&rule)?;
        self.leave(&old);
        for ground in self.watched(&old.project) {
            self.starts.remove(&(ground.project_id, rule));
        }
        Some(old)
    }

    /// Adds a rule or replaces the one with its id.
    pub fn put(&mut self, rule: &Rule, moves: &mut Moves) {
        let old = self.rules.insert(rule.id, rule.clone());
        let mut left: HashSet<ProjectId> = HashSet::new();
        if let Some(old) = &old {
            self.leave(old);
            left.extend(self.watched(&old.project).iter().map(|ground| ground.project_id));
        }
        for ground in self.watched(&rule.project) {
            let arrival = match &old {
                Some(old) if left.remove(&ground.project_id) => match old.state {
                    RuleState::Active => Arrival::Edited(old),
                    RuleState::Paused => Arrival::Resumed,
                },
                _ => Arrival::New,
            };
            match rule.state {
                RuleState::Active => self.place(&ground, rule, arrival, moves),
                RuleState::Paused => self.forget(ground.project_id, rule.id, moves),
            }
        }
        for project in left {
            self.forget(project, rule.id, moves);
        }
        self.join(rule);
    }

    /// Gives a project another name. Rules that watch it from now on begin at its newest change, whatever their
    /// `backfill_from`: that is about what arrived under a name they watch. Rules that do so no longer forget it. Rules
    /// that belong to the project follow it and stay where they are; they are returned with its new name.
    pub fn rename(&mut self, project: ProjectId, name: &str, moves: &mut Moves) -> Vec<Rule> {
        let Some(ground) = self.grounds.iter_mut().find(|ground| ground.project_id == project) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut ground.name, name.to_owned());
        let ground = ground.clone();
        self.by_name = self.grounds.iter().enumerate().map(|(at, ground)| (ground.name.clone(), at)).collect();
        let active = self.rules.values().filter(|rule| rule.state == RuleState::Active);
        let mut rules: Vec<Rule> = active.cloned().collect();
        rules.sort_by_key(|rule| rule.id);
        for rule in rules.iter().filter(|rule| !rule.belongs_to(project)) {
            let glob = Glob::parse(&rule.project);
            let members = self.members.entry(group(rule, project)).or_default();
            match (glob.matches(&before), glob.matches(name)) {
                (true, false) => {
                    members.remove(&rule.id);
                    self.forget(project, rule.id, moves);
                }
                (false, true) => {
                    self.place(&ground, rule, Arrival::Resumed, moves);
                    self.members.entry(group(rule, project)).or_default().insert(rule.id);
                }
                _ => {}
            }
        }
        let belonging = self.rules.values_mut().filter(|rule| rule.belongs_to(project));
        belonging.for_each(|rule| name.clone_into(&mut rule.project));
        let mut following: Vec<Rule> = self.rules.values().filter(|rule| rule.belongs_to(project)).cloned().collect();
        following.sort_by_key(|rule| rule.id);
        following
    }

    /// Lets a rule see at once what there is: what its group has yet to pass becomes a span of its own.
    pub fn hasten(&mut self, rule: RuleId, moves: &mut Moves) {
        let Some(rule) = self.rules.get(&rule).filter(|rule| rule.state == RuleState::Active).cloned() else { return };
        for ground in self.watched(&rule.project) {
            let cursor = self.cursors.get(&group(&rule, ground.project_id)).map_or(0, |cursor| cursor.seq);
            let start = self.starts.get(&(ground.project_id, rule.id)).copied().unwrap_or(0);
            let seen = start.max(cursor);
            if seen < ground.last_seq {
                moves.spans.push(span(&ground, &rule, seen, ground.last_seq));
                self.start(&ground, &rule, ground.last_seq, moves);
            }
        }
    }

    /// The projects a pattern fits.
    fn watched(&self, pattern: &str) -> Vec<Ground> {
        let glob = Glob::parse(pattern);
        match glob.exact() {
            Some(name) => self.by_name.get(name).and_then(|at| self.grounds.get(*at)).cloned().into_iter().collect(),
            None => self.grounds.iter().filter(|ground| glob.matches(&ground.name)).cloned().collect(),
        }
    }

    fn join(&mut self, rule: &Rule) {
        if rule.state == RuleState::Active {
            for ground in self.watched(&rule.project) {
                self.members.entry(group(rule, ground.project_id)).or_default().insert(rule.id);
            }
        }
    }

    fn leave(&mut self, rule: &Rule) {
        for ground in self.watched(&rule.project) {
            if let Some(members) = self.members.get_mut(&group(rule, ground.project_id)) {
                members.remove(&rule.id);
            }
        }
    }

    /// Whether another active rule is in the group.
    fn shared(&self, key: &GroupKey) -> bool {
        self.members.get(key).is_some_and(|members| !members.is_empty())
    }

    fn forget(&mut self, project: ProjectId, rule: RuleId, moves: &mut Moves) {
        self.starts.remove(&(project, rule));
        moves.forget.push((project, rule));
    }

    fn place(&mut self, ground: &Ground, rule: &Rule, arrival: Arrival<'_>, moves: &mut Moves) {
        let key = group(rule, ground.project_id);
        let Arrival::Edited(old) = arrival else {
            self.forget(ground.project_id, rule.id, moves);
            self.start(ground, rule, ground.last_seq, moves);
            if matches!(arrival, Arrival::New) {
                self.backfill(ground, rule, None, ground.last_seq, moves);
            }
            if !self.shared(&key) {
                self.set_cursor(key, Cursor { seq: ground.last_seq, at: Cursor::NEVER }, moves);
            }
            return;
        };
        if rule.backfill_from != old.backfill_from {
            let start = self.starts.get(&(ground.project_id, rule.id)).copied().unwrap_or(0);
            self.backfill(ground, rule, old.backfill_from, start, moves);
        }
        let before = group(old, ground.project_id);
        if before != key {
            let left = self.cursors.get(&before).copied().unwrap_or(Cursor { seq: 0, at: Cursor::NEVER });
            self.change_group(ground, rule, left, key, moves);
        }
    }

    /// Puts a rule that leaves a group whose cursor is at `left` into the group of this key.
    fn change_group(&mut self, ground: &Ground, rule: &Rule, left: Cursor, key: GroupKey, moves: &mut Moves) {
        let start = self.starts.get(&(ground.project_id, rule.id)).copied().unwrap_or(0);
        let seen = start.max(left.seq);
        if self.shared(&key) {
            let placement = placed(seen, self.cursors.get(&key).map_or(0, |cursor| cursor.seq));
            self.start(ground, rule, placement.start, moves);
            moves.spans.extend(placement.span.map(|(after, through)| span(ground, rule, after, through)));
        } else {
            self.start(ground, rule, seen, moves);
            self.set_cursor(key, Cursor { seq: seen, at: left.at }, moves);
        }
        if seen < ground.last_seq {
            moves.unsettle.push((ground.project_id, seen));
        }
    }

    /// Gives the rule a span from its `backfill_from` to where it has been looking from.
    fn backfill(&self, ground: &Ground, rule: &Rule, old: Option<Timestamp>, start: Seq, moves: &mut Moves) {
        let before = |instant: Timestamp| self.before.get(&(ground.project_id, instant)).copied().unwrap_or(0);
        let Some(after) = rule.backfill_from.map(before) else { return };
        let through = start.min(old.map_or(start, before));
        if after < through {
            moves.spans.push(span(ground, rule, after, through));
        }
    }

    fn start(&mut self, ground: &Ground, rule: &Rule, seq: Seq, moves: &mut Moves) {
        self.starts.insert((ground.project_id, rule.id), seq);
        moves.starts.push((ground.project_id, rule.id, seq));
    }

    fn set_cursor(&mut self, key: GroupKey, cursor: Cursor, moves: &mut Moves) {
        self.cursors.insert(key.clone(), cursor);
        moves.cursors.push((key, cursor));
    }
}

fn group(rule: &Rule, project_id: ProjectId) -> GroupKey {
    GroupKey { tenant_id: rule.tenant_id, project_id, cadence: rule.cadence.clone(), settle: rule.settle }
}

fn span(ground: &Ground, rule: &Rule, after: Seq, through: Seq) -> Span {
    Span { tenant_id: rule.tenant_id, project_id: ground.project_id, rule_id: rule.id, after, through }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::model::id::TenantId;
    use crate::model::rule::{Actions, BatchLimits, Cadence};

    const P: ProjectId = ProjectId(Uuid::from_u128(1));

    fn rule(key: &str, every: u64) -> Rule {
        Rule {
            tenant_id: TenantId::DEFAULT,
            id: RuleId::of_key(TenantId::DEFAULT, key),
            key: key.into(),
            name: key.into(),
            project: "p*".into(),
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

    fn scene(last_seq: Seq, rules: &[Rule]) -> Scene {
        Scene::new(vec![Ground { project_id: P, name: "p1".into(), last_seq }], rules.to_vec())
    }

    fn put(scene: &mut Scene, rule: &Rule) -> Moves {
        let mut moves = Moves::default();
        scene.put(rule, &mut moves);
        moves
    }

    #[test]
    fn a_new_rule_starts_at_the_newest_change_and_puts_an_empty_group_there() {
        let a = rule("a", 60);
        let moves = put(&mut scene(7, &[]), &a);
        assert_eq!(moves.starts, [(P, a.id, 7)]);
        assert_eq!(moves.cursors, [(group(&a, P), Cursor { seq: 7, at: Cursor::NEVER })]);
        assert!(moves.spans.is_empty());
    }

    #[test]
    fn a_new_rule_leaves_the_cursor_of_a_group_that_others_use() {
        let (a, b) = (rule("a", 60), rule("b", 60));
        let moves = put(&mut scene(7, &[a]), &b);
        assert_eq!((moves.starts, moves.cursors), (vec![(P, b.id, 7)], vec![]));
    }

    #[test]
    fn backfill_is_a_span_and_moving_it_back_adds_the_difference() {
        let mut a = rule("a", 60);
        a.backfill_from = Some(Timestamp(50));
        let mut scene = scene(7, &[]);
        assert_eq!(scene.instants(&a), [(P, Timestamp(50))]);
        scene.before.insert((P, Timestamp(50)), 4);
        assert_eq!(put(&mut scene, &a).spans, [Span { after: 4, through: 7, ..whole(&a) }]);
        a.backfill_from = Some(Timestamp(20));
        scene.before.insert((P, Timestamp(20)), 1);
        assert_eq!(put(&mut scene, &a).spans, [Span { after: 1, through: 4, ..whole(&a) }]);
        assert_eq!(put(&mut scene, &a).spans, []);
    }

    fn whole(rule: &Rule) -> Span {
        Span { tenant_id: rule.tenant_id, project_id: P, rule_id: rule.id, after: 0, through: 7 }
    }

    #[test]
    fn a_rule_that_moves_to_a_group_ahead_gets_what_that_group_has_passed() {
        let (a, b) = (rule("a", 60), rule("b", 5));
        let mut scene = scene(10, &[a.clone(), b.clone()]);
        scene.cursors.insert(group(&a, P), Cursor { seq: 4, at: Timestamp(1) });
        scene.cursors.insert(group(&b, P), Cursor { seq: 8, at: Timestamp(2) });
        let moves = put(&mut scene, &Rule { cadence: b.cadence, ..a.clone() });
        assert_eq!(moves.starts, [(P, a.id, 4)]);
        assert_eq!(moves.spans, [Span { after: 4, through: 8, ..whole(&a) }]);
        assert_eq!(moves.unsettle, [(P, 4)]);
    }

    #[test]
    fn a_rule_that_moves_to_a_group_behind_ignores_what_it_has_seen() {
        let (a, b) = (rule("a", 60), rule("b", 5));
        let mut scene = scene(10, &[a.clone(), b.clone()]);
        scene.cursors.insert(group(&a, P), Cursor { seq: 8, at: Timestamp(1) });
        scene.cursors.insert(group(&b, P), Cursor { seq: 4, at: Timestamp(2) });
        let moves = put(&mut scene, &Rule { cadence: b.cadence, ..a.clone() });
        assert_eq!((moves.starts, moves.spans), (vec![(P, a.id, 8)], vec![]));
    }

    #[test]
    fn a_rule_that_moves_to_an_empty_group_takes_its_place_along() {
        let a = rule("a", 60);
        let mut scene = scene(10, std::slice::from_ref(&a));
        scene.cursors.insert(group(&a, P), Cursor { seq: 8, at: Timestamp(1) });
        let faster = rule("a", 5);
        scene.cursors.insert(group(&faster, P), Cursor { seq: 2, at: Timestamp(0) });
        let moves = put(&mut scene, &faster);
        assert_eq!(moves.cursors, [(group(&faster, P), Cursor { seq: 8, at: Timestamp(1) })]);
    }

    #[test]
    fn a_resumed_rule_starts_at_the_newest_change_without_its_backfill() {
        let mut a = rule("a", 60);
        a.backfill_from = Some(Timestamp(50));
        let paused = Rule { state: RuleState::Paused, ..a.clone() };
        let mut scene = scene(10, &[paused]);
        scene.starts.insert((P, a.id), 3);
        let moves = put(&mut scene, &a);
        assert_eq!((moves.forget, moves.starts, moves.spans), (vec![(P, a.id)], vec![(P, a.id, 10)], vec![]));
    }

    #[test]
    fn a_renamed_project_is_watched_from_its_newest_change_by_those_who_watch_its_new_name() {
        let (stays, leaves) = (rule("stays", 60), Rule { project: "p1".into(), ..rule("leaves", 60) });
        let comes = Rule { project: "p2".into(), backfill_from: Some(Timestamp(1)), ..rule("comes", 5) };
        let mut scene = scene(10, &[stays, leaves.clone(), comes.clone()]);
        let mut moves = Moves::default();
        scene.rename(P, "p2", &mut moves);
        assert_eq!((moves.starts, moves.spans), (vec![(P, comes.id, 10)], vec![]));
        assert_eq!(moves.cursors, [(group(&comes, P), Cursor { seq: 10, at: Cursor::NEVER })]);
        assert!(moves.forget.contains(&(P, leaves.id)));
    }

    #[test]
    fn a_rule_forgets_a_project_it_no_longer_watches() {
        let a = rule("a", 60);
        let moves = put(&mut scene(10, std::slice::from_ref(&a)), &Rule { project: "q".into(), ..a.clone() });
        assert_eq!((moves.forget, moves.starts), (vec![(P, a.id)], vec![]));
    }
}
