//! The catalogue: which kinds of events there are, and what their payloads must hold.
//!
//! A tenant writes event types of its own, with JSON Schemas (draft 7) by version; those of Runhook itself and those of
//! Argilla are in every tenant's catalogue and cannot be changed. Everything here is pure: schemas come in as text, nothing
//! is fetched, and what checking one takes is bounded before it is stored.

pub mod built_in;
pub mod schema;

pub use built_in::{ARGILLA, Origin, built_in, is_own, is_reserved};
pub use schema::{Invalid, InvalidSchema, Schema};
