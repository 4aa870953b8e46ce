//! Ingest: what clients send becomes parts of runs and feedback, durable before it is acknowledged.
//!
//! Promises: a bad part of a request never sinks the good ones; every refusal says which part, which field and why;
//! no body is read past its limits, as sent or decompressed, nor past what all requests share; what a receipt counts is in the store. The same bytes
//! always become the same part with the same digest, so that repeats change nothing.
//!
//! Assumes that merging is the store's affair: nothing here looks at what is known of a run, except whether its start is
//! known already. Never parses inputs or outputs into a tree: they pass through as the
//! bytes that were sent, and leave for blob storage when they are large.

mod batch;
mod body;
mod budget;
mod decode;
pub(crate) mod depth;
mod error;
mod extract;
pub mod feedback;
pub mod feedback_token;
mod intake;
mod multipart;
pub(crate) mod normalise;
mod offload;
mod opening;
pub mod otlp;
mod part_name;
mod receipt;
pub mod rehearsal;
mod told;
pub(crate) mod value;

pub use body::Incoming;
pub use budget::Budget;
pub use error::{IngestError, Invalid};
pub use intake::{Intake, Single};
pub use receipt::{Receipt, Refused};
