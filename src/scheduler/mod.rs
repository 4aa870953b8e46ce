//! The scheduler: turns changes into windows, and windows into matches and messages.
//!
//! It promises that every run that matches a rule is in exactly one window of that rule, and that its messages are
//! there exactly when the window is. It assumes that a project's changes are numbered in the order in which they
//! become visible. It never decides by a client's clock, never asks for something rule by rule, and never talks to an
//! endpoint: it leaves rows and a poke for delivery.
//!
//! [`cadence`] says when something is due, [`plan`] what there is to look at, [`look`] shows it to the rules,
//! [`evaluate`] commits what they found, [`shares`] says whose turn it is, [`task`] is the loop around it. The first two
//! are pure.

mod audience;
mod cadence;
mod evaluate;
mod look;
mod plan;
mod sample;
mod shares;
mod task;

pub use task::{Parts, Scheduler};
