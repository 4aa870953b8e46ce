//! What the scheduler promises, on a real database: every run that matches is told once per rule, in one window.

mod arrival;
mod catching_up;
mod crashes;
pub(crate) mod faults;
mod model_check;
mod passed_on;
mod placing;
mod promises;
mod sharing;
mod thread_model;
mod threads;
mod traces;
mod world;
