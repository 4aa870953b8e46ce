//! filter_language.
