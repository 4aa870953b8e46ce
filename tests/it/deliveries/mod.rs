//! Delivery: what is sent, to whom, how often, and what is remembered of it.

mod attempts;
mod certificates;
mod commands;
mod given_up;
mod hostile;
mod house;
mod isolation;
mod outbox;
mod proxied;
mod remembered;
mod sending;
mod stage;
mod subscribed;
mod targets;
