//! Delivery: leased, concurrent, at least once; the outcome of every attempt is a row.
//!
//! [`Sender`] claims deliveries that are due and makes their attempts, each in a task of its own, so a slow endpoint
//! holds a slot and nothing else. No transaction is open while a request is under way. The outcome is recorded by the
//! holder of the lease alone; whoever lost it drops what it knows. A process that dies between sending and recording
//! has the request sent again, with the same `webhook-id`, when the lease expires or is void: that is the "at least" of
//! at least once.
//!
//! What an endpoint does cannot reach further than its attempts: it never gets all slots, however long its backlog is, one
//! that fails is left alone for a while ([`breaker`]) and in the end given up ([`aftermath`]), every wait has a limit ([`policy`]), its answer is read up to a limit and dropped, redirects are not followed, and
//! only addresses the guard has vetted are connected to ([`guard`], [`lookup`]). Secrets are opened for the deliveries of
//! one claim ([`opening`]) and are in no error, log or metric.

mod aftermath;
mod attempt;
mod breaker;
pub mod client;
pub mod guard;
pub mod lookup;
pub mod masks;
mod opening;
pub mod policy;
mod probe;
mod rate;
mod recorder;
pub mod request;
mod share;
mod slots;
mod task;
mod turns;

pub use aftermath::Conduct;
pub use client::{Client, Clients};
pub use guard::{Forbidden, Guard};
pub use lookup::Vetting;
pub use policy::patience;
pub use probe::{Probe, probe, send};
pub use task::{Parts, Sender};
