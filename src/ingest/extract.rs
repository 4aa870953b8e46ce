//! The searchable extract of a large JSON document: the same document with long strings and long lists cut, still valid
//! JSON, and no longer than it may be.
//!
//! The text is walked, never turned into a tree: numbers and escapes stay as they were written. It must be valid JSON,
//! which everything is that got past `normalise`.

/// How far strings (in bytes) and lists (in items) are cut, gentlest first.
const CUTS: [(usize, usize); 5] = [(4096, 64), (1024, 32), (256, 16), (64, 8), (24, 3)];

/// Room kept for closing brackets and for the entry that was being written when the budget ran out.
const RESERVE: usize = 1024;

/// The longest key or number that is kept when there is no room for more.
const LONGEST_TOKEN: usize = 128;

/// The extract of a document, in at most `budget` bytes.
pub(crate) fn of(json: &str, budget: usize) -> String {
    if json.len() <= budget {
        return json.to_owned();
    }
    let gentle = CUTS.iter().find_map(|(string, items)| {
        let mut cut = Cut::new(json, *string, *items, budget, false);
        cut.value();
        (cut.out.len() <= budget).then_some(cut.out)
    });
    gentle.unwrap_or_else(|| {
        let mut cut = Cut::new(json, 24, 3, budget.saturating_sub(RESERVE), true);
        cut.value();
        cut.out
    })
}

struct Cut<'a> {
    rest: &'a str,
    out: String,
    longest_string: usize,
    most_items: usize,
    budget: usize,
    /// Entries are dropped once the budget is used up. Otherwise the walk stops: a harder cut is tried.
    forced: bool,
}

impl<'a> Cut<'a> {
    fn new(json: &'a str, longest_string: usize, most_items: usize, budget: usize, forced: bool) -> Self {
        let out = String::with_capacity(budget.min(json.len()));
        Self { rest: json, out, longest_string, most_items, budget, forced }
    }

    fn full(&self) -> bool {
        self.out.len() > self.budget
    }

    /// Copies one value, cut.
    fn value(&mut self) {
        match self.peek() {
            Some(b'{') => self.container('}'),
            Some(b'[') => self.container(']'),
            Some(b'"') => {
                let token = self.string();
                self.put_string(token);
            }
            _ => {
                let token = self.scalar();
                let kept = if self.forced && token.len() > LONGEST_TOKEN { "0" } else { token };
                self.out.push_str(kept);
            }
        }
    }

    fn container(&mut self, close: char) {
        self.out.push(if close == '}' { '{' } else { '[' });
        self.take(1);
        let mut written = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'}' | b']') => break,
                Some(b',') => {
                    self.take(1);
                }
                Some(_) if self.wants(close, written) => {
                    if written > 0 {
                        self.out.push(',');
                    }
                    written = written.saturating_add(1);
                    self.entry(close);
                }
                // Abandoned: the caller tries a harder cut, so that nobody reads what was written.
                Some(_) if !self.forced && self.full() => return,
                Some(_) => self.skip_entry(close),
            }
        }
        self.take(1);
        self.out.push(close);
    }

    fn wants(&self, close: char, written: usize) -> bool {
        !self.full() && (close == '}' || written < self.most_items) && !(self.forced && self.has_long_key(close))
    }

    fn has_long_key(&self, close: char) -> bool {
        close == '}' && string_end(self.rest) > LONGEST_TOKEN
    }

    fn entry(&mut self, close: char) {
        if close == '}' {
            let key = self.string();
            self.out.push_str(key);
            self.peek();
            self.take(1);
            self.out.push(':');
        }
        self.value();
    }

    fn skip_entry(&mut self, close: char) {
        if close == '}' {
            self.string();
            self.peek();
            self.take(1);
        }
        self.skip_value();
    }

    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'"') => {
                    self.string();
                }
                Some(b'{' | b'[') => {
                    depth = depth.saturating_add(1);
                    self.take(1);
                    continue;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.take(1);
                }
                Some(b',' | b':') => {
                    self.take(1);
                    continue;
                }
                Some(_) => {
                    self.scalar();
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (token, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        token
    }

    fn string(&mut self) -> &'a str {
        self.take(string_end(self.rest))
    }

    fn scalar(&mut self) -> &'a str {
        let end = self.rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn put_string(&mut self, token: &str) {
        if token.len() <= self.longest_string {
            self.out.push_str(token);
            return;
        }
        self.out.push_str(token.get(..cut_point(token, self.longest_string)).unwrap_or("\""));
        self.out.push_str("…\"");
    }
}

