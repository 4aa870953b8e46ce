//! Fields: what a filter can ask about, what type each has, and which operators make sense on it.

use std::fmt;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// A column of the run.
    Plain(Plain),
    /// A column of one of the run's lists of rows.
    Pair(Group, Column),
    /// A place in one of the run's documents: a dotted path, array steps dropped.
    Path(Root, Box<str>),
    /// One of the run's documents as a whole.
    Whole(Root),
}

/// A column of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Plain {
    /// `id`
    Id,
    /// `trace_id`
    TraceId,
    /// `session_id`: the project
    SessionId,
    /// `parent_run_id`
    ParentRunId,
    /// `reference_example_id`
    ReferenceExampleId,
    /// `thread_id`: of the metadata
    ThreadId,
    /// `name`
    Name,
    /// `run_type`
    RunType,
    /// `status`
    Status,
    /// `error`
    Error,
    /// `is_root`
    IsRoot,
    /// `start_time`
    StartTime,
    /// `end_time`
    EndTime,
    /// `first_token_time`
    FirstTokenTime,
    /// `latency`
    Latency,
    /// `first_token_latency`
    FirstTokenLatency,
    /// `tags`
    Tags,
    /// `total_tokens`
    TotalTokens,
    /// `prompt_tokens`
    PromptTokens,
    /// `completion_tokens`
    CompletionTokens,
    /// `execution_order`: 1 for a root, unknown otherwise
    ExecutionOrder,
    /// `total_cost`
    TotalCost,
    /// `prompt_cost`
    PromptCost,
    /// `completion_cost`
    CompletionCost,
    /// `run_count`: of threads; a run by itself counts one
    RunCount,
    /// `trace_count`: of threads; a run by itself counts one
    TraceCount,
}

/// A list of rows whose columns are asked about together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Metadata entries.
    Metadata,
    /// Feedback records.
    Feedback,
    /// Entries of the inputs.
    Input,
    /// Entries of the outputs.
    Output,
}

impl Group {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Metadata, Self::Feedback, Self::Input, Self::Output];
}

/// A column of such a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// The entry's path, or the feedback's key.
    Key,
    /// The value.
    Value,
    /// The feedback's score.
    Score,
    /// The type of the feedback's source.
    Source,
    /// The feedback's comment.
    Comment,
}

/// A document of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// `metadata`, which is `extra.metadata`
    Metadata,
    /// `extra`
    Extra,
    /// `inputs`
    Inputs,
    /// `outputs`
    Outputs,
}

impl Root {
    /// All of them, with their names.
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("metadata", Self::Metadata), ("extra", Self::Extra), ("inputs", Self::Inputs), ("outputs", Self::Outputs)];

    /// The one of four that is about this document.
    pub(crate) fn pick<T>(self, metadata: T, extra: T, inputs: T, outputs: T) -> T {
        match self {
            Self::Metadata => metadata,
            Self::Extra => extra,
            Self::Inputs => inputs,
            Self::Outputs => outputs,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, root)| *root == self).map_or("", |(name, _)| name)
    }
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// An id.
    Id,
    /// Text.
    Text,
    /// Text that is never null.
    Key,
    /// A yes or no.
    Flag,
    /// An instant.
    Time,
    /// Seconds.
    Seconds,
    /// A number.
    Number,
    /// A number, or a yes or no counted as one.
    Score,
    /// A list of tags.
    Tags,
    /// Text, a number, or a yes or no: as it was sent.
    Any,
    /// Known of threads only.
    Thread,
    /// A document.
    Document,
}

impl Type {
    /// What a value of this type is, for messages.
    pub(crate) fn article(self) -> &'static str {
        match self {
            Self::Id => "an id",
            Self::Text | Self::Key => "text",
            Self::Flag => "true or false",
            Self::Time => "a time",
            Self::Seconds => "a duration",
            Self::Number | Self::Score => "a number",
            Self::Tags => "a list of tags",
            Self::Any | Self::Thread => "a value",
            Self::Document => "a document",
        }
    }
}

