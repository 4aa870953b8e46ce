//! The configuration: one YAML file, flags and their environment twins, with every default stated here.

mod limits;

pub use limits::Limits;
