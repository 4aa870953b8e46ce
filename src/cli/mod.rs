//! The command line: one file for each command.
//!
//! Commands that read or change state speak HTTP to a server (`--server`), or to the same routes in process on the
//! data directory: one code path for both.

pub mod client;