/// The fields that have a name of their own.
const NAMED: [(&str, Field); 38] = [
    ("id", Field::Plain(Plain::Id)),
    ("trace_id", Field::Plain(Plain::TraceId)),
    ("session_id", Field::Plain(Plain::SessionId)),
    ("project_id", Field::Plain(Plain::SessionId)),
    ("parent_run_id", Field::Plain(Plain::ParentRunId)),
    ("reference_example_id", Field::Plain(Plain::ReferenceExampleId)),
    ("thread_id", Field::Plain(Plain::ThreadId)),
    ("name", Field::Plain(Plain::Name)),
    ("run_type", Field::Plain(Plain::RunType)),
    ("status", Field::Plain(Plain::Status)),
    ("error", Field::Plain(Plain::Error)),
    ("is_root", Field::Plain(Plain::IsRoot)),
    ("start_time", Field::Plain(Plain::StartTime)),
    ("end_time", Field::Plain(Plain::EndTime)),
    ("first_token_time", Field::Plain(Plain::FirstTokenTime)),
    ("latency", Field::Plain(Plain::Latency)),
    ("first_token_latency", Field::Plain(Plain::FirstTokenLatency)),
    ("tags", Field::Plain(Plain::Tags)),
    ("total_tokens", Field::Plain(Plain::TotalTokens)),
    ("prompt_tokens", Field::Plain(Plain::PromptTokens)),
    ("completion_tokens", Field::Plain(Plain::CompletionTokens)),
    ("execution_order", Field::Plain(Plain::ExecutionOrder)),
    ("total_cost", Field::Plain(Plain::TotalCost)),
    ("prompt_cost", Field::Plain(Plain::PromptCost)),
    ("completion_cost", Field::Plain(Plain::CompletionCost)),
    ("run_count", Field::Plain(Plain::RunCount)),
    ("trace_count", Field::Plain(Plain::TraceCount)),
    ("feedback_key", Field::Pair(Group::Feedback, Column::Key)),
    ("feedback_score", Field::Pair(Group::Feedback, Column::Score)),
    ("feedback_value", Field::Pair(Group::Feedback, Column::Value)),
    ("feedback_source", Field::Pair(Group::Feedback, Column::Source)),
    ("feedback_comment", Field::Pair(Group::Feedback, Column::Comment)),
    ("metadata_key", Field::Pair(Group::Metadata, Column::Key)),
    ("metadata_value", Field::Pair(Group::Metadata, Column::Value)),
    ("input_key", Field::Pair(Group::Input, Column::Key)),
    ("input_value", Field::Pair(Group::Input, Column::Value)),
    ("output_key", Field::Pair(Group::Output, Column::Key)),
    ("output_value", Field::Pair(Group::Output, Column::Value)),
];

/// Every name a field can have, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name).chain(Root::ALL.iter().map(|(name, _)| *name))
}

impl Field {
    /// Finds a field by its name, whatever the case of what is not a path inside a document.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some((_, field)) = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Some(field.clone());
        }
        let (root, path) = match text.split_once('.') {
            Some((root, path)) => (root, Some(path)),
            None => (text, None),
        };
        let (_, root) = Root::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(root))?;
        let Some(path) = path else { return Some(Self::Whole(*root)) };
        if *root == Root::Extra {
            match path.split_once('.') {
                None if path == "metadata" => return Some(Self::Whole(Root::Metadata)),
                Some(("metadata", inner)) => return Self::path(Root::Metadata, inner),
                _ => {}
            }
        }
        Self::path(*root, path)
    }

    fn path(root: Root, path: &str) -> Option<Self> {
        (!path.split('.').any(str::is_empty)).then(|| Self::Path(root, path.into()))
    }

    /// Its type.
    pub(crate) fn kind(&self) -> Type {
        match self {
            Self::Plain(plain) => plain.kind(),
            Self::Pair(_, Column::Key) => Type::Key,
            Self::Pair(_, Column::Score) => Type::Score,
            Self::Pair(_, Column::Source | Column::Comment) => Type::Text,
            Self::Pair(_, Column::Value) | Self::Path(..) => Type::Any,
            Self::Whole(_) => Type::Document,
        }
    }
}

impl Plain {
    fn kind(self) -> Type {
        match self {
            Self::Id | Self::TraceId | Self::SessionId | Self::ParentRunId | Self::ReferenceExampleId => Type::Id,
            Self::ThreadId | Self::Name | Self::RunType | Self::Status | Self::Error => Type::Text,
            Self::IsRoot => Type::Flag,
            Self::StartTime | Self::EndTime | Self::FirstTokenTime => Type::Time,
            Self::Latency | Self::FirstTokenLatency => Type::Seconds,
            Self::Tags => Type::Tags,
            Self::TotalTokens
            | Self::PromptTokens
            | Self::CompletionTokens
            | Self::ExecutionOrder
            | Self::TotalCost
            | Self::PromptCost
            | Self::CompletionCost => Type::Number,
            Self::RunCount | Self::TraceCount => Type::Thread,
        }
    }

    /// Whether it is a sum over the run's subtree.
    pub(crate) fn is_usage(self) -> bool {
        self.is_tokens() || matches!(self, Self::TotalCost | Self::PromptCost | Self::CompletionCost)
    }

    /// Whether it counts tokens.
    pub(crate) fn is_tokens(self) -> bool {
        matches!(self, Self::TotalTokens | Self::PromptTokens | Self::CompletionTokens)
    }
}

impl fmt::Display for Field {
    /// The name without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(root, path) => write!(f, "{}.{path}", root.name()),
            Self::Whole(root) => f.write_str(root.name()),
            field => f.write_str(NAMED.iter().find(|(_, named)| named == field).map_or("", |(name, _)| name)),
        }
    }
}
