//! What a request must carry, and why it is wrong when it does not.

use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use crate::app::Received;
use crate::cli::WrongValue;
use crate::crypto::{Signed, Verifier};
use crate::model::time::Timestamp;

/// The query parameter with the secret, unless another place is named.
const QUERY: &str = "secret";

/// LangSmith's own signature.
const LANGSMITH: &str = "x-langsmith-signature";

/// What is checked.
#[derive(Debug)]
pub(super) struct Checks {
    secret: Option<SecretString>,
    query: Option<String>,
    header: Option<String>,
    verifier: Option<Verifier>,
}

/// How one check came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It holds; by what.
    Passed(String),
    /// It does not; why.
    Failed(String),
    /// Nothing was given to check it with.
    Unchecked(String),
}

/// How all checks came out, each with what it is about.
#[derive(Debug)]
pub(super) struct Checked(pub(super) Vec<(&'static str, Outcome)>);

impl Checked {
    /// Whether nothing is wrong.
    pub(super) fn passed(&self) -> bool {
        self.failure().is_none()
    }

    /// What is wrong first, with the status that says so.
    pub(super) fn failure(&self) -> Option<(u16, String)> {
        self.0.iter().find_map(|(name, outcome)| match outcome {
            Outcome::Failed(why) => {
                let status = match *name {
                    "method" => 405,
                    "body" => 413,
                    _ => 401,
                };
                Some((status, format!("{name}: {why}")))
            }
            Outcome::Passed(_) | Outcome::Unchecked(_) => None,
        })
    }
}

impl Checks {
    pub(super) fn new(
        secret: Option<SecretString>,
        query: Option<String>,
        header: Option<String>,
        signing_secret: Option<&SecretString>,
    ) -> Result<Self, WrongValue> {
        let is_plain = secret.is_some() && query.is_none() && header.is_none();
        let query = if is_plain { Some(QUERY.to_owned()) } else { query };
        let verifier = signing_secret.map(Verifier::parse).transpose();
        let verifier = verifier.map_err(|error| WrongValue(format!("the signing secret cannot be used: {error}")))?;
        Ok(Self { secret, query, header, verifier })
    }

    /// The secret of query or header.
    pub(super) fn secret(&self) -> Option<SecretString> {
        self.secret.clone()
    }

    /// The query parameter that must have the secret.
    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The header that must have the secret.
    pub(super) fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// Whether signatures are checked.
    pub(super) fn signs(&self) -> bool {
        self.verifier.is_some()
    }

    /// What is checked, in a few words.
    pub(super) fn told(&self) -> String {
        let query = self.query().map(|name| format!("the query parameter `{name}`"));
        let header = self.header().map(|name| format!("the header `{name}`"));
        let signature = self.verifier.as_ref().map(|verifier| format!("signatures, {}", verifier.kind().word()));
        let told: Vec<String> = [query, header, signature].into_iter().flatten().collect();
        if told.is_empty() { "nothing; see --secret and --signing-secret".to_owned() } else { told.join(", ") }
    }

    /// Checks a request.
    pub(super) fn check(&self, received: &Received, now: Timestamp) -> Checked {
        let mut checked = Vec::new();
        if received.method != "POST" {
            checked.push(("method", Outcome::Failed("notifications are POST requests".to_owned())));
        }
        if let Err(unread) = &received.body {
            checked.push(("body", Outcome::Failed(unread.to_string())));
        }
        if let Some(secret) = &self.secret {
            checked.extend(self.query().map(|name| ("query", in_query(received, name, secret))));
            checked.extend(self.header().map(|name| ("header", in_header(received, name, secret))));
        }
        checked.push(("signature", self.signature(received, now)));
        Checked(checked)
    }

    fn signature(&self, received: &Received, now: Timestamp) -> Outcome {
        let (standard, own) = (received.header("webhook-signature"), received.header(LANGSMITH));
        let body = received.body.as_deref().unwrap_or_default();
        let Some(verifier) = &self.verifier else {
            let is_signed = standard.or(own).is_some();
            let why = if is_signed { "it is signed; --signing-secret checks it" } else { "it is not signed" };
            return Outcome::Unchecked(why.to_owned());
        };
        if let (None, Some(own)) = (standard, own) {
            return match verifier.check_langsmith(own, body) {
                Ok(()) => Outcome::Passed("X-LangSmith-Signature holds".to_owned()),
                Err(why) => Outcome::Failed(format!("X-LangSmith-Signature: {why}")),
            };
        }
        let (id, timestamp) = (received.header("webhook-id"), received.header("webhook-timestamp"));
        let signed = Signed { id, timestamp, signatures: standard, body };
        match verifier.check(signed, now.0.div_euclid(1_000_000)) {
            Ok(()) => Outcome::Passed(format!("webhook-signature holds ({})", verifier.kind().word())),
            Err(why) => Outcome::Failed(why.to_string()),
        }
    }
}

fn in_query(received: &Received, name: &str, secret: &SecretString) -> Outcome {
    let query = received.target.split_once('?').map_or("", |(_, query)| query);
    let found: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
        .collect();
    // Readers of queries take the last where one stands twice.
    match found.last() {
        None => Outcome::Failed(format!("there is no parameter `{name}` in the query")),
        Some(value) => compared(&format!("the query parameter `{name}`"), value, secret),
    }
}

fn in_header(received: &Received, name: &str, secret: &SecretString) -> Outcome {
    match received.header(name) {
        None => Outcome::Failed(format!("there is no header `{name}`")),
        Some(value) => compared(&format!("the header `{name}`"), value, secret),
    }
}

fn compared(place: &str, value: &str, secret: &SecretString) -> Outcome {
    let expected = secret.expose_secret();
    if value == expected {
        return Outcome::Passed(format!("{place} has the secret"));
    }
    let (has, wants) = (value.chars().count(), expected.chars().count());
    let hint = if value.trim() == expected {
        "it has blanks around it"
    } else if value.contains("${") {
        "it is a variable that nobody replaced"
    } else if value == expected.replace('+', " ") {
        "a `+` became a blank on its way: it must be sent as %2B"
    } else {
        "it is another value"
    };
    Outcome::Failed(format!("{place} is not the secret: {hint} ({has} characters where {wants} are expected)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Unread;

    fn received(target: &str, headers: &[(&str, &str)]) -> Received {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Received { method: "POST".to_owned(), target: target.to_owned(), headers, body: Ok("{}".into()) }
    }

    fn checks(query: Option<&str>, header: Option<&str>) -> Checks {
        let named = |name: Option<&str>| name.map(str::to_owned);
        Checks::new(Some("a+b c".into()), named(query), named(header), None).unwrap()
    }

    #[test]
    fn a_secret_is_looked_for_where_it_was_said_to_be() {
        let now = Timestamp(0);
        assert!(checks(None, None).check(&received("/x?secret=a%2Bb%20c", &[]), now).passed());
        assert!(checks(Some("token"), None).check(&received("/x?a=1&token=a%2Bb+c", &[]), now).passed());
        let both = checks(Some("token"), Some("X-Token"));
        assert!(both.check(&received("/?token=a%2Bb+c", &[("x-token", "a+b c")]), now).passed());
        for (target, headers, why) in [
            ("/", &[("x-token", "a+b c")][..], "query: there is no parameter `token`"),
            ("/?token=a%2Bb+c", &[], "header: there is no header `X-Token`"),
            ("/?token=a%2Bb+c&token=x", &[("x-token", "a+b c")], "another value (1 characters where 5"),
            ("/?token=a+b+c", &[("x-token", "a+b c")], "must be sent as %2B"),
            ("/?token=a%2Bb+c", &[("x-token", "${TOKEN}")], "a variable that nobody replaced"),
        ] {
            let (status, said) = both.check(&received(target, headers), now).failure().unwrap();
            assert!(status == 401 && said.contains(why), "{said}");
            assert!(!said.contains("a+b c"), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_said_and_what_could_not_be_read_is_refused() {
        let checks = Checks::new(None, None, None, None).unwrap();
        let signed = received("/", &[("webhook-signature", "v1,AAAA")]);
        let Checked(found) = checks.check(&signed, Timestamp(0));
        let said = "it is signed; --signing-secret checks it".to_owned();
        assert_eq!(found, [("signature", Outcome::Unchecked(said))]);
        let long = Received { body: Err(Unread::TooLong), ..signed };
        assert_eq!(checks.check(&long, Timestamp(0)).failure().unwrap().0, 413);
        let wrong = Checks::new(None, None, None, Some(&"whsec_x".into())).unwrap_err().to_string();
        assert!(wrong.contains("signing secret") && !wrong.contains("whsec_x"), "{wrong}");
    }
}
