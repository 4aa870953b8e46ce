//! Runhook: rules over LLM and agent runs, answered by batched, retried webhooks.
//!
//! Data flows one way: a run enters through [`api`] and [`ingest`], is kept by [`store`] with a numbered change, is
//! matched by [`scheduler`] with [`matcher`], and leaves as a message through [`delivery`]. The parts meet in rows.

pub mod alert;
pub mod api;
pub mod app;
pub mod blob;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod delivery;
pub mod filter;
pub mod ingest;
pub mod matcher;
pub mod model;
pub mod payload;
pub mod query;
pub mod retention;
pub mod rule_file;
pub mod scheduler;
pub mod store;
pub mod task;
pub mod telemetry;
