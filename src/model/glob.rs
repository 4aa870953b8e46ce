//! Names with wildcards: how a rule says which projects it watches.

use std::fmt;

/// A pattern: `*` stands for any text, also none, `?` for one character, anything else for itself. It covers the whole
/// name, and case counts. There is no escape: a name that holds a `*` is matched by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob(String);

impl Glob {
    /// Reads a pattern. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The name, when the pattern has no wildcard and so matches nothing else.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&self.0)
    }

    /// Whether a name fits. Takes at most the product of the two lengths, and no memory.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // Where to go on when the text after the last `*` does not fit: that `*` takes one character more.
        let mut retry = None;
        loop {
            let before = rest.clone();
            match (pattern.next(), rest.next()) {
                (Some('*'), _) => {
                    rest = before;
                    retry = Some((pattern.clone(), rest.clone()));
                }
                (Some('?'), Some(_)) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                (None, None) => return true,
                _ => {
                    let Some((after_star, mut taken)) = retry else { return false };
                    if taken.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after_star.clone(), taken.clone());
                    retry = Some((after_star, taken));
                }
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_text_and_for_one_character() {
        let cases = [
            ("support-bot", "support-bot", true),
            ("support-bot", "support-bots", false),
            ("support-*", "support-", true),
            ("support-*", "support-bot-2", true),
            ("support-*", "my-support-bot", false),
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("?", "é", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*-prod-*", "eu-prod-prod-1", true),
            ("*prod", "prod-prod", true),
            ("*prod", "prod-", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("Support", "support", false),
            ("50%*", "50% off", true),
            ("a**b", "ab", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Glob::parse(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_pattern_without_wildcards_is_a_name() {
        assert_eq!(Glob::parse("support").exact(), Some("support"));
        assert_eq!(Glob::parse("support-*").exact(), None);
        assert_eq!(Glob::parse("support-?").exact(), None);
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths() {
        let pattern = format!("{}b", "a*".repeat(200));
        assert!(!Glob::parse(&pattern).matches(&"a".repeat(20_000)));
    }
}
