//! What was written: calls, lists and literals, each with its place. Nothing here knows what a name means.

use std::ops::Range;

use crate::filter::value::{Number, Unit};

/// A part of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its bytes.
    pub(crate) span: Range<usize>,
}

/// What a part of the text is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// `name(argument, ...)`
    Call(Call),
    /// `[literal, ...]`
    List(Vec<Node>),
    /// Quoted text.
    Text(String),
    /// A name, a path, or text without quotes: its place decides.
    Word(String),
    /// A number, perhaps with a unit.
    Number(Number, Option<Unit>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// Something wrong, already reported.
    Bad,
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The name of what is called.
    pub(crate) name: String,
    /// Where that name stands.
    pub(crate) name_span: Range<usize>,
    /// What it is given.
    pub(crate) args: Vec<Node>,
}
