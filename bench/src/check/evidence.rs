//! What the checker judges: the rows of the database it needs, and what the load and the sink remember.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::record::{Ack, Notice};
use crate::run_id::{Class, RunId, project_name};

/// Everything that is known when nothing is under way any more.
#[derive(Debug, Default, Clone)]
pub(crate) struct Evidence {
    pub(crate) acks: Vec<Ack>,
    /// None: there was no sink to listen to.
    pub(crate) notices: Option<Vec<Notice>>,
    pub(crate) projects: HashMap<Uuid, Project>,
    /// Complete runs: project and run. A run stored twice is here twice.
    pub(crate) runs: Vec<(Uuid, Uuid)>,
    /// The runs that feedback is stored about.
    pub(crate) feedback: Vec<Uuid>,
    pub(crate) changes: Vec<Change>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) windows: Vec<Window>,
    pub(crate) cursors: HashMap<Group, i64>,
    /// From which change on a rule looks at a project.
    pub(crate) starts: HashMap<(Uuid, Uuid), i64>,
    pub(crate) matches: Vec<Match>,
    pub(crate) messages: Vec<Message>,
    pub(crate) deliveries: BTreeMap<&'static str, u64>,
}

/// A project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) last_seq: i64,
}

/// An entry of a project's log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) project: Uuid,
    pub(crate) seq: i64,
    pub(crate) run: Uuid,
}

/// What shares a cursor: a project, and what its rules say about time, as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) project: Uuid,
    pub(crate) timing: String,
}

/// Whose progress a window is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Progress {
    Group(Group),
    /// A single rule's, in a project.
    Span(Uuid, Uuid),
}

/// A stored window.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) progress: Progress,
    pub(crate) after: i64,
    pub(crate) through: i64,
}

/// A rule in force.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: Uuid,
    pub(crate) key: String,
    /// A name, or a glob that ends with `*`.
    pub(crate) project: String,
    pub(crate) timing: String,
    pub(crate) active: bool,
    pub(crate) tells: bool,
}

/// A stored match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match {
    pub(crate) rule: Uuid,
    pub(crate) run: Uuid,
}

/// A stored message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) id: Uuid,
    pub(crate) rule: Uuid,
    pub(crate) runs: i64,
}

/// What a rule of the bench finds, which its key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finds {
    /// `bench-error-…`: runs that fail, or (`bench-trace-…`) that fail in a trace of the bench.
    Errors,
    /// `bench-score-…`: runs with a low score, once it is stored.
    LowScores,
    /// `bench-idle-…`: nothing.
    Nothing,
}

impl Rule {
    /// What it finds; none for rules that are not the bench's, which are not judged.
    pub(crate) fn finds(&self) -> Option<Finds> {
        let kind = self.key.strip_prefix("bench-")?.split('-').next()?;
        match kind {
            "error" | "trace" => Some(Finds::Errors),
            "score" => Some(Finds::LowScores),
            "idle" => Some(Finds::Nothing),
            _ => None,
        }
    }

    /// Whether it watches a project.
    pub(crate) fn watches(&self, project: &str) -> bool {
        match self.project.strip_suffix('*') {
            Some(start) => project.starts_with(start),
            None => self.project == project,
        }
    }
}

impl Finds {
    /// Whether it finds a run, given which have feedback.
    pub(crate) fn wants(self, run: Uuid, class: Class, with_feedback: &HashSet<Uuid>) -> bool {
        match self {
            Self::Errors => class.error,
            Self::LowScores => class.low && with_feedback.contains(&run),
            Self::Nothing => false,
        }
    }
}

impl Evidence {
    /// The id of the project a run says it is in.
    pub(crate) fn projects_by_name(&self) -> HashMap<&str, Uuid> {
        self.projects.iter().map(|(id, project)| (project.name.as_str(), *id)).collect()
    }

    /// Where a run belongs.
    pub(crate) fn home_of(run: Uuid) -> Option<String> {
        RunId::of(run).map(|id| project_name(id.project))
    }
}
