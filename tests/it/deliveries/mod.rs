//! Delivery: what is sent, to whom, how often, and what is remembered of it.

mod attempts;
mod commands;
mod house;
mod outbox;
mod remembered;
mod sending;
mod stage;
mod targets;
