//! Tests of feedback that are about one record together, as bounds. A database knows a record's key, source and score.

use crate::filter::checked::{Order, Test as Asked};
use crate::filter::field::Column;
use crate::filter::sql::lower::{Bounds, is_kept};
use crate::filter::sql::{Clause, FeedbackColumn, FeedbackTest};
use crate::filter::value::{Number, Value};

/// Between these sizes every database reads a score's text as the very number that was written.
const ORDINARY: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// How far off, for its size, a number may be that is read from text or rounded.
const SLACK: f64 = 1e-9;

/// What a database knows of a test.
struct Known {
    tests: Vec<FeedbackTest>,
    exact: bool,
}

/// The bounds of the direct tests of one `and`, as the evaluator joins them: those that say what a value must be, and
/// those that narrow the record they are about, hold on one record; the others on all.
pub(super) fn bounds(tests: &[(Column, &Asked)]) -> Bounds {
    let picks = tests.iter().any(|(_, test)| !test.is_negative());
    let narrows = |column: Column, test: &Asked| !test.is_negative() || (picks && column != Column::Key);
    let (of_one, of_all): (Vec<_>, Vec<_>) = tests.iter().partition(|(column, test)| narrows(*column, test));
    let mut parts: Vec<Bounds> = of_all.into_iter().map(|(column, test)| on_all(column, test)).collect();
    if picks {
        parts.push(on_one(&of_one));
    }
    Bounds::all(parts)
}

/// Some record passes all of these.
fn on_one(tests: &[(Column, &Asked)]) -> Bounds {
    let known: Vec<Known> = tests.iter().filter_map(|(column, test)| known(*column, test)).collect();
    let exact = known.len() == tests.len() && known.iter().all(|known| known.exact);
    let upper = Clause::Feedback(known.into_iter().flat_map(|known| known.tests).collect());
    let lower = if exact { upper.clone() } else { Clause::Never };
    Bounds { upper, lower, exact }
}

/// Every record passes this, which says what a value must not be: there is none that has it.
fn on_all(column: Column, test: &Asked) -> Bounds {
    match worded(column, test) {
        Some((column, words, negated)) => {
            let against = FeedbackTest::Words { column, words, negated: !negated };
            Bounds::exactly(Clause::Feedback(vec![against]).negated())
        }
        None => Bounds::perhaps(),
    }
}

fn known(column: Column, test: &Asked) -> Option<Known> {
    if column == Column::Score {
        return match test {
            Asked::Order(order, Value::Number(number)) => Some(scored(*order, *number)),
            Asked::Eq(Value::Number(number)) => {
                let (least, most) = (scored(Order::Gte, *number), scored(Order::Lte, *number));
                Some(Known { tests: [least.tests, most.tests].concat(), exact: least.exact })
            }
            _ => None,
        };
    }
    let (column, words, negated) = worded(column, test)?;
    Some(Known { tests: vec![FeedbackTest::Words { column, words, negated }], exact: true })
}

/// A score that stands so to this number. One that no float is, or that is out of the ordinary, is taken for a little less
/// or a little more.
fn scored(order: Order, number: Number) -> Known {
    let real = number.approximate();
    let is_ordinary = real == 0.0 || ORDINARY.contains(&real.abs());
    if is_ordinary && Number::of_f64(real) == Some(number) {
        return Known { tests: vec![FeedbackTest::Score(order, real)], exact: true };
    }
    let off = real.abs() * SLACK;
    let test = match order {
        Order::Gt | Order::Gte => FeedbackTest::Score(Order::Gte, real - off),
        Order::Lt | Order::Lte => FeedbackTest::Score(Order::Lte, real + off),
    };
    Known { tests: vec![test], exact: false }
}

/// The column, the words and whether it must be none of them.
fn worded(column: Column, test: &Asked) -> Option<(FeedbackColumn, Vec<String>, bool)> {
    let column = match column {
        Column::Key => FeedbackColumn::Key,
        Column::Source => FeedbackColumn::Source,
        Column::Value | Column::Score | Column::Comment => return None,
    };
    let word = |value: &Value| match value {
        Value::Text(word) if is_kept(word) => Some(word.to_string()),
        _ => None,
    };
    let (words, negated) = match test {
        Asked::Eq(value) => (vec![word(value)?], false),
        Asked::Neq(value) => (vec![word(value)?], true),
        Asked::In(values) => (values.iter().map(word).collect::<Option<Vec<_>>>()?, false),
        Asked::Order(..) | Asked::Like(_) | Asked::NotLike(_) | Asked::Search(_) => return None,
    };
    Some((column, words, negated))
}
