//! Which index leads to the runs of a search.
//!
//! The rarest is best, and how rare something is can be counted as far as it matters: what is few is looked up and sorted,
//! what is many is met soon enough on the way through a project in the order of start.

use crate::filter::sql::{Clause, Column, FeedbackColumn, FeedbackTest, Test};
use crate::model::id::ProjectId;
use crate::model::run::Status;
use crate::store::search::render::Relation;
use crate::store::search::{Search, Within};

/// How many are few.
pub(in crate::store) const FEW: u32 = 2000;

/// An index that is in the order of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Ordered {
    /// All runs of a project.
    Start,
    /// Those of one name.
    Name,
    /// Those that failed.
    Failed,
}

/// Something to count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Probe<'s> {
    /// Runs with a record of feedback that passes these tests.
    Judged(&'s [FeedbackTest]),
    /// Traces of a project with a run of which this holds, found by this index.
    Traces { project: ProjectId, of: &'s Clause, relation: Relation, by: Ordered },
}

/// What the few things are that were counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Few<'s> {
    /// The runs that are looked for, of which this holds.
    Runs(&'s Clause),
    /// Their traces, of which this run passes.
    Traces(Relation),
    /// Runs in those traces.
    Relatives(ProjectId),
}

impl Ordered {
    /// Its name in the schema.
    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::Start => "runs_by_start",
            Self::Name => "runs_by_name",
            Self::Failed => "runs_failed",
        }
    }

    /// The index that leads to traces in the same way; they are in no order.
    pub(in crate::store) fn of_traces(self) -> &'static str {
        match self {
            Self::Failed => "runs_failed_by_trace",
            Self::Start | Self::Name => self.name(),
        }
    }

    /// The one that serves a condition best.
    pub(in crate::store) fn of(clause: &Clause) -> Self {
        let serves = |by: Self| clause.conjuncts().any(|part| by.serves(part));
        [Self::Name, Self::Failed].into_iter().find(|by| serves(*by)).unwrap_or(Self::Start)
    }

    fn serves(self, part: &Clause) -> bool {
        let Clause::Column(column, Test::Words(words)) = part else { return false };
        let [word] = words.as_slice() else { return false };
        match self {
            Self::Start => false,
            Self::Name => *column == Column::Name,
            Self::Failed => *column == Column::Status && word == Status::Error.as_str(),
        }
    }
}

/// What is worth counting before a search sets out, the most telling first.
pub(in crate::store) fn probes(search: &Search) -> Vec<(Probe<'_>, Few<'_>)> {
    let Within::Project(project) = search.within else { return Vec::new() };
    if Ordered::of(&search.run) == Ordered::Name {
        return Vec::new();
    }
    let judged = |part| Some((judged(part)?, Few::Runs(part)));
    let mut probes: Vec<_> = search.run.conjuncts().filter_map(judged).collect();
    for (of, relation) in [(&search.root, Relation::Root), (&search.tree, Relation::Any)] {
        let by = Ordered::of(of);
        if by != Ordered::Start {
            probes.push((Probe::Traces { project, of, relation, by }, Few::Traces(relation)));
        }
        probes.extend(of.conjuncts().filter_map(self::judged).map(|probe| (probe, Few::Relatives(project))));
    }
    probes
}

fn judged(part: &Clause) -> Option<Probe<'_>> {
    match part {
        Clause::Feedback(tests) if tests.iter().any(names_a_key) => Some(Probe::Judged(tests)),
        _ => None,
    }
}

fn names_a_key(test: &FeedbackTest) -> bool {
    matches!(test, FeedbackTest::Words { column: FeedbackColumn::Key, negated: false, .. })
}