/// Where the string that begins the text ends, its quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// The last place at or before `limit` where a string can be cut: between characters, never inside an escape, never
/// between the halves of a surrogate pair.
fn cut_point(token: &str, limit: usize) -> usize {
    let mut point = 1;
    let mut chars = token.char_indices().skip(1).peekable();
    while let Some((start, char)) = chars.next() {
        if start > limit {
            break;
        }
        if char != '\\' {
            point = start;
            continue;
        }
        let rest = token.get(start..).unwrap_or_default();
        if !is_low_surrogate(rest) {
            point = start;
        }
        let skipped = if rest.as_bytes().get(1) == Some(&b'u') { 5 } else { 1 };
        for _ in 0..skipped {
            chars.next();
        }
    }
    point
}

fn is_low_surrogate(escape: &str) -> bool {
    let digits = escape.strip_prefix("\\u").and_then(|rest| rest.get(..4));
    digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_document_that_fits_is_itself() {
        assert_eq!(of(r#"{ "a" : 1.10 }"#, 100), r#"{ "a" : 1.10 }"#);
    }

    #[test]
    fn long_strings_and_lists_are_cut_and_keys_stay() {
        let document = json!({
            "question": "x".repeat(100_000),
            "context": (0..10_000).collect::<Vec<_>>(),
            "model": "gpt-4o-mini",
        });
        let extract: Value = serde_json::from_str(&of(&document.to_string(), 16 * 1024)).unwrap();
        assert_eq!(extract["model"], "gpt-4o-mini");
        assert_eq!(extract["context"].as_array().unwrap().len(), 64);
        assert!(extract["question"].as_str().unwrap().ends_with("x…"));
    }

    #[test]
    fn escapes_are_not_cut_in_two() {
        let document = format!("\"{}\"", r"\ud83d\ude00\n".repeat(10_000));
        for budget in 1100..1200 {
            serde_json::from_str::<Value>(&of(&document, budget)).unwrap();
        }
    }

    #[test]
    fn a_hostile_shape_still_fits() {
        let keys: Vec<String> = (0..100_000).map(|n| format!("\"key{n}\":{{\"k\":[1,2,3,4]}}")).collect();
        let wide = format!("{{{}}}", keys.join(","));
        let long_keys = format!("{{\"{}\":1,\"b\":2}}", "k".repeat(50_000));
        let deep = format!("{}\"{}\"{}", "[".repeat(100), "y".repeat(50_000), "]".repeat(100));
        let number = format!("[{}]", "9".repeat(50_000));
        for document in [&wide, &long_keys, &deep, &number] {
            let extract = of(document, 16 * 1024);
            assert!(extract.len() <= 16 * 1024);
            serde_json::from_str::<Box<serde_json::value::RawValue>>(&extract).unwrap();
        }
        assert_eq!(of(&long_keys, 16 * 1024), r#"{"b":2}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 200, 10, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map(".{0,20}", inner, 0..20)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_extract_is_always_json_within_its_budget(document in any_json(), budget in 1500_usize..4000) {
            let extract = of(&document.to_string(), budget);
            prop_assert!(extract.len() <= budget);
            prop_assert!(serde_json::from_str::<Value>(&extract).is_ok());
        }
    }
}
