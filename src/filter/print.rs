//! The canonical form of a filter: one spelling for each meaning, in a form that parses to the same filter.

use std::fmt::{self, Display, Formatter};

use crate::filter::checked::{Condition, Order, Test};
use crate::filter::field::{Field, Plain};
use crate::filter::token::in_word;
use crate::filter::value::Value;

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => write!(f, "and({})", Joined(parts)),
            Self::Or(parts) => write!(f, "or({})", Joined(parts)),
            Self::Not(inner) => write!(f, "not({inner})"),
            Self::Words(words) => write!(f, "search({})", Quoted(words.text())),
            Self::HasKey(root, key) => write!(f, "exists({}, {})", Field::Whole(*root), Quoted(key)),
            Self::Contains(root, None, contained) => {
                write!(f, "has({}, {})", Field::Whole(*root), Quoted(&contained.json))
            }
            Self::Contains(root, Some(path), contained) => {
                write!(f, "has({}, {})", Name(&Field::Path(*root, path.clone())), Quoted(&contained.json))
            }
            Self::Field(field, test) => comparison(field, test, f),
        }
    }
}

fn comparison(field: &Field, test: &Test, f: &mut Formatter<'_>) -> fmt::Result {
    let (name, operand): (&str, &dyn Display) = match test {
        // Of a list one says that it has something.
        Test::Eq(value) if *field == Field::Plain(Plain::Tags) && *value != Value::Null => ("has", value),
        Test::Eq(value) => ("eq", value),
        Test::Neq(value) => ("neq", value),
        Test::Order(Order::Gt, value) => ("gt", value),
        Test::Order(Order::Gte, value) => ("gte", value),
        Test::Order(Order::Lt, value) => ("lt", value),
        Test::Order(Order::Lte, value) => ("lte", value),
        Test::In(values) => return write!(f, "in({}, [{}])", Name(field), Joined(values)),
        Test::Like(pattern) => ("like", &Quoted(pattern.text())),
        Test::NotLike(pattern) => ("notlike", &Quoted(pattern.text())),
        Test::Search(needle) => ("search", &Quoted(needle.text())),
    };
    write!(f, "{name}({}, {operand})", Name(field))
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(yes) => yes.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Time(time) => write!(f, "\"{time}\""),
            Self::Id(id) => write!(f, "\"{id}\""),
        }
    }
}

/// A field's name, in quotes if it could not be read without.
struct Name<'a>(&'a Field);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.0.to_string();
        if name.chars().all(in_word) { f.write_str(&name) } else { Quoted(&name).fmt(f) }
    }
}

/// Text in double quotes, escaped as JSON escapes it.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

struct Joined<'a, T>(&'a [T]);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}
