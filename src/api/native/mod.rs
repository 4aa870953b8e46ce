//! Runhook's own API, at `/v1`.

pub mod deliveries;
