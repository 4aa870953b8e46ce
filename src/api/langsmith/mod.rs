//! The LangSmith-compatible surface, at the root and under its prefixes.
