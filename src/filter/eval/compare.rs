//! One test of one field.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use crate::filter::checked::{Order, Test};
use crate::filter::facts::Facts;
use crate::filter::field::{Field, Plain};
use crate::filter::value::{Number, Seen, Value};
use crate::model::run::Run;
use crate::model::time::Timestamp;

/// Whether a field passes a test.
pub(crate) fn field(field: &Field, test: &Test, facts: &Facts<'_>) -> bool {
    match field {
        Field::Plain(Plain::Tags) => many(facts.run.tags.iter().map(|tag| Seen::Text(tag)), test),
        Field::Plain(Plain::ThreadId) => one(facts.thread_id().map_or(Seen::Null, Seen::Text), test),
        Field::Plain(plain) => one(plain_value(*plain, facts.run), test),
        Field::Path(root, path) => many(
            facts.entries(*root).iter().filter(|entry| *entry.path == **path).map(|entry| entry.value.seen()),
            test,
        ),
        Field::Whole(root) if matches!(test, Test::Eq(_)) => facts.entries(*root).is_empty(),
        Field::Whole(root) if matches!(test, Test::Neq(_)) => !facts.entries(*root).is_empty(),
        Field::Whole(root) => many(facts.entries(*root).iter().map(|entry| entry.value.seen()), test),
        // Rows are joined before they get here.
        Field::Pair(..) => false,
    }
}

/// Whether one value passes. Nothing is not equal to anything but `null`, and has no order and no shape.
pub(crate) fn one(seen: Seen<'_>, test: &Test) -> bool {
    match test {
        Test::Eq(value) => seen.equals(value),
        Test::Neq(value) => !seen.equals(value),
        Test::Order(order, value) => seen.order(value).is_some_and(|found| order.allows(found)),
        Test::In(values) => values.iter().any(|value| seen.equals(value)),
        Test::Like(pattern) => matches!(seen, Seen::Text(words) if pattern.matches(words)),
        Test::NotLike(pattern) => !matches!(seen, Seen::Text(words) if pattern.matches(words)),
        Test::Search(needle) => matches!(seen, Seen::Text(words) if needle.is_in(words)),
    }
}

/// Whether several values pass: some one, or, of what must not be, all. No values, or only nulls, are `null`.
fn many<'a>(mut seen: impl Iterator<Item = Seen<'a>>, test: &Test) -> bool {
    match test {
        Test::Eq(Value::Null) => seen.all(Seen::is_null),
        Test::Neq(Value::Null) => !seen.all(Seen::is_null),
        Test::In(values) if values.contains(&Value::Null) => {
            let mut all_null = true;
            let found = seen.any(|value| {
                all_null &= value.is_null();
                !value.is_null() && one(value, test)
            });
            found || all_null
        }
        _ if test.is_negative() => seen.all(|value| one(value, test)),
        _ => seen.any(|value| one(value, test)),
    }
}

impl Order {
    fn allows(self, found: Ordering) -> bool {
        match self {
            Self::Gt => found.is_gt(),
            Self::Gte => found.is_ge(),
            Self::Lt => found.is_lt(),
            Self::Lte => found.is_le(),
        }
    }
}

/// The value of a column that has one.
pub(crate) fn plain_value(plain: Plain, run: &Run) -> Seen<'_> {
    let count = |count: i64| Seen::Number(Number::Exact(count.into()));
    let cost = |cost: Option<Decimal>| cost.map_or(Seen::Null, |cost| Seen::Number(Number::Exact(cost)));
    let time = |time: Option<Timestamp>| time.map_or(Seen::Null, Seen::Time);
    let since_start = |time: Option<Timestamp>| match time {
        Some(time) => Seen::Number(Number::Exact(Decimal::new(time.0.saturating_sub(run.start_time.0), 6))),
        None => Seen::Null,
    };
    match plain {
        Plain::Id => Seen::Id(run.id.0),
        Plain::TraceId => Seen::Id(run.trace_id.0),
        Plain::SessionId => Seen::Id(run.project_id.0),
        Plain::ParentRunId => run.parent_run_id.map_or(Seen::Null, |id| Seen::Id(id.0)),
        Plain::ReferenceExampleId => run.reference_example_id.map_or(Seen::Null, Seen::Id),
        Plain::Name => Seen::Text(&run.name),
        Plain::RunType => Seen::Text(&run.run_type),
        Plain::Status => Seen::Text(run.status.as_str()),
        // An empty error text means no error, as it does when the status is derived.
        Plain::Error => run.error.as_deref().filter(|text| !text.is_empty()).map_or(Seen::Null, Seen::Text),
        Plain::IsRoot => Seen::Bool(run.is_root()),
        Plain::StartTime => Seen::Time(run.start_time),
        Plain::EndTime => time(run.end_time),
        Plain::FirstTokenTime => time(run.first_token_time),
        Plain::Latency => since_start(run.end_time),
        Plain::FirstTokenLatency => since_start(run.first_token_time),
        Plain::TotalTokens => count(run.usage.total_tokens),
        Plain::PromptTokens => count(run.usage.prompt_tokens),
        Plain::CompletionTokens => count(run.usage.completion_tokens),
        Plain::TotalCost => cost(run.usage.total_cost),
        Plain::PromptCost => cost(run.usage.prompt_cost),
        Plain::CompletionCost => cost(run.usage.completion_cost),
        Plain::ExecutionOrder if run.is_root() => count(1),
        Plain::RunCount | Plain::TraceCount => count(1),
        // The others do not fit into one value, and are read elsewhere.
        Plain::ExecutionOrder | Plain::ThreadId | Plain::Tags => Seen::Null,
    }
}
