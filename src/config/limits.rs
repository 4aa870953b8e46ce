//! Limits that users meet. Each has a default, a clear error and a metric.

use std::num::NonZeroU32;
use std::time::Duration;

/// Limits that users meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body as sent.
    pub request_bytes: u64,
    /// Bytes of a request's body after decompression.
    pub decompressed_bytes: u64,
    /// Runs in one request.
    pub runs_per_request: u32,
    /// Depth of nested JSON.
    pub json_depth: u32,
    /// Bytes of inputs or outputs above which they leave for blob storage.
    pub offload_bytes: u64,
    /// Bytes of the extract of offloaded inputs or outputs that filters see.
    pub extract_bytes: u64,
    /// Bytes of one attachment.
    pub attachment_bytes: u64,
    /// Requests being decoded at a time; more are answered 429 before they are read.
    pub concurrent_requests: u32,
    /// Bytes of request bodies in memory at a time, decompressed; more are answered 429.
    pub inflight_bytes: u64,
    /// Rules of a tenant.
    pub rules_per_tenant: u32,
    /// Endpoints of a tenant, those that are written in its rules among them.
    pub endpoints_per_tenant: u32,
    /// Alerts of a tenant.
    pub alerts_per_tenant: u32,
    /// Headers of an endpoint.
    pub headers_per_endpoint: u32,
    /// Bytes of a header's value.
    pub header_bytes: u32,
    /// Bytes of a URL.
    pub url_bytes: u32,
    /// Changes looked at in one window.
    pub changes_per_window: u32,
    /// Turns of a thread that a rule on threads looks at; those that started before are passed over.
    pub turns_per_thread: u32,
    /// Deliveries being sent at a time.
    pub concurrent_deliveries: u32,
    /// Deliveries being sent to one endpoint at a time.
    pub concurrent_deliveries_per_endpoint: u32,
    /// Deliveries sent to one endpoint in a second, unless it says another rate; none: as it takes them.
    pub deliveries_per_second_per_endpoint: Option<NonZeroU32>,
    /// Bytes read of an endpoint's answer.
    pub response_bytes: u32,
    /// How long a link to a blob works.
    pub link_lasts: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 32 * 1024 * 1024,
            decompressed_bytes: 100 * 1024 * 1024,
            runs_per_request: 10_000,
            json_depth: 128,
            offload_bytes: 64 * 1024,
            extract_bytes: 16 * 1024,
            attachment_bytes: 20 * 1024 * 1024,
            concurrent_requests: 256,
            inflight_bytes: 512 * 1024 * 1024,
            rules_per_tenant: 10_000,
            endpoints_per_tenant: 20_000,
            alerts_per_tenant: 200,
            headers_per_endpoint: 64,
            header_bytes: 8 * 1024,
            url_bytes: 4 * 1024,
            changes_per_window: 10_000,
            turns_per_thread: 1_000,
            concurrent_deliveries: 256,
            concurrent_deliveries_per_endpoint: 32,
            deliveries_per_second_per_endpoint: None,
            response_bytes: 16 * 1024,
            link_lasts: Duration::from_hours(24),
        }
    }
}
