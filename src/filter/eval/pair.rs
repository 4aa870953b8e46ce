//! Pairs: tests of a list of rows that are about one row together.
//!
//! Inside one `and`, its direct tests of one group are joined. Those that say what a value must be have to hold on one
//! and the same row. Those that say what it must not be narrow that row further, where there is one; where there is
//! none, or where they are about the key, they mean that no row at all has that value.

use crate::filter::checked::{Condition, Test};
use crate::filter::eval::compare;
use crate::filter::facts::{Entry, Facts, FeedbackRow};
use crate::filter::field::{Column, Group, Root};
use crate::filter::value::Seen;

/// Whether the tests of pair groups among these conditions hold, each group by itself.
pub(crate) fn joined(conditions: &[Condition], facts: &Facts<'_>) -> bool {
    Group::ALL.into_iter().all(|group| {
        let tests = || {
            conditions.iter().filter_map(move |condition| match condition.pair() {
                Some((of, column, test)) if of == group => Some((column, test)),
                _ => None,
            })
        };
        if tests().next().is_none() {
            return true;
        }
        match group {
            Group::Feedback => on_rows(facts.feedback_rows(), tests),
            Group::Metadata => on_rows(facts.entries(Root::Metadata), tests),
            Group::Input => on_rows(facts.entries(Root::Inputs), tests),
            Group::Output => on_rows(facts.entries(Root::Outputs), tests),
        }
    })
}

fn on_rows<'t, R: Row, I: Iterator<Item = (Column, &'t Test)>>(rows: &[R], tests: impl Fn() -> I) -> bool {
    let picks = tests().any(|(_, test)| !test.is_negative());
    let narrows = |column: Column, test: &Test| !test.is_negative() || (picks && column != Column::Key);
    let one_row = || {
        rows.iter().any(|row| {
            tests()
                .filter(|(column, test)| narrows(*column, test))
                .all(|(column, test)| compare::one(row.column(column), test))
        })
    };
    let no_row = || {
        tests()
            .filter(|(column, test)| !narrows(*column, test))
            .all(|(column, test)| rows.iter().all(|row| compare::one(row.column(column), test)))
    };
    (!picks || one_row()) && no_row()
}

/// One row of a group.
trait Row {
    fn column(&self, column: Column) -> Seen<'_>;
}

impl Row for Entry {
    fn column(&self, column: Column) -> Seen<'_> {
        match column {
            Column::Key => Seen::Text(&self.path),
            Column::Value => self.value.seen(),
            Column::Score | Column::Source | Column::Comment => Seen::Null,
        }
    }
}

impl Row for FeedbackRow<'_> {
    fn column(&self, column: Column) -> Seen<'_> {
        match column {
            Column::Key => Seen::Text(self.key),
            Column::Value => self.value.seen(),
            Column::Score => self.score.map_or(Seen::Null, Seen::Number),
            Column::Source => self.source.as_deref().map_or(Seen::Null, Seen::Text),
            Column::Comment => self.comment.map_or(Seen::Null, Seen::Text),
        }
    }
}
