//! What tests share.

pub(crate) mod cluster;
pub(crate) mod credentials;
pub(crate) mod home;
pub(crate) mod outbox;
pub(crate) mod postgres;
pub mod receiver;
pub mod s3;
pub(crate) mod samples;
pub mod server;
pub(crate) mod way;
