//! What tests share.

pub mod receiver;
pub mod s3;
pub(crate) mod samples;
pub mod server;
