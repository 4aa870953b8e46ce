//! The setting that says where the database is: `sqlite://PATH`, or `postgres://USER@HOST/DATABASE`.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use url::Url;

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DatabaseUrl {
    /// A file of this machine, which one process owns.
    Sqlite(PathBuf),
    /// A PostgreSQL that any number of replicas share.
    Postgres(PostgresUrl),
}

/// The URL of a PostgreSQL. `Debug` and `Display` show host, port and database; the whole may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: Url,
    behind_pgbouncer: bool,
}

/// What may stand after the `?`. Anything else is a slip, whose value would be a secret at worst.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Says that PgBouncer is between, which hands out connections for a transaction at a time.
const PGBOUNCER: &str = "pgbouncer";

impl PostgresUrl {
    /// The whole URL, for whoever connects.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.url.as_str()
    }

    /// Whether PgBouncer in transaction mode is between.
    #[must_use]
    pub fn behind_pgbouncer(&self) -> bool {
        self.behind_pgbouncer
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
        write!(f, "postgres://{host}:{}{}", self.url.port().unwrap_or(5432), self.url.path())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text does not say where the database is. Never quotes it: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database URL {0}; write `sqlite://PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`")]
pub struct InvalidDatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let text = text.trim();
        let wrong = |reason: &str| Err(InvalidDatabaseUrl(reason.to_owned()));
        match text.split_once("://") {
            Some(("sqlite", "")) => wrong("names no file"),
            Some(("sqlite", path)) if path.contains('?') => wrong("has parameters, and a file takes none"),
            Some(("sqlite", path)) => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("postgres" | "postgresql", _)) => postgres(text).map(Self::Postgres),
            _ if text.starts_with("${") => wrong("holds ${...} in quotes, which keep it as it is: remove the quotes"),
            Some(_) => wrong("has an unknown scheme"),
            None => wrong("has no scheme"),
        }
    }
}

fn postgres(text: &str) -> Result<PostgresUrl, InvalidDatabaseUrl> {
    let wrong = |reason: String| InvalidDatabaseUrl(reason);
    let mut url = Url::parse(text).map_err(|error| {
        let hint = "in a password, write `/`, `?`, `#`, `@`, `:` and `%` as %2F, %3F, %23, %40, %3A and %25";
        wrong(format!("is not a URL ({error}; {hint})"))
    })?;
    if url.path().trim_matches('/').is_empty() {
        return Err(wrong("names no database".to_owned()));
    }
    let mut behind_pgbouncer = false;
    let mut kept = Vec::new();
    for (name, value) in url.query_pairs() {
        if name == PGBOUNCER {
            let flag = || wrong(format!("has a `{PGBOUNCER}` that is neither `true` nor `false`"));
            behind_pgbouncer = value.parse().map_err(|_| flag())?;
        } else if PARAMETERS.contains(&&*name) {
            kept.push((name.into_owned(), value.into_owned()));
        } else {
            let name: String = name.chars().take(32).collect();
            let known = PARAMETERS.join(", ");
            return Err(wrong(format!("has an unknown parameter `{name}` (known: {known}, {PGBOUNCER})")));
        }
    }
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Ok(PostgresUrl { url, behind_pgbouncer })
}

impl TryFrom<String> for DatabaseUrl {
    type Error = InvalidDatabaseUrl;

    fn try_from(text: String) -> Result<Self, InvalidDatabaseUrl> {
        text.parse()
    }
}

impl JsonSchema for DatabaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(sqlite|postgres|postgresql)://"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_path() {
        assert_eq!("sqlite://data/x.db".parse(), Ok(DatabaseUrl::Sqlite("data/x.db".into())));
        assert_eq!("sqlite:///var/x.db".parse(), Ok(DatabaseUrl::Sqlite("/var/x.db".into())));
    }

    #[test]
    fn what_is_shown_of_a_server_is_no_secret() {
        let url: DatabaseUrl = "postgres://me:hunter2@db.test:6543/runs?options=hunter2".parse().unwrap();
        assert_eq!(format!("{url:?}"), "Postgres(postgres://db.test:6543/runs)");
        let DatabaseUrl::Postgres(url) = url else { panic!("a file") };
        assert!(url.secret().contains("me:hunter2@") && url.secret().contains("options=hunter2"));
    }

    #[test]
    fn pgbouncer_is_told_to_us_and_not_to_the_server() {
        let url: DatabaseUrl = "postgres://db.test/runs?pgbouncer=true&sslmode=require".parse().unwrap();
        let DatabaseUrl::Postgres(url) = url else { panic!("a file") };
        assert!(url.behind_pgbouncer());
        assert_eq!(url.secret(), "postgres://db.test/runs?sslmode=require");
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_a_secret() {
        let message = |text: &str| text.parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(message("sqlite://").contains("names no file"));
        assert!(message("/var/runhook.db").contains("has no scheme"));
        assert!(message("mysql://me:hunter2@x/y").contains("unknown scheme"));
        assert!(message("postgres://db.test").contains("names no database"));
        assert!(message("postgres://x/y?pasword=hunter2").contains("unknown parameter `pasword`"));
        assert!(!message("postgres://x/y?pasword=hunter2").contains("hunter2"));
        assert!(message("postgres://x/y?pgbouncer=yes").contains("neither"));
        assert!(message("${DATABASE}").contains("remove the quotes"));
        let secret = message("postgres://me:hun/ter2@db.test/runs");
        assert!(secret.contains("%2F") && !secret.contains("hun/"), "{secret}");
        assert!(!message("mysql://me:hunter2@x/y").contains("hunter2"));
    }
}
