//! `runhook doctor`.
