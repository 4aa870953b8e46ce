//! Everything that needs real parts: a database file, a socket, a process.

mod architecture;
mod blobs;
mod command_line;
mod deliveries;
mod filter_language;
mod ingest;
mod payloads;
mod rule_files;
mod scheduling;
mod store;
mod support;
