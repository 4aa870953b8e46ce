//! Which scope each route needs: one table, asked by whoever finds out who calls (`auth`).
//!
//! In words: `ingest` adds and amends what is watched, `read` looks, `manage` decides what is sent where, removes, and
//! makes keys. A route that is not in the table needs `manage`; a test walks all routes and finds those that are missing.

use axum::http::Method;

use crate::model::scope::Scope::{self, Ingest, Manage, Read};

/// Methods of a route, its path as it is routed, and the scope they need.
type Need = (&'static str, &'static str, Scope);

const LANGSMITH: &[Need] = &[
    ("POST", "/runs", Ingest),
    ("POST", "/runs/batch", Ingest),
    ("POST", "/runs/multipart", Ingest),
    ("GET", "/runs/{id}", Read),
    ("PATCH", "/runs/{id}", Ingest),
    ("POST", "/runs/query", Read),
    ("POST", "/runs/query/validate", Read),
    ("POST", "/runs/stats", Read),
    ("POST", "/runs/delete", Manage),
    ("POST", "/runs/group", Read),
    ("POST", "/runs/group/stats", Read),
    ("POST", "/v2/runs/query", Read),
    ("GET", "/v2/runs/{id}", Read),
    ("GET", "/runs/rules", Read),
    ("POST", "/runs/rules", Manage),
    ("POST", "/runs/rules/trigger", Manage),
    ("PATCH DELETE", "/runs/rules/{id}", Manage),
    ("POST", "/runs/rules/{id}/trigger", Manage),
    ("GET", "/runs/rules/{id}/logs", Read),
    ("GET", "/runs/rules/{id}/logs/v2", Read),
    ("GET", "/runs/rules/{id}/last_applied", Read),
    ("POST", "/v1/platform/alerts/{session_id}", Manage),
    ("POST", "/v1/platform/alerts/{session_id}/test", Manage),
    ("GET", "/v1/platform/alerts/{session_id}/{alert_id}", Read),
    ("PATCH DELETE", "/v1/platform/alerts/{session_id}/{alert_id}", Manage),
    ("POST", "/platform/alerts/{session_id}", Manage),
    ("POST", "/platform/alerts/{session_id}/test", Manage),
    ("GET", "/platform/alerts/{session_id}/{alert_id}", Read),
    ("PATCH DELETE", "/platform/alerts/{session_id}/{alert_id}", Manage),
    ("GET", "/sessions", Read),
    ("POST", "/sessions", Ingest),
    ("GET", "/sessions/{id}", Read),
    ("PATCH", "/sessions/{id}", Ingest),
    ("DELETE", "/sessions/{id}", Manage),
    ("GET", "/settings", Read),
    ("GET", "/feedback", Read),
    ("POST", "/feedback", Ingest),
    ("GET", "/feedback/{id}", Read),
    ("PATCH", "/feedback/{id}", Ingest),
    ("DELETE", "/feedback/{id}", Manage),
    ("GET", "/feedback/tokens", Read),
    ("POST", "/feedback/tokens", Ingest),
    ("GET", "/datasets", Read),
    ("POST", "/datasets", Ingest),
    ("GET", "/datasets/{id}", Read),
    ("PATCH", "/datasets/{id}", Ingest),
    ("DELETE", "/datasets/{id}", Manage),
    ("GET", "/examples", Read),
    ("POST", "/examples", Ingest),
    ("POST", "/examples/bulk", Ingest),
    ("GET", "/examples/{id}", Read),
    ("PATCH", "/examples/{id}", Ingest),
    ("DELETE", "/examples/{id}", Manage),
    ("GET", "/annotation-queues", Read),
    ("POST", "/annotation-queues", Ingest),
    ("GET", "/annotation-queues/{id}", Read),
    ("PATCH", "/annotation-queues/{id}", Ingest),
    ("DELETE", "/annotation-queues/{id}", Manage),
    ("GET", "/annotation-queues/{id}/runs", Read),
    ("POST", "/annotation-queues/{id}/runs", Ingest),
    ("POST", "/annotation-queues/{id}/runs/by-key", Ingest),
    ("DELETE", "/annotation-queues/{id}/runs/{run_id}", Manage),
    ("GET", "/annotation-queues/{id}/run/{index}", Read),
];

const OTLP: &[Need] =
    &[("POST", "/otel/v1/traces", Ingest), ("POST", "/v1/traces", Ingest), ("POST", "/traces", Ingest)];

