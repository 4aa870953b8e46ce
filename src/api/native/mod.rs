//! Runhook's own API, at `/v1`.
