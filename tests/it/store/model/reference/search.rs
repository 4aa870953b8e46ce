//! Searching, by looking at every run.

use runhook::filter::sql::{Clause, Column, FeedbackColumn, FeedbackTest, Order, Piece, Shape, Test};
use runhook::model::id::RunId;
use runhook::model::run::StoredRun;
use runhook::store::search::{Found, Search, Within};
use uuid::Uuid;

use super::runs::source_type;

/// Those of these runs that a search finds.
pub(super) fn search(runs: &[StoredRun], search: &Search) -> Vec<Found> {
    let place = |stored: &StoredRun| (stored.run.start_time, stored.run.id);
    let mut found: Vec<&StoredRun> = runs
        .iter()
        .filter(|stored| match &search.within {
            Within::Project(project) => stored.run.project_id == *project,
            Within::Trace(trace) => stored.run.trace_id == *trace,
            Within::Runs(ids) => ids.contains(&stored.run.id),
        })
        .filter(|stored| {
            let relatives = || {
                runs.iter().filter(|other| {
                    (other.run.project_id, other.run.trace_id) == (stored.run.project_id, stored.run.trace_id)
                })
            };
            let is_root = |other: &&StoredRun| other.run.is_root() || other.run.id == RunId::from(other.run.trace_id);
            holds(&search.run, stored)
                && (search.root == Clause::Always || relatives().filter(is_root).any(|one| holds(&search.root, one)))
                && (search.tree == Clause::Always || relatives().any(|one| holds(&search.tree, one)))
        })
        .collect();
    found.sort_by_key(|stored| place(stored));
    if search.newest_first {
        found.reverse();
    }
    let behind = |stored: &&StoredRun| {
        let is_behind = |after| if search.newest_first { place(stored) < after } else { place(stored) > after };
        search.after.is_none_or(is_behind)
    };
    let shown = |stored: &StoredRun| Found {
        run_id: stored.run.id,
        project_id: stored.run.project_id,
        trace_id: stored.run.trace_id,
        start_time: stored.run.start_time,
    };
    found.into_iter().filter(behind).take(search.limit as usize).map(shown).collect()
}

fn holds(clause: &Clause, stored: &StoredRun) -> bool {
    match clause {
        Clause::Always => true,
        Clause::Never => false,
        Clause::All(parts) => parts.iter().all(|part| holds(part, stored)),
        Clause::Any(parts) => parts.iter().any(|part| holds(part, stored)),
        Clause::Not(inner) => !holds(inner, stored),
        Clause::Column(column, test) => passes(*column, test, stored),
        Clause::Feedback(tests) => stored.feedback.iter().any(|record| {
            tests.iter().all(|test| match test {
                FeedbackTest::Words { column, words, negated } => {
                    let word = match column {
                        FeedbackColumn::Key => Some(record.key.clone()),
                        FeedbackColumn::Source => source_type(record),
                    };
                    word.is_some_and(|word| words.contains(&word)) != *negated
                }
                FeedbackTest::Score(order, wanted) => {
                    record.score.is_some_and(|score| stands(*order, &score.number(), wanted))
                }
            })
        }),
    }
}

fn passes(column: Column, test: &Test, StoredRun { run, .. }: &StoredRun) -> bool {
    let id: Option<Uuid> = match column {
        Column::Id => Some(run.id.0),
        Column::Trace => Some(run.trace_id.0),
        Column::Project => Some(run.project_id.0),
        Column::Parent => run.parent_run_id.map(|parent| parent.0),
        _ => None,
    };
    let word = match column {
        Column::Name => Some(run.name.as_str()),
        Column::RunType => Some(run.run_type.as_str()),
        Column::Status => Some(run.status.as_str()),
        _ => None,
    };
    let number = match column {
        Column::Start => Some(run.start_time.0),
        Column::End => run.end_time.map(|end| end.0),
        Column::Latency => run.end_time.map(|end| end.0 - run.start_time.0),
        _ => None,
    };
    match test {
        Test::Ids(ids) => id.is_some_and(|id| ids.contains(&id)),
        Test::Words(words) => word.is_some_and(|word| words.iter().any(|one| one == word)),
        Test::Flag(yes) => column == Column::IsRoot && run.is_root() == *yes,
        Test::Number(wanted) => number == Some(*wanted),
        Test::Nothing => id.is_none() && word.is_none() && number.is_none() && column != Column::IsRoot,
        Test::Like(shape) => word.is_some_and(|word| is_like(word, shape)),
        Test::Order(order, wanted) => number.is_some_and(|number| stands(*order, &number, wanted)),
    }
}

fn stands<T: PartialOrd>(order: Order, number: &T, to: &T) -> bool {
    match order {
        Order::Gt => number > to,
        Order::Gte => number >= to,
        Order::Lt => number < to,
        Order::Lte => number <= to,
    }
}

fn is_like(text: &str, shape: &Shape) -> bool {
    if text.contains(['\0', '\u{FFFD}']) {
        return shape.in_doubt;
    }
    fits(text, &shape.pieces)
}

fn fits(text: &str, pieces: &[Piece]) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
    match piece {
        Piece::Text(own) => text.strip_prefix(own.as_str()).is_some_and(|behind| fits(behind, rest)),
        Piece::One => text.chars().next().is_some_and(|first| fits(&text[first.len_utf8()..], rest)),
        Piece::Any => text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(&text[at..], rest)),
    }
}
