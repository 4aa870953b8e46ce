//! A running engine: in process, or as the real binary.
