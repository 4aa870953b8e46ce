//! Marks: a value at a place of a run, as a number that can be looked up.
//!
//! A run has a mark for its name, one for each tag, two for each entry of its metadata, and so on. Equal values at one
//! place have equal marks, whatever the run. Different ones may have equal marks too, since a mark is a hash: it tells
//! where looking is worth while, never what the answer is.

use rust_decimal::Decimal;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::filter::facts::{Entry, Facts};
use crate::filter::field::{Plain, Root};
use crate::filter::flatten::Scalar;
use crate::filter::value::Number;
use crate::model::run::Run;

/// A place of a run that has marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Name,
    RunType,
    Status,
    /// There is an error.
    Error,
    IsRoot,
    Id,
    TraceId,
    ProjectId,
    ParentRunId,
    Example,
    Thread,
    Tag,
    /// There is feedback.
    Feedback,
    FeedbackKey,
    /// A document has something at a path.
    Key(Root),
    /// A document has this value at a path.
    Entry(Root),
    /// A document has a number at a path whose equals cannot be looked up. It is asked for together with `Entry`.
    Inexact(Root),
}

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) place: Place,
    pub(crate) hash: u64,
    /// What it is a value of: of the marks of one variable a run has few.
    pub(crate) variable: u64,
}

/// What has to be read of a run before its marks are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reading {
    /// Nothing that is not at hand.
    Nothing,
    /// `extra`, which is small.
    Extra,
    /// Inputs or outputs.
    Payload,
}

impl Mark {
    /// How many runs of a thousand have it, when this many values of its variable are asked for.
    pub(crate) fn share(self, values: u32) -> u32 {
        // Most runs do not fail, and most rules on the status ask for those that do.
        let share = if self == Place::Status.text("error") { 100 } else { self.place.share() };
        share / values.max(1)
    }
}

impl Reading {
    /// What it costs, in thousandths of asking a rule.
    pub(crate) fn cost(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Extra => 32_000,
            Self::Payload => 512_000,
        }
    }
}

/// A set of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places(u32);

impl Place {
    const SINGLE: [Self; 11] = [
        Self::Name,
        Self::RunType,
        Self::Status,
        Self::Error,
        Self::IsRoot,
        Self::Id,
        Self::TraceId,
        Self::ProjectId,
        Self::ParentRunId,
        Self::Example,
        Self::Thread,
    ];

    fn number(self) -> u8 {
        match self {
            Self::Name => 0,
            Self::RunType => 1,
            Self::Status => 2,
            Self::Error => 3,
            Self::IsRoot => 4,
            Self::Id => 5,
            Self::TraceId => 6,
            Self::ProjectId => 7,
            Self::ParentRunId => 8,
            Self::Example => 9,
            Self::Thread => 10,
            Self::Tag => 11,
            Self::Feedback => 12,
            Self::FeedbackKey => 13,
            Self::Key(root) => root.pick(14, 15, 16, 17),
            Self::Entry(root) => root.pick(18, 19, 20, 21),
            Self::Inexact(root) => root.pick(22, 23, 24, 25),
        }
    }

    /// The place of a column, if it has marks.
    pub(crate) fn of(plain: Plain) -> Option<Self> {
        Some(match plain {
            Plain::Name => Self::Name,
            Plain::RunType => Self::RunType,
            Plain::Status => Self::Status,
            Plain::Error => Self::Error,
            Plain::IsRoot => Self::IsRoot,
            Plain::Id => Self::Id,
            Plain::TraceId => Self::TraceId,
            Plain::SessionId => Self::ProjectId,
            Plain::ParentRunId => Self::ParentRunId,
            Plain::ReferenceExampleId => Self::Example,
            Plain::ThreadId => Self::Thread,
            Plain::Tags => Self::Tag,
            _ => return None,
        })
    }

    /// How many runs of a thousand have the mark of a value that rules ask for at this place when they ask for no
    /// other there: a guess, which decides nothing but how much is looked at.
    fn share(self) -> u32 {
        match self {
            Self::Inexact(_) | Self::Id | Self::TraceId | Self::ParentRunId | Self::Example => 1,
            Self::Error => 100,
            Self::FeedbackKey => 150,
            Self::Feedback => 200,
            Self::Name | Self::Tag | Self::Thread => 300,
            Self::Status | Self::RunType | Self::IsRoot | Self::Key(_) | Self::Entry(_) => 500,
            Self::ProjectId => 1000,
        }
    }

    /// What it takes to find the marks that a run has at this place.
    pub(crate) fn reading(self) -> Reading {
        match self {
            Self::Thread
            | Self::Key(Root::Metadata | Root::Extra)
            | Self::Entry(Root::Metadata | Root::Extra)
            | Self::Inexact(Root::Metadata | Root::Extra) => Reading::Extra,
            Self::Key(_) | Self::Entry(_) | Self::Inexact(_) => Reading::Payload,
            _ => Reading::Nothing,
        }
    }

    /// That the place has something, whatever it is.
    pub(crate) fn there(self) -> Mark {
        self.only(hash(&[], self.number().into()))
    }

    /// A mark that stands for a variable of its own.
    fn only(self, hash: u64) -> Mark {
        Mark { place: self, hash, variable: hash }
    }

    /// One value among those that a run can have here.
    fn value(self, bytes: &[u8]) -> Mark {
        let number = self.number().into();
        Mark { place: self, hash: hash(bytes, number), variable: number }
    }

    /// This text at the place.
    pub(crate) fn text(self, text: &str) -> Mark {
        self.value(text.as_bytes())
    }

