//! What is remembered, as intents: each operation is one transaction that keeps one promise.
//!
//! `Arc<dyn Store>` is the seam between the engine and its database. A trait below is one concern; a method is one
//! intent, durable when it returns. Nothing here opens a secret, reads a clock or makes a decision that belongs to the
//! scheduler or to delivery. What a backend must do is written once, as the conformance suite in `tests/it/store/`.

mod accept;
pub mod alerts;
pub mod audit;
mod body;
pub mod catalog;
pub mod collections;
mod error;
pub mod events;
pub mod failed;
mod failure;
pub mod feedback_tokens;
mod group;
pub mod keys;
pub mod names;
pub mod outbox;
pub mod placement;
pub mod postgres;
pub mod projects;
mod records;
pub mod retention;
mod revision;
mod row;
pub mod rule_log;
pub mod rules;
pub mod runs;
pub mod search;
pub mod sqlite;
pub mod threads;
pub mod transfer;
mod versions;
mod weight;
pub mod windows;

pub use alerts::AlertStore;
pub use audit::AuditStore;
pub use catalog::CatalogStore;
pub use collections::CollectionStore;
pub use error::{Result, StoreError};
pub use events::EventStore;
pub use failed::FailedStore;
pub use feedback_tokens::FeedbackTokenStore;
pub use keys::KeyStore;
pub use names::NameStore;
pub use outbox::OutboxStore;
pub use projects::ProjectStore;
pub use retention::RetentionStore;
pub use rule_log::RuleLogStore;
pub use rules::RuleStore;
pub use runs::RunStore;
pub use threads::ThreadStore;
pub use windows::WindowStore;

/// Everything the engine asks of its database.
pub trait Store:
    RunStore
    + ThreadStore
    + FeedbackTokenStore
    + ProjectStore
    + RuleStore
    + RuleLogStore
    + WindowStore
    + AlertStore
    + OutboxStore
    + FailedStore
    + CollectionStore
    + CatalogStore
    + EventStore
    + KeyStore
    + AuditStore
    + NameStore
    + RetentionStore
{
}

impl<T> Store for T where
    T: RunStore
        + ThreadStore
        + FeedbackTokenStore
        + ProjectStore
        + RuleStore
        + RuleLogStore
        + WindowStore
        + AlertStore
        + OutboxStore
        + FailedStore
        + CollectionStore
        + CatalogStore
        + EventStore
        + KeyStore
        + AuditStore
        + NameStore
        + RetentionStore
{
}
