//! Retention: what is past its age leaves, a little at a time.
//!
//! It promises that what is pending or unseen never goes: a run stays until every rule that watches its project has seen
//! its newest change, and its trace has been quiet for as long as the configuration says; a message stays until the last
//! of its deliveries has ended; a match stays while its run does, and for a while after; a blob stays while anything names
//! it. It assumes nothing about who else does the same: every step is one bounded transaction that looks at what is there
//! now, so any number of replicas may run it, and dying between two steps, or in one, costs nothing but time. It never
//! holds the database for longer than a batch takes, and leaves it alone three times as long as it took.
//!
//! # Why no blob is deleted that somebody is about to name
//!
//! A blob is put before the transaction that names it is committed, so for a moment nothing names it. It is deleted only
//! if it was last put longer ago than the configured time, an hour at least, if after that was found out nothing named
//! it, and if it still has not been put when it is deleted. So whoever put it last either has committed by then, and is
//! seen, or takes longer than that time between the two, which no request and no evaluation does: both give up within
//! minutes. A message may also name a blob that it never put, because its run named it when it was read; so of a run that
//! has changed within that time no blob is deleted, whoever names it.

mod seen;
mod sweep;
mod task;

pub use task::{Keeper, Parts};
