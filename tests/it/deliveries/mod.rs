//! Delivery: what is sent, to whom, how often, and what is remembered of it.

mod attempts;
mod outbox;
mod sending;
mod stage;
mod targets;
