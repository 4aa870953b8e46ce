//! Query parameters, which LangSmith's clients repeat to make lists.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::problem::Problem;
use crate::model::id::InvalidId;
use crate::model::time::Timestamp;

/// The largest page.
const LARGEST_PAGE: u32 = 100;

/// The parameters of a request, in their order.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    pub(crate) fn one<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is set, in any client's spelling.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.one(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// A flag that need not be there.
    pub(crate) fn flag_or_none(&self, name: &str) -> Result<Option<bool>, Problem> {
        let read = |value: &str| match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(wrong(name, "must be true or false")),
        };
        self.one(name).map(read).transpose()
    }

    /// An instant that need not be there.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.one(name).map(|value| Timestamp::parse(value).map_err(|error| wrong(name, error))).transpose()
    }

    /// Every value of a parameter as ids.
    pub(crate) fn ids<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        self.all(name).map(|value| value.parse().map_err(|error| wrong(name, error))).collect()
    }

    /// `limit`: how long a page is.
    pub(crate) fn limit(&self, default: u32) -> Result<u32, Problem> {
        self.limit_within(default, LARGEST_PAGE)
    }

    /// The same where pages may be longer or must be shorter.
    pub(crate) fn limit_within(&self, default: u32, largest: u32) -> Result<u32, Problem> {
        let limit = self.number("limit", default)?;
        // A page shorter than asked for would look like the last one.
        if (1..=largest).contains(&limit) {
            Ok(limit)
        } else {
            Err(wrong("limit", format!("must be between 1 and {largest}")))
        }
    }

    /// `offset`: how many are skipped.
    pub(crate) fn offset(&self) -> Result<u32, Problem> {
        self.number("offset", 0)
    }

    /// Refuses a parameter that would change the answer and that this server does not know: to ignore it would be to
    /// answer another question.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<(), Problem> {
        match names.iter().find(|name| self.one(name).is_some()) {
            Some(name) => Err(wrong(name, "is not supported by this server")),
            None => Ok(()),
        }
    }

    fn number(&self, name: &str, default: u32) -> Result<u32, Problem> {
        self.one(name).map_or(Ok(default), |value| value.parse().map_err(|_| wrong(name, "must be a number")))
    }
}

/// A parameter that is wrong.
pub(crate) fn wrong(name: &str, why: impl std::fmt::Display) -> Problem {
    Problem::invalid(format!("`{name}` {why}")).with("loc", serde_json::json!(["query", name]))
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}
