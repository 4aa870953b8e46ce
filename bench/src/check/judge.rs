//! The judgement. Each promise is one function that names what breaks it; nothing here knows how the server works
//! inside, only what its rows and its notifications must say once everything is at rest.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::check::evidence::{Evidence, Group, Progress, Rule};
use crate::run_id::RunId;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Violation {
    /// Which promise it breaks.
    pub(crate) promise: &'static str,
    /// What is the matter.
    pub(crate) what: String,
}

/// What is allowed beyond the promises.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leniency {
    /// Deliveries may have failed: the sink was told to.
    pub(crate) failed_deliveries: bool,
    /// Deliveries may wait: nobody was there to send them.
    pub(crate) pending_deliveries: bool,
}

/// A pair that must be, or is: a rule and a run.
type Pair = (Uuid, Uuid);

struct Judge<'a> {
    evidence: &'a Evidence,
    leniency: Leniency,
    violations: Vec<Violation>,
    /// Each stored run's project.
    stored: HashMap<Uuid, Uuid>,
    expected: HashSet<Pair>,
    matched: HashSet<Pair>,
}

/// Everything that breaks a promise.
pub(crate) fn judge(evidence: &Evidence, leniency: Leniency) -> Vec<Violation> {
    let stored: HashMap<Uuid, Uuid> = evidence.runs.iter().map(|(project, run)| (*run, *project)).collect();
    let mut judge = Judge {
        evidence,
        leniency,
        violations: Vec::new(),
        expected: expected(evidence, &stored),
        matched: evidence.matches.iter().map(|one| (one.rule, one.run)).collect(),
        stored,
    };
    judge.acknowledged_runs_are_stored_once();
    judge.acknowledged_feedback_is_stored();
    judge.changes_are_numbered_without_gaps();
    judge.cursors_have_come_to_the_end();
    judge.windows_do_not_overlap();
    judge.matches_are_those_expected();
    judge.first_changes_of_matches_lie_in_windows();
    judge.messages_tell_every_match_once();
    judge.notifications_tell_every_match_once();
    judge.violations
}

/// The pairs of rule and run that must have matched: of stored runs, acknowledged or not.
fn expected(evidence: &Evidence, stored: &HashMap<Uuid, Uuid>) -> HashSet<Pair> {
    let with_feedback: HashSet<Uuid> = evidence.feedback.iter().copied().collect();
    let mut finders: HashMap<Uuid, Vec<&Rule>> = HashMap::new();
    for (id, project) in &evidence.projects {
        finders.insert(*id, evidence.rules.iter().filter(|rule| rule.active && rule.watches(&project.name)).collect());
    }
    let mut pairs = HashSet::new();
    for (run, project) in stored {
        let Some(RunId { class, .. }) = RunId::of(*run) else { continue };
        for rule in finders.get(project).into_iter().flatten() {
            if rule.finds().is_some_and(|finds| finds.wants(*run, class, &with_feedback)) {
                pairs.insert((rule.id, *run));
            }
        }
    }
    pairs
}