const NATIVE: &[Need] = &[
    ("GET", "/v1/runs", Read),
    ("GET", "/v1/runs/{id}", Read),
    ("POST", "/v1/runs/import", Ingest),
    ("POST", "/v1/filter/match", Read),
    ("GET", "/v1/status", Read),
    ("GET", "/v1/alerts", Read),
    ("GET", "/v1/rules", Read),
    ("GET", "/v1/rules/{key}", Read),
    ("GET", "/v1/rules/export", Read),
    ("POST", "/v1/rules/apply", Manage),
    ("POST", "/v1/rules/{key}/pause", Manage),
    ("POST", "/v1/rules/{key}/resume", Manage),
    ("GET", "/v1/endpoints", Read),
    ("POST", "/v1/endpoints", Manage),
    ("GET", "/v1/endpoints/{key}", Read),
    ("PATCH DELETE", "/v1/endpoints/{key}", Manage),
    ("POST", "/v1/endpoints/{key}/test", Manage),
    ("POST", "/v1/endpoints/{key}/preview", Read),
    ("POST", "/v1/endpoints/{key}/disable", Manage),
    ("POST", "/v1/endpoints/{key}/enable", Manage),
    ("POST", "/v1/endpoints/{key}/rotate-secret", Manage),
    ("GET", "/v1/deliveries", Read),
    ("GET", "/v1/deliveries/{id}", Read),
    ("GET", "/v1/deliveries/failed", Read),
    ("POST", "/v1/deliveries/replay", Manage),
    ("GET", "/v1/audit", Manage),
    ("GET POST", "/v1/api-keys", Manage),
    ("DELETE", "/v1/api-keys/{id}", Manage),
    ("GET", "/v1/keys", Manage),
    ("POST", "/v1/keys/rotate", Manage),
    ("POST", "/v1/wipe", Manage),
];

/// Whoever reads an endpoint here reads its URL, and listeners read their secrets: that is for those who manage.
const SUBSCRIPTIONS: &[Need] = &[
    ("GET", "/v1/event-types", Read),
    ("GET", "/event-type", Read),
    ("POST", "/event-type", Manage),
    ("GET", "/event-type/{name}", Read),
    ("PUT PATCH DELETE", "/event-type/{name}", Manage),
    ("GET", "/app", Read),
    ("POST", "/app", Manage),
    ("GET", "/app/{app}", Read),
    ("PUT PATCH DELETE", "/app/{app}", Manage),
    ("GET", "/app/{app}/msg", Read),
    ("POST", "/app/{app}/msg", Ingest),
    ("GET", "/app/{app}/msg/{msg}", Read),
    ("GET", "/app/{app}/msg/{msg}/endpoint", Manage),
    ("POST", "/app/{app}/msg/{msg}/endpoint/{endpoint}/resend", Manage),
    ("GET", "/app/{app}/msg/{msg}/attempt/{attempt}", Manage),
    ("GET", "/app/{app}/attempt/msg/{msg}", Manage),
    ("GET", "/app/{app}/attempt/endpoint/{endpoint}", Manage),
    ("GET POST", "/app/{app}/endpoint", Manage),
    ("GET PUT PATCH DELETE", "/app/{app}/endpoint/{endpoint}", Manage),
    ("GET", "/app/{app}/endpoint/{endpoint}/headers", Read),
    ("PUT PATCH", "/app/{app}/endpoint/{endpoint}/headers", Manage),
    ("GET", "/app/{app}/endpoint/{endpoint}/secret", Manage),
    ("POST", "/app/{app}/endpoint/{endpoint}/secret/rotate", Manage),
    ("GET", "/app/{app}/endpoint/{endpoint}/stats", Read),
    ("GET", "/app/{app}/endpoint/{endpoint}/attempt-stats", Read),
    ("POST", "/app/{app}/endpoint/{endpoint}/recover", Manage),
    ("POST", "/app/{app}/endpoint/{endpoint}/replay-missing", Manage),
    ("POST", "/app/{app}/endpoint/{endpoint}/bulk-replay", Manage),
    ("POST", "/app/{app}/endpoint/{endpoint}/send-example", Manage),
    ("GET", "/app/{app}/endpoint/{endpoint}/msg", Read),
    ("GET", "/background-task", Read),
    ("GET", "/background-task/{task}", Read),
    ("GET", "/me", Read),
    ("GET POST", "/webhooks", Manage),
    ("PATCH DELETE", "/webhooks/{id}", Manage),
    ("POST", "/webhooks/{id}/ping", Manage),
];

/// The scope that a request to a route needs.
pub(super) fn scope(method: &Method, route: &str) -> Scope {
    // What answers GET answers HEAD with the same and no body.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let found = [LANGSMITH, OTLP, NATIVE, SUBSCRIPTIONS]
        .into_iter()
        .flatten()
        .find(|(methods, path, _)| *path == route && methods.split(' ').any(|name| name == method));
    found.map_or(Manage, |(_, _, scope)| *scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_is_not_in_the_table_needs_the_most() {
        assert_eq!(scope(&Method::HEAD, "/runs/{id}"), Read);
        assert_eq!(scope(&Method::PATCH, "/runs/{id}"), Ingest);
        assert_eq!(scope(&Method::DELETE, "/runs/{id}"), Manage);
        assert_eq!(scope(&Method::GET, "/v1/something/new"), Manage);
    }
}
