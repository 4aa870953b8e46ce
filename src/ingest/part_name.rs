//! The names of a multipart request's parts: `post|patch.<run id>[.<field>]`, `attachment.<run id>.<name>`,
//! `feedback.<id>`.

use crate::model::id::{FeedbackId, RunId};
use crate::model::run::PartKind;

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartName {
    /// A run, or one heavy field of it.
    Run {
        /// Post or patch.
        kind: PartKind,
        /// The run.
        run_id: RunId,
        /// The field; the run object itself has none.
        field: Option<Heavy>,
    },
    /// A file.
    Attachment {
        /// The run it came with.
        run_id: RunId,
        /// Its name.
        name: String,
    },
    /// Feedback. Its own id is in the body; the name's is taken only when the body has none.
    Feedback(Option<FeedbackId>),
}

/// The fields that travel as parts of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heavy {
    /// `inputs`.
    Inputs,
    /// `outputs`.
    Outputs,
    /// `events`.
    Events,
    /// `extra`.
    Extra,
    /// `error`.
    Error,
    /// `serialized`.
    Serialized,
}

impl Heavy {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "inputs" => Self::Inputs,
            "outputs" => Self::Outputs,
            "events" => Self::Events,
            "extra" => Self::Extra,
            "error" => Self::Error,
            "serialized" => Self::Serialized,
            _ => return None,
        })
    }

    /// The field's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Events => "events",
            Self::Extra => "extra",
            Self::Error => "error",
            Self::Serialized => "serialized",
        }
    }
}

impl PartName {
    /// Reads a name, or says what is wrong with it.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let mut words = name.splitn(3, '.');
        let event = words.next().unwrap_or_default();
        let id = words.next().unwrap_or_default();
        let rest = words.next().filter(|rest| !rest.is_empty());
        let run_id = || id.parse::<RunId>().map_err(|error| error.to_string());
        match event {
            "post" => Self::run(PartKind::Post, run_id()?, rest),
            "patch" => Self::run(PartKind::Patch, run_id()?, rest),
            "attachment" => match rest {
                Some(name) => Ok(Self::Attachment { run_id: run_id()?, name: name.to_owned() }),
                None => Err("an attachment needs a name: attachment.<run id>.<name>".to_owned()),
            },
            "feedback" => Ok(Self::Feedback(id.parse().ok())),
            _ => Err("unknown part: its name begins with post, patch, attachment or feedback".to_owned()),
        }
    }

    fn run(kind: PartKind, run_id: RunId, field: Option<&str>) -> Result<Self, String> {
        let field = match field {
            None => None,
            Some(word) => Some(Heavy::parse(word).ok_or(
                "unknown field: inputs, outputs, events, extra, error and serialized can be parts of their own",
            )?),
        };
        Ok(Self::Run { kind, run_id, field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a2010f-f272-74d0-816b-895478208850";

    #[test]
    fn names_of_the_clients_are_understood() {
        let run_id: RunId = ID.parse().unwrap();
        let read = |name: String| PartName::parse(&name).unwrap();
        assert_eq!(read(format!("post.{ID}")), PartName::Run { kind: PartKind::Post, run_id, field: None });
        let outputs = PartName::Run { kind: PartKind::Patch, run_id, field: Some(Heavy::Outputs) };
        assert_eq!(read(format!("patch.{}.outputs", ID.replace('-', ""))), outputs);
        let file = PartName::Attachment { run_id, name: "a.png".to_owned() };
        assert_eq!(read(format!("attachment.{ID}.a.png")), file);
        assert_eq!(read("feedback.x".to_owned()), PartName::Feedback(None));
    }

    #[test]
    fn names_nobody_sends_are_refused_with_a_reason() {
        for name in ["", "post", "post.x", "put.x", &format!("attachment.{ID}"), &format!("post.{ID}.name")] {
            assert!(PartName::parse(name).is_err(), "{name}");
        }
    }
}
