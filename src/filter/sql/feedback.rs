//! Tests of feedback that are about one record together, as bounds. A database knows a record's key and source.

use crate::filter::checked::Test as Asked;
use crate::filter::field::Column;
use crate::filter::sql::lower::{Bounds, is_kept};
use crate::filter::sql::{Clause, FeedbackColumn, FeedbackTest};
use crate::filter::value::Value;

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
    let known: Vec<FeedbackTest> = tests.iter().filter_map(|(column, test)| known(*column, test)).collect();
    let exact = known.len() == tests.len();
    let upper = Clause::Feedback(known);
    let lower = if exact { upper.clone() } else { Clause::Never };
    Bounds { upper, lower, exact }
}

/// Every record passes this, which says what a value must not be: there is none that has it.
fn on_all(column: Column, test: &Asked) -> Bounds {
    match known(column, test) {
        Some(test) => {
            let against = FeedbackTest { negated: !test.negated, ..test };
            Bounds::exactly(Clause::Feedback(vec![against]).negated())
        }
        None => Bounds::perhaps(),
    }
}

fn known(column: Column, test: &Asked) -> Option<FeedbackTest> {
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
    Some(FeedbackTest { column, words, negated })
}
