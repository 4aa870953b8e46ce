//! rule_file.
