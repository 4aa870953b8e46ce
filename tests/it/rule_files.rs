//! rule_files.