impl Judge<'_> {
    fn violated(&mut self, promise: &'static str, what: String) {
        self.violations.push(Violation { promise, what });
    }

    fn acknowledged_runs_are_stored_once(&mut self) {
        let mut copies: HashMap<Uuid, u32> = HashMap::new();
        for (_, run) in &self.evidence.runs {
            *copies.entry(*run).or_default() += 1;
        }
        for (run, count) in copies.iter().filter(|(_, count)| **count > 1) {
            self.violated("stored once", format!("run {run} is stored {count} times"));
        }
        let projects = self.evidence.projects_by_name();
        for ack in self.evidence.acks.iter().filter(|ack| !ack.feedback) {
            let home = Evidence::home_of(ack.run);
            match (self.stored.get(&ack.run), home.as_ref().and_then(|name| projects.get(name.as_str()))) {
                (None, _) => self.violated("stored once", format!("run {} was acknowledged and is not there", ack.run)),
                (Some(there), Some(home)) if there != home => {
                    self.violated("stored once", format!("run {} is in project {there}, not in {home}", ack.run));
                }
                _ => {}
            }
        }
    }

    fn acknowledged_feedback_is_stored(&mut self) {
        let stored: HashSet<Uuid> = self.evidence.feedback.iter().copied().collect();
        for ack in self.evidence.acks.iter().filter(|ack| ack.feedback && !stored.contains(&ack.run)) {
            self.violated("feedback stored", format!("feedback about {} was acknowledged and is not there", ack.run));
        }
    }

    fn changes_are_numbered_without_gaps(&mut self) {
        const PROMISE: &str = "changes without gaps";
        let mut by_project: HashMap<Uuid, Vec<i64>> = HashMap::new();
        for change in &self.evidence.changes {
            by_project.entry(change.project).or_default().push(change.seq);
        }
        for (id, project) in &self.evidence.projects {
            let mut seqs = by_project.remove(id).unwrap_or_default();
            seqs.sort_unstable();
            let mut next = 1;
            for seq in seqs {
                if seq != next {
                    let name = &project.name;
                    self.violated(PROMISE, format!("project {name}: change {seq} follows {}, not {next}", next - 1));
                }
                next = seq + 1;
            }
            if next - 1 != project.last_seq {
                let (name, last) = (&project.name, project.last_seq);
                self.violated(PROMISE, format!("project {name} counts {last} changes, and the last is {}", next - 1));
            }
        }
        let changed: HashSet<Uuid> = self.evidence.changes.iter().map(|change| change.run).collect();
        for run in self.stored.keys().filter(|run| !changed.contains(*run)).copied().collect::<Vec<_>>() {
            self.violated(PROMISE, format!("run {run} is stored without a change"));
        }
    }

    fn cursors_have_come_to_the_end(&mut self) {
        for (id, project) in &self.evidence.projects {
            for rule in self.evidence.rules.iter().filter(|rule| rule.active && rule.watches(&project.name)) {
                let start = self.evidence.starts.get(&(*id, rule.id)).copied().unwrap_or(0);
                let group = Group { project: *id, timing: rule.timing.clone() };
                let cursor = self.evidence.cursors.get(&group).copied().unwrap_or(0);
                if start < project.last_seq && cursor != project.last_seq {
                    let (key, name, last) = (&rule.key, &project.name, project.last_seq);
                    self.violated("at rest", format!("rule {key} has seen {name} up to {cursor} of {last}"));
                }
            }
        }
    }

    fn windows_do_not_overlap(&mut self) {
        const PROMISE: &str = "windows do not overlap";
        let mut by_progress: BTreeMap<&Progress, Vec<(i64, i64)>> = BTreeMap::new();
        for window in &self.evidence.windows {
            by_progress.entry(&window.progress).or_default().push((window.after, window.through));
        }
        for (progress, mut windows) in by_progress {
            windows.sort_unstable();
            let mut seen = 0;
            for (after, through) in windows {
                if after < seen || through <= after {
                    self.violated(PROMISE, format!("window ({after}, {through}] of {progress:?} overlaps {seen}"));
                }
                seen = seen.max(through);
            }
            let cursor = match progress {
                Progress::Group(group) => self.evidence.cursors.get(group).copied().unwrap_or(0),
                Progress::Span(..) => i64::MAX,
            };
            if seen > cursor {
                self.violated(PROMISE, format!("a window of {progress:?} reaches {seen}, its cursor only {cursor}"));
            }
        }
    }

    fn matches_are_those_expected(&mut self) {
        if self.matched.len() != self.evidence.matches.len() {
            self.violated("matched once", "a match is stored twice".to_owned());
        }
        let judged: HashSet<Uuid> =
            self.evidence.rules.iter().filter(|rule| rule.finds().is_some()).map(|rule| rule.id).collect();
        for (rule, run) in self.expected.difference(&self.matched).copied().collect::<Vec<_>>() {
            self.violated("nothing missed", format!("run {run} should have matched rule {}", self.key(rule)));
        }
        for (rule, run) in self.matched.difference(&self.expected).copied().collect::<Vec<_>>() {
            if judged.contains(&rule) {
                self.violated("nothing made up", format!("run {run} should not have matched rule {}", self.key(rule)));
            }
        }
    }

    /// Only windows that found something are stored. So whatever lies in a gap below the cursor must be nothing to the
    /// group's rules: a match has a change in a window of its rule.
    fn first_changes_of_matches_lie_in_windows(&mut self) {
        let mut changes: HashMap<Uuid, Vec<i64>> = HashMap::new();
        for change in &self.evidence.changes {
            changes.entry(change.run).or_default().push(change.seq);
        }
        let mut windows: HashMap<&Progress, Vec<(i64, i64)>> = HashMap::new();
        for window in &self.evidence.windows {
            windows.entry(&window.progress).or_default().push((window.after, window.through));
        }
        for windows in windows.values_mut() {
            windows.sort_unstable();
        }
        let rules: HashMap<Uuid, &Rule> = self.evidence.rules.iter().map(|rule| (rule.id, rule)).collect();
        let mut outside = Vec::new();
        for (rule, run) in &self.matched {
            let (Some(project), Some(timing)) = (self.stored.get(run), rules.get(rule).map(|rule| &rule.timing)) else {
                continue;
            };
            let group = Progress::Group(Group { project: *project, timing: timing.clone() });
            let places = [windows.get(&group), windows.get(&Progress::Span(*project, *rule))];
            let seqs = changes.get(run).map(Vec::as_slice).unwrap_or_default();
            // A rule that looks at traces finds a run in the window of another run's change.
            let of_trace = rules.get(rule).is_some_and(|rule| rule.key.starts_with("bench-trace-"));
            if !of_trace && !places.into_iter().flatten().any(|windows| seqs.iter().any(|seq| covers(windows, *seq))) {
                outside.push(format!("run {run} matched rule {} and lies in none of its windows", self.key(*rule)));
            }
        }
        for what in outside {
            self.violated("gaps hold nothing", what);
        }
    }

    /// As far as the database tells: as many runs in the messages of a rule as it has matches, and all delivered.
    fn messages_tell_every_match_once(&mut self) {
        let mut told: HashMap<Uuid, i64> = HashMap::new();
        for message in &self.evidence.messages {
            *told.entry(message.rule).or_default() += message.runs;
        }
        for rule in self.evidence.rules.iter().filter(|rule| rule.tells) {
            let matched = self.evidence.matches.iter().filter(|one| one.rule == rule.id).count();
            let told = told.get(&rule.id).copied().unwrap_or(0);
            if i64::try_from(matched) != Ok(told) {
                let key = &rule.key;
                self.violated("told once", format!("rule {key} has {matched} matches, its messages {told} runs"));
            }
        }
        for (state, count) in &self.evidence.deliveries {
            let fine = match *state {
                "delivered" => true,
                "failed" => self.leniency.failed_deliveries,
                "pending" => self.leniency.pending_deliveries,
                _ => false,
            };
            if !fine && *count > 0 {
                self.violated("delivered", format!("{count} deliveries are {state}"));
            }
        }
    }

    fn notifications_tell_every_match_once(&mut self) {
        let Some(notices) = &self.evidence.notices else { return };
        let mut by_pair: HashMap<Pair, HashSet<Uuid>> = HashMap::new();
        let mut arrived: HashSet<Uuid> = HashSet::new();
        for notice in notices {
            arrived.insert(notice.message);
            for run in &notice.runs {
                by_pair.entry((notice.rule, *run)).or_default().insert(notice.message);
            }
        }
        let telling: HashSet<Uuid> = self.evidence.rules.iter().filter(|rule| rule.tells).map(|rule| rule.id).collect();
        for (rule, run) in self.matched.iter().copied().collect::<Vec<_>>() {
            if telling.contains(&rule) && !by_pair.contains_key(&(rule, run)) {
                self.violated("notified", format!("run {run} matched rule {} and was not notified", self.key(rule)));
            }
        }
        for ((rule, run), messages) in &by_pair {
            let key = self.key(*rule);
            if messages.len() > 1 {
                self.violated("notified once", format!("run {run} is in {} messages of rule {key}", messages.len()));
            }
            if !self.matched.contains(&(*rule, *run)) {
                self.violated("nothing made up", format!("run {run} was notified by rule {key} and is no match of it"));
            }
        }
        let known: HashSet<Uuid> = self.evidence.messages.iter().map(|message| message.id).collect();
        for message in arrived.difference(&known) {
            self.violated("nothing made up", format!("message {message} arrived and is not stored"));
        }
        for message in known.difference(&arrived) {
            self.violated("notified", format!("message {message} is stored and did not arrive"));
        }
    }

    fn key(&self, rule: Uuid) -> String {
        let found = self.evidence.rules.iter().find(|known| known.id == rule);
        found.map_or_else(|| rule.to_string(), |rule| rule.key.clone())
    }
}

/// Whether one of these windows, which are sorted, covers a change.
fn covers(windows: &[(i64, i64)], seq: i64) -> bool {
    let before = windows.partition_point(|(after, _)| *after < seq);
    before.checked_sub(1).and_then(|at| windows.get(at)).is_some_and(|(_, through)| seq <= *through)
}
