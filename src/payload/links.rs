//! How a value travels: inside the body, as a link to a blob, or not at all because there is none. Exactly one holds.

use bytes::Bytes;

use crate::blob::key_of;
use crate::model::json::RawJson;
use crate::model::run::{BlobKey, Payload, Run};
use crate::payload::piece::{LINK_BYTES, Object};
use crate::payload::{PayloadError, Upload};

/// How many bytes may travel inside a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of inputs and of outputs.
    payload: usize,
    /// Of `extra`, `events` and `serialized`.
    rest: usize,
}

impl Room {
    /// Nothing leaves, however large.
    pub(super) const UNBOUNDED: Self = Self { payload: usize::MAX, rest: usize::MAX };

    /// What is tried for a run, one after the other, until it fits: what the rule says; then inputs and outputs leave;
    /// then everything that can. What is no larger than a link never leaves.
    pub(super) fn narrowing(inline_bytes: u64) -> [Self; 3] {
        let payload = usize::try_from(inline_bytes).unwrap_or(usize::MAX);
        let small = payload.min(LINK_BYTES);
        [
            Self { payload, rest: usize::MAX },
            Self { payload: small, rest: usize::MAX },
            Self { payload: small, rest: LINK_BYTES },
        ]
    }
}

/// How a value travels.
pub(super) enum Carried<'a> {
    /// There is none.
    Nothing,
    /// Inside the body.
    Inline(&'a RawJson),
    /// As a link.
    Linked(BlobKey),
}

impl Carried<'_> {
    /// The value's own member: `null` unless it travels inside.
    pub(super) fn write(&self, object: &mut Object<'_>, name: &str) -> Result<(), PayloadError> {
        let inline = if let Self::Inline(value) = self { Some(*value) } else { None };
        object.raw(name, inline)
    }

    /// The member with the value's link: `null` unless it is one.
    pub(super) fn write_urls(&self, object: &mut Object<'_>, name: &str) -> Result<(), PayloadError> {
        match self {
            Self::Linked(key) => object.object(name, |urls| urls.object("ROOT", |root| write_link(root, key))),
            _ => object.raw(name, None),
        }
    }
}

/// The two members of a link: the URL to download from, and the blob's name.
pub(super) fn write_link(object: &mut Object<'_>, key: &BlobKey) -> Result<(), PayloadError> {
    object.link("presigned_url", key)?;
    object.member("s3_url", &key.0)
}

/// Decides how the values of one run travel, and collects what must be uploaded for it.
pub(super) struct Carrier<'a> {
    run: &'a Run,
    room: Room,
    uploads: Vec<Upload>,
}

impl<'a> Carrier<'a> {
    /// For this run, with this much room.
    pub(super) fn new(run: &'a Run, room: Room) -> Self {
        Self { run, room, uploads: Vec::new() }
    }

    /// Inputs or outputs.
    pub(super) fn payload(&mut self, field: &str, value: Option<&'a Payload>) -> Carried<'a> {
        match value {
            None => Carried::Nothing,
            Some(Payload::Blob(blob)) => Carried::Linked(blob.key.clone()),
            Some(Payload::Inline(value)) => self.fitted(field, value, self.room.payload),
        }
    }

    /// `extra`, `events` or `serialized`.
    pub(super) fn rest(&mut self, field: &str, value: Option<&'a RawJson>) -> Carried<'a> {
        value.map_or(Carried::Nothing, |value| self.fitted(field, value, self.room.rest))
    }

    /// What must be in blob storage before the body is committed.
    pub(super) fn uploads(self) -> Vec<Upload> {
        self.uploads
    }

    fn fitted(&mut self, field: &str, value: &'a RawJson, room: usize) -> Carried<'a> {
        let text = value.text();
        // What says nothing would be harder to read from behind a link, whatever the room.
        if text.len() <= room || value.is_hollow() {
            return Carried::Inline(value);
        }
        let key = key_of(self.run.tenant_id, self.run.id, field, text.as_bytes());
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.uploads.push(Upload { key: key.clone(), bytes, mime_type: "application/json".to_owned() });
        Carried::Linked(key)
    }
}
