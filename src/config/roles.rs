//! Roles: which routes and loops a replica runs. A replica that is told nothing runs all of them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// One thing a replica can do for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Answers the LangSmith paths: takes runs, feedback and projects in, and gives them back.
    Ingest,
    /// Matches runs against rules and writes messages.
    Scheduler,
    /// Sends messages.
    Delivery,
    /// Answers `/v1`, and keeps the rules to the folder of rules.
    Api,
}

/// The roles of a replica; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

/// The text names no roles, or one that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRoles(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Scheduler, Self::Delivery, Self::Api];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Scheduler => "scheduler",
            Self::Delivery => "delivery",
            Self::Api => "api",
        }
    }
}

impl Roles {
    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// All there are, in order.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// Those that are not among them.
    pub fn lacking(&self) -> impl Iterator<Item = Role> + '_ {
        Role::ALL.into_iter().filter(|role| !self.has(*role))
    }

    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRoles> {
        let mut roles = Vec::new();
        for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
            match Role::ALL.into_iter().find(|role| role.name() == name) {
                Some(role) => roles.push(role),
                None if name == "all" => roles.extend(Role::ALL),
                None => return Err(unknown(name)),
            }
        }
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() {
            return Err(InvalidRoles(format!("a replica without a role does nothing: name some of {}", known())));
        }
        Ok(Self(roles))
    }
}

fn known() -> String {
    Role::ALL.map(Role::name).join(", ")
}

fn unknown(name: &str) -> InvalidRoles {
    let names = Role::ALL.map(Role::name);
    let near = names.iter().chain(&["all"]).map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    let name: String = name.chars().take(32).collect();
    InvalidRoles(match near {
        Some((distance, known)) if distance <= 3 && distance < name.chars().count() => {
            format!("unknown role `{name}`; did you mean `{known}`?")
        }
        _ => format!("unknown role `{name}`; known: {}, or all", known()),
    })
}

impl Default for Roles {
    fn default() -> Self {
        Self(Role::ALL.to_vec())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Roles {
    type Err = InvalidRoles;

    fn from_str(text: &str) -> Result<Self, InvalidRoles> {
        Self::of(text.split(','))
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::of(names.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Roles {
    fn schema_name() -> Cow<'static, str> {
        "Roles".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Role::ALL.map(Role::name).into_iter().chain(["all"]).collect();
        json_schema!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": names}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_in_any_order_and_shown_in_one() {
        let roles: Roles = "delivery, ingest,ingest".parse().unwrap();
        assert_eq!(roles.to_string(), "ingest,delivery");
        assert_eq!(roles.lacking().collect::<Vec<_>>(), [Role::Scheduler, Role::Api]);
        assert_eq!("all".parse(), Ok(Roles::default()));
    }

    #[test]
    fn an_unknown_role_is_answered_with_a_suggestion() {
        let message = |text: &str| text.parse::<Roles>().unwrap_err().to_string();
        assert_eq!(message("ingest,sheduler"), "unknown role `sheduler`; did you mean `scheduler`?");
        assert!(message("web").contains("known: ingest, scheduler, delivery, api, or all"), "{}", message("web"));
        assert!(message(" , ").contains("name some of"));
    }
}
