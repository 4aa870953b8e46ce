//! The words of Runhook as types: what a run, a rule, a window, a message and a delivery are.
//!
//! Everything here is pure. No I/O, no clock reads, no randomness: time enters through [`time::Clock`], which only the
//! outermost modules hold. A value of a type in this module satisfies its invariants; nothing downstream checks again.

pub mod alert;
pub mod amount;
pub mod audit;
pub mod collection;
pub mod cron;
pub mod delivery;
pub mod dotted_order;
pub mod endpoint;
pub mod event;
pub mod feedback;
pub mod glob;
pub mod health;
pub mod id;
pub mod json;
pub mod merge;
pub mod message;
pub mod pace;
pub mod price;
pub mod problem;
pub mod project;
pub mod rule;
pub mod run;
pub mod scope;
pub mod sealed;
pub mod signing;
pub mod thread;
pub mod time;
pub mod usage;
pub mod window;
