//! Delivery: leased, concurrent, at least once; the outcome of every attempt is a row.

mod guard;

pub use guard::Guard;
