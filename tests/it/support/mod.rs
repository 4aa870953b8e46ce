//! What tests share.

pub mod receiver;
pub mod s3;
pub mod server;
