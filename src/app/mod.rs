//! The only place that wires: it opens what the parts need, hands it to them, and owns the loops.

mod data_dir;
mod engine;
mod key_file;
mod news;
mod premises;
mod receiver;
pub mod rules_folder;
mod running;
pub mod storage;
pub mod transfer;

pub use data_dir::{DataDir, DataDirError, Holder, database_in};
pub use engine::{Engine, StartError, check_bucket};
pub use key_file::{KeyFile, KeyFileError};
pub use receiver::{Answer, Arrival, LONGEST_BODY, Received, Receiver, Unread};
pub use running::{Running, ServeError, Start};
pub use storage::Storage;
