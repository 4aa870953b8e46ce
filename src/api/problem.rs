//! Errors of the native API: RFC 9457 problems with a stable code, a hint and a request id.
