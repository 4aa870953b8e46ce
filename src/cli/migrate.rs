//! `runhook migrate`: brings the database's schema up to date. `serve` does it too; this does nothing else.
