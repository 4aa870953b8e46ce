//! What the holder of an API key may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a key may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Adding and amending runs, feedback, projects, datasets and queues.
    Ingest,
    /// Looking at them, and at rules, endpoints and deliveries.
    Read,
    /// Rules, endpoints, replays, keys, and whatever removes.
    Manage,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Manage];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The scopes of a key: one at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(Vec<Scope>);

/// That a list of scopes is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("scopes are one or more of `ingest`, `read` and `manage`")]
pub struct InvalidScopes;

impl Scopes {
    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Self(Scope::ALL.to_vec())
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl TryFrom<Vec<Scope>> for Scopes {
    type Error = InvalidScopes;

    fn try_from(mut scopes: Vec<Scope>) -> Result<Self, InvalidScopes> {
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() { Err(InvalidScopes) } else { Ok(Self(scopes)) }
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

/// As they are stored: `ingest,read`.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Scopes {
    type Err = InvalidScopes;

    fn from_str(text: &str) -> Result<Self, InvalidScopes> {
        let named = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name).ok_or(InvalidScopes);
        text.split(',').map(|name| named(name.trim())).collect::<Result<Vec<_>, _>>()?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written_whatever_their_order() {
        let scopes: Scopes = "read, ingest,read".parse().unwrap();
        assert_eq!(scopes.to_string(), "ingest,read");
        assert!(scopes.has(Scope::Read) && !scopes.has(Scope::Manage));
        assert_eq!(Scopes::all().to_string().parse(), Ok(Scopes::all()));
        for wrong in ["", "admin", "read,", "READ"] {
            assert_eq!(wrong.parse::<Scopes>(), Err(InvalidScopes), "{wrong}");
        }
    }
}
