//! The merge laws: post, patch and repeats in any order give the same run.
//!
//! A run is kept as two layers. A post speaks for the lower one, a patch for the upper; the upper wins field by field,
//! and `extra` key by key (one level into `metadata`). `null` and absent are "no word". A hollow value (`{}`, `[]`)
//! never replaces a full one. Within a layer the later to arrive wins, and a part whose digest was seen is not applied
//! again; so only two *different* patches that disagree about one field depend on the order of their arrival, which is
//! what a client that patches twice means.

use crate::model::run::{Layers, Part};

/// What applying a part did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was new.
    Changed,
    /// It had been applied before.
    Repeat,
}

impl Layers {
    /// Applies a part.
    pub fn apply(&mut self, _part: Part) -> Applied {
        unimplemented!()
    }
}
