//! Which index leads to the runs of a search.
//!
//! The rarest is best, and how rare something is can be counted as far as it matters: what is few is looked up and sorted,
//! what is many is met soon enough on the way through a project in the order of start.

use crate::filter::sql::{Clause, Column, FeedbackColumn, FeedbackTest, Test};
use crate::model::id::ProjectId;
use crate::model::run::Status;
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
    /// Runs with feedback under one of these keys.
    Feedback(&'s [String]),
    /// Traces of a project with a run of which this holds, found by this index.
    Traces { project: ProjectId, of: &'s Clause, root: bool, by: Ordered },
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
pub(in crate::store) fn probes(search: &Search) -> Vec<Probe<'_>> {
    let Within::Project(project) = search.within else { return Vec::new() };
    if Ordered::of(&search.run) == Ordered::Name {
        return Vec::new();
    }
    let mut probes: Vec<Probe<'_>> = search.run.conjuncts().filter_map(feedback).collect();
    for (of, root) in [(&search.root, true), (&search.tree, false)] {
        let by = Ordered::of(of);
        if by != Ordered::Start {
            probes.push(Probe::Traces { project, of, root, by });
        }
    }
    probes
}

fn feedback(part: &Clause) -> Option<Probe<'_>> {
    let Clause::Feedback(tests) = part else { return None };
    let names_a_key = |test: &&FeedbackTest| test.column == FeedbackColumn::Key && !test.negated;
    tests.iter().find(names_a_key).map(|test| Probe::Feedback(&test.words))
}
