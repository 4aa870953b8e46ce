//! Taking runs and feedback in through the real routes, into a real database and a real directory of blobs.

mod bodies;
mod costs;
pub(crate) mod engine;
mod feedback;
mod laws;
mod multipart;
mod otlp;
mod overload;
mod queries;
mod records;
mod refusals;
mod replay;
mod surface;
