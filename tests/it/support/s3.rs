//! An S3 server in process.
