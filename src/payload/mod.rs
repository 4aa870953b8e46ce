//! Notification bodies: the documented payload of LangSmith's rule webhooks, key for key, with further keys after it.
//!
//! Promises: a run's JSON passes through byte for byte; for each of inputs and outputs exactly one holds (the value, a
//! link to it, or there was none); a message stays under its rule's limits unless a single run alone is larger; the
//! parts of a window hold its matches in order, each once. Bodies are built when a window is committed and hold places
//! for links; the links themselves are made when a message is sent. Never reads a blob, a clock or the network: what
//! must be uploaded first is handed back.

mod build;
mod chunk;
pub mod format;
mod links;
pub mod notice;
mod piece;
mod render;
pub mod sample;
pub mod stats;
mod wire;

pub use build::{Built, PayloadError, Request, Thread, Upload, build, build_without_uploads};
pub use render::render;
pub use wire::{ancestors, app_path};
