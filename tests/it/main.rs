//! Everything that needs real parts: a database file, a socket, a process.

mod support;
