//! Everything that needs real parts: a database file, a socket, a process.

#![expect(
    clippy::cognitive_complexity,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "all of this crate is tests: what goes wrong in one is a panic with the place it happened"
)]

mod alerts;
mod architecture;
mod audit;
mod blobs;
mod buckets;
mod command_line;
mod databases;
mod deliveries;
mod deployment;
mod embedded;
mod endpoints;
mod exporters;
mod failover;
mod filter_language;
mod ingest;
mod langsmith_sdk;
mod large_runs;
mod listening;
mod matching;
mod migrations;
mod misuse;
mod payloads;
mod pgbouncer;
mod published_receivers;
mod removal;
mod replicas;
mod retention;
mod rotation;
mod rule_files;
mod rules_api;
mod scheduling;
mod scopes;
mod secrets;
mod serving;
mod skew;
mod store;
mod subscriptions;
mod support;
mod survival;
mod tls;
mod transfer;
mod upgrades;
mod whole_rules;
