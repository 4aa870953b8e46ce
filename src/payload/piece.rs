//! JSON in the making: text, and the places in it where links will go.

use serde::Serialize;

use crate::model::json::RawJson;
use crate::model::message::{Body, Link};
use crate::model::run::BlobKey;
use crate::payload::PayloadError;

/// What a link is expected to take: a presigned URL with a session token.
pub(super) const LINK_BYTES: usize = 2048;

type Result = std::result::Result<(), PayloadError>;

/// One JSON value with places for links.
#[derive(Debug, Default)]
pub(super) struct Piece {
    json: String,
    links: Vec<Link>,
}

impl Piece {
    /// A piece that is one object.
    pub(super) fn object(write: impl FnOnce(&mut Object<'_>) -> Result) -> std::result::Result<Self, PayloadError> {
        let mut piece = Self::default();
        piece.push_object(write)?;
        Ok(piece)
    }

    /// How large it will be with its links.
    pub(super) fn weight(&self) -> usize {
        self.json.len().saturating_add(self.links.len().saturating_mul(LINK_BYTES))
    }

    /// The finished body.
    pub(super) fn into_body(self) -> Body {
        Body { json: self.json, links: self.links }
    }

    fn push_object(&mut self, write: impl FnOnce(&mut Object<'_>) -> Result) -> Result {
        self.json.push('{');
        write(&mut Object { piece: self, empty: true })?;
        self.json.push('}');
        Ok(())
    }

    fn push_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.json.push_str(&serde_json::to_string(value)?);
        Ok(())
    }

    fn push_piece(&mut self, piece: &Self) {
        let base = self.json.len();
        self.json.push_str(&piece.json);
        self.links
            .extend(piece.links.iter().map(|link| Link { at: base.saturating_add(link.at), key: link.key.clone() }));
    }
}

/// An object being written, member by member.
pub(super) struct Object<'a> {
    piece: &'a mut Piece,
    empty: bool,
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> Result {
        if !std::mem::replace(&mut self.empty, false) {
            self.piece.json.push(',');
        }
        self.piece.push_value(name)?;
        self.piece.json.push(':');
        Ok(())
    }

    /// A member.
    pub(super) fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result {
        self.name(name)?;
        self.piece.push_value(value)
    }

    /// A member in its sender's own bytes; `null` when there is none.
    pub(super) fn raw(&mut self, name: &str, value: Option<&RawJson>) -> Result {
        self.name(name)?;
        self.piece.json.push_str(value.map_or("null", RawJson::text));
        Ok(())
    }

    /// A member that is an object.
    pub(super) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>) -> Result) -> Result {
        self.name(name)?;
        self.piece.push_object(write)
    }

    /// A member that is an array of pieces.
    pub(super) fn array(&mut self, name: &str, pieces: &[Piece]) -> Result {
        self.name(name)?;
        self.piece.json.push('[');
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                self.piece.json.push(',');
            }
            self.piece.push_piece(piece);
        }
        self.piece.json.push(']');
        Ok(())
    }

    /// A member that will be a link to a blob.
    pub(super) fn link(&mut self, name: &str, key: &BlobKey) -> Result {
        self.name(name)?;
        self.piece.json.push('"');
        self.piece.links.push(Link { at: self.piece.json.len(), key: key.clone() });
        self.piece.json.push('"');
        Ok(())
    }
}
