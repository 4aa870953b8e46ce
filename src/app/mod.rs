//! app.

pub mod rules_folder;
