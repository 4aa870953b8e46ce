//! Statements that either database understands, word for word: this folder is a module of each backend, and `Connection`
//! is that backend's.

pub(super) mod catalog;
pub(super) mod datasets;
pub(super) mod errands;
pub(super) mod events;
pub(super) mod notices;
pub(super) mod subscriptions;

use super::{Connection, endpoints, fail_endpoints, store_told};

/// The next number of what is kept in the order in which it was made. Whoever takes one holds it until the commit, so
/// numbers are committed in their order.
const NUMBER: &str = "UPDATE counters SET value = value + 1 WHERE name = 'numbered' RETURNING value";

async fn number(connection: &mut Connection) -> crate::store::Result<i64> {
    Ok(sqlx::query_scalar(NUMBER).fetch_one(connection).await?)
}
