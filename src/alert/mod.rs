//! Alerts: once a minute a number over the last minutes of a project, and a notice when it crosses its threshold, and
//! another when it is back.
//!
//! A run counts in the minute in which its end arrived, by the clock that orders changes; client clocks decide nothing.
//! What a minute holds is counted once, from the changes behind the last one that was seen, and kept: a window is a sum
//! of minutes, so its length costs nothing. Minutes begin where clocks say they do, and a new alert counts the minutes
//! before it too. So the answer for a minute does not depend on when the alert was made, on when it was evaluated, or on
//! how often a process died; a project in which nothing can change the answer is not looked at.
//!
//! Counting is [`measure`]'s, judging [`judge`]'s, which is pure, and wording [`notice`]'s. Standing, message and
//! deliveries are committed together by whoever first replaces the version it evaluated, so each change of state is told
//! once, however many replicas watch. From there on a message is one like any other.

pub mod judge;
mod measure;
pub mod notice;
mod task;

pub use task::{Parts, Watcher};