    /// Yes or no at the place.
    pub(crate) fn flag(self, yes: bool) -> Mark {
        self.value(&[u8::from(yes)])
    }

    /// This id at the place.
    pub(crate) fn id(self, id: Uuid) -> Mark {
        self.value(id.as_bytes())
    }

    /// The mark of a run at a place that has one value at most.
    fn single(self, facts: &Facts<'_>) -> Option<Mark> {
        let run: &Run = facts.run;
        match self {
            Self::Name => Some(self.text(&run.name)),
            Self::RunType => Some(self.text(&run.run_type)),
            Self::Status => Some(self.text(run.status.as_str())),
            Self::Error => run.error.as_ref().filter(|text| !text.is_empty()).map(|_| self.there()),
            Self::IsRoot => Some(self.flag(run.is_root())),
            Self::Id => Some(self.id(run.id.0)),
            Self::TraceId => Some(self.id(run.trace_id.0)),
            Self::ProjectId => Some(self.id(run.project_id.0)),
            Self::ParentRunId => run.parent_run_id.map(|id| self.id(id.0)),
            Self::Example => run.reference_example_id.map(|id| self.id(id)),
            Self::Thread => facts.thread_id().map(|id| self.text(id)),
            Self::Tag | Self::Feedback | Self::FeedbackKey | Self::Key(_) | Self::Entry(_) | Self::Inexact(_) => None,
        }
    }
}

impl Places {
    /// Adds a place.
    pub(crate) fn add(&mut self, place: Place) {
        self.0 |= 1 << place.number();
    }

    /// Whether a place is among them.
    pub(crate) fn have(self, place: Place) -> bool {
        self.0 & (1 << place.number()) != 0
    }
}

/// The hash of a document's path.
fn path(root: Root, path: &str) -> u64 {
    hash(path.as_bytes(), Place::Key(root).number().into())
}

/// Something at a path of a document.
pub(crate) fn key(root: Root, path: &str) -> Mark {
    Place::Key(root).only(self::path(root, path))
}

/// The marks of which a run has one that has this value at a path of a document. None if that cannot be said.
pub(crate) fn value(root: Root, path: &str, value: &Scalar) -> Option<Vec<Mark>> {
    let path = self::path(root, path);
    let entry = |value| Some(Mark { place: Place::Entry(root), hash: scalar(path, value)?, variable: path });
    match value {
        // A number without an exact form is equal to whatever is as near, exact or not.
        Scalar::Number(Number::Exact(_)) => Some(vec![entry(value)?, Place::Inexact(root).only(inexact(path))]),
        Scalar::Number(Number::Real(_)) | Scalar::Null | Scalar::Nested => None,
        Scalar::Bool(_) | Scalar::Text(_) => Some(vec![entry(value)?]),
    }
}

fn scalar(path: u64, value: &Scalar) -> Option<u64> {
    match value {
        Scalar::Text(text) => Some(hash(text.as_bytes(), path ^ 1)),
        Scalar::Bool(yes) => Some(hash(&[u8::from(*yes)], path ^ 2)),
        Scalar::Number(Number::Exact(number)) => Some(hash(&canonical(*number).serialize(), path ^ 3)),
        Scalar::Number(Number::Real(_)) => Some(inexact(path)),
        Scalar::Null | Scalar::Nested => None,
    }
}

fn inexact(path: u64) -> u64 {
    hash(&[], path ^ 4)
}

/// The one form of equal decimals.
fn canonical(number: Decimal) -> Decimal {
    if number.is_zero() { Decimal::ZERO } else { number.normalize() }
}

fn hash(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Marks of one kind, each once.
pub(crate) type Marks = Box<[u64]>;

fn once(marks: impl Iterator<Item = u64>) -> Marks {
    let mut marks: Vec<u64> = marks.collect();
    marks.sort_unstable();
    marks.dedup();
    marks.into_boxed_slice()
}

/// The marks of the paths of a document.
pub(crate) fn keys(root: Root, entries: &[Entry]) -> Marks {
    once(entries.iter().map(|entry| path(root, &entry.path)))
}

/// The marks of the values of a document.
pub(crate) fn values(root: Root, entries: &[Entry]) -> Marks {
    once(entries.iter().filter_map(|entry| scalar(path(root, &entry.path), &entry.value)))
}

/// The marks of these words at a place.
pub(crate) fn words<'w>(place: Place, words: impl Iterator<Item = &'w str>) -> Marks {
    once(words.map(|word| place.text(word).hash))
}

impl Facts<'_> {
    /// Shows the run's marks at these places, each once.
    pub(crate) fn marks(&self, places: Places, mut see: impl FnMut(u64)) {
        for place in Place::SINGLE {
            if places.have(place)
                && let Some(mark) = place.single(self)
            {
                see(mark.hash);
            }
        }
        if places.have(Place::Tag) {
            self.tag_marks().iter().copied().for_each(&mut see);
        }
        if places.have(Place::Feedback) && !self.feedback.is_empty() {
            see(Place::Feedback.there().hash);
        }
        if places.have(Place::FeedbackKey) {
            self.feedback_marks().iter().copied().for_each(&mut see);
        }
        for (_, root) in Root::ALL {
            if places.have(Place::Key(root)) {
                self.key_marks(root).iter().copied().for_each(&mut see);
            }
            if places.have(Place::Entry(root)) {
                self.value_marks(root).iter().copied().for_each(&mut see);
            }
        }
    }
}
