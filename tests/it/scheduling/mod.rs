//! What the scheduler promises, on a real database: every run that matches is told once per rule, in one window.

mod catching_up;
mod crashes;
pub(crate) mod faults;
mod model_check;
mod passed_on;
mod placing;
mod promises;
mod sharing;
mod traces;
mod world;
