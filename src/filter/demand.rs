//! Demands: what a run must have for a filter to hold, as far as it can be looked up.
//!
//! Demands are necessary and hardly ever sufficient: a filter without any may hold on every run. They follow from the
//! checked filter as it is evaluated, so whatever is added to the language demands nothing until it is taken up here.

use crate::filter::checked::{Condition, Contained, Test};
use crate::filter::field::{Column, Field, Group, Plain, Root};
use crate::filter::flatten::Scalar;
use crate::filter::mark::{self, Mark, Place, Reading, key};
use crate::filter::measure::{Bound, Measure};
use crate::filter::value::Value;

/// Marks of which a run must have one.
pub(crate) type Choice = Vec<Mark>;

/// What a run must have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demands {
    /// Of each, one mark.
    pub(crate) choices: Vec<Choice>,
    /// On the right side of each.
    pub(crate) bounds: Vec<Bound>,
}

impl Demands {
    /// The demands of a condition.
    pub(crate) fn of(condition: &Condition) -> Self {
        let mut demands = Self::default();
        demands.gather(condition);
        demands
    }

    fn gather(&mut self, condition: &Condition) {
        match condition {
            Condition::And(parts) => {
                self.pairs(parts);
                parts.iter().for_each(|part| self.gather(part));
            }
            Condition::Or(parts) => self.choices.extend(either(parts)),
            Condition::Field(field, test) => self.field(field, test),
            Condition::HasKey(root, path) => self.choices.push(vec![key(*root, path)]),
            Condition::Contains(root, within, contained) => self.contains(*root, within.as_deref(), contained),
            Condition::Not(_) | Condition::Words(_) => {}
        }
    }

    /// A key and a value that are asked of one row together.
    fn pairs(&mut self, parts: &[Condition]) {
        for group in Group::ALL {
            let Some(root) = document(group) else { continue };
            let tests = |wanted| {
                parts.iter().filter_map(move |part| match part.pair() {
                    Some((of, column, Test::Eq(value))) if of == group && column == wanted => Some(value),
                    _ => None,
                })
            };
            for path in tests(Column::Key) {
                let Value::Text(path) = path else { continue };
                self.choices.extend(tests(Column::Value).filter_map(|value| entry(root, path, [value])));
            }
        }
    }

    fn field(&mut self, field: &Field, test: &Test) {
        match field {
            Field::Plain(plain) => self.plain(*plain, test),
            Field::Pair(group, column) => self.pair(*group, *column, test),
            Field::Path(root, path) if demands_something(test) => {
                self.choices.push(vec![key(*root, path)]);
                self.choices.extend(equals(test).and_then(|values| entry(*root, path, values)));
            }
            Field::Path(..) | Field::Whole(_) => {}
        }
    }

    fn plain(&mut self, plain: Plain, test: &Test) {
        if let (Some(measure), Test::Order(order, threshold)) = (Measure::of(plain), test) {
            self.bounds.extend(measure.bound(*order, threshold));
        }
        let Some(place) = Place::of(plain) else { return };
        if place == Place::Error {
            self.choices.extend(demands_something(test).then(|| vec![place.there()]));
        } else {
            self.choices.extend(equals(test).and_then(|values| values.iter().map(|value| at(place, value)).collect()));
        }
    }

    fn pair(&mut self, group: Group, column: Column, test: &Test) {
        if !demands_something(test) {
            return;
        }
        if group == Group::Feedback {
            self.choices.push(vec![Place::Feedback.there()]);
        }
        if let (Group::Feedback, Column::Score, Test::Order(order, threshold)) = (group, column, test) {
            self.bounds.extend(Measure::Score.bound(*order, threshold));
        }
        if column == Column::Key {
            let keys = equals(test).and_then(|values| {
                let mark = |path: &str| match document(group) {
                    Some(root) => key(root, path),
                    None => Place::FeedbackKey.text(path),
                };
                values.iter().map(|value| if let Value::Text(path) = value { Some(mark(path)) } else { None }).collect()
            });
            self.choices.extend(keys);
        }
    }

    fn contains(&mut self, root: Root, within: Option<&str>, contained: &Contained) {
        for wanted in &contained.entries {
            let path = match within {
                Some(within) => format!("{within}.{}", wanted.path),
                None => wanted.path.clone(),
            };
            self.choices.push(vec![key(root, &path)]);
            self.choices.extend(mark::value(root, &path, &wanted.value));
        }
    }
}

/// What any of several parts demands: the first choice of each, if each has one.
fn either(parts: &[Condition]) -> Option<Choice> {
    let mut marks = Choice::new();
    for part in parts {
        let demands = Demands::of(part);
        marks.extend(demands.choices.into_iter().min_by_key(|choice| weight(choice, |_| 1, Reading::cost))?);
    }
    Some(marks)
}

/// What it costs to find runs by a choice, in thousandths of asking a rule: the runs that come though they do not
/// match, and what has to be read of all.
pub(crate) fn weight(choice: &Choice, values: impl Fn(Mark) -> u32, reading: impl Fn(Reading) -> u32) -> u32 {
    let coming = choice.iter().map(|mark| mark.share(values(*mark)));
    let deepest = choice.iter().map(|mark| mark.place.reading()).max();
    coming.fold(deepest.map_or(0, reading), u32::saturating_add)
}

/// Whether nothing, or only `null`, fails the test.
fn demands_something(test: &Test) -> bool {
    match test {
        Test::Eq(value) => *value != Value::Null,
        Test::Neq(value) => *value == Value::Null,
        Test::In(values) => !values.contains(&Value::Null),
        Test::Order(..) | Test::Like(_) | Test::Search(_) => true,
        Test::NotLike(_) => false,
    }
}

/// The values of which one must be there.
fn equals(test: &Test) -> Option<&[Value]> {
    match test {
        Test::Eq(value) => Some(std::slice::from_ref(value)),
        Test::In(values) => Some(&**values),
        _ => None,
    }
}

fn at(place: Place, value: &Value) -> Option<Mark> {
    match value {
        Value::Text(text) => Some(place.text(text)),
        Value::Bool(yes) => Some(place.flag(*yes)),
        Value::Id(id) => Some(place.id(*id)),
        Value::Null | Value::Number(_) | Value::Time(_) => None,
    }
}

/// The document whose entries are the rows of a group.
fn document(group: Group) -> Option<Root> {
    match group {
        Group::Metadata => Some(Root::Metadata),
        Group::Input => Some(Root::Inputs),
        Group::Output => Some(Root::Outputs),
        Group::Feedback => None,
    }
}

/// One of these values at a path.
fn entry<'v>(root: Root, path: &str, values: impl IntoIterator<Item = &'v Value>) -> Option<Choice> {
    let mut choice = Choice::new();
    for value in values {
        let scalar = match value {
            Value::Text(text) => Scalar::Text(text.to_string()),
            Value::Bool(yes) => Scalar::Bool(*yes),
            Value::Number(number) => Scalar::Number(*number),
            Value::Null | Value::Time(_) | Value::Id(_) => return None,
        };
        choice.extend(mark::value(root, path, &scalar)?);
    }
    Some(choice)
}
