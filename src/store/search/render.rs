//! A search, written down as SQL.
//!
//! What a [`Clause`] calls false must be false here and never NULL, or `NOT` would turn nothing into nothing where it
//! should say yes. So a test of a column that may hold nothing asks first whether it does.

use uuid::Uuid;

use crate::filter::sql::{Clause, Column, FeedbackColumn, FeedbackTest, Order, Shape, Test};
use crate::model::id::{ProjectId, TenantId};
use crate::model::run::Status;
use crate::store::search::path::{FEW, Ordered, Probe};
use crate::store::search::{Search, Within};

/// A statement that is being written, in some database's words.
pub(in crate::store) trait Statement {
    /// The words themselves.
    fn sql(&mut self, words: &str);
    /// An id.
    fn id(&mut self, id: Uuid);
    /// A number.
    fn number(&mut self, number: i64);
    /// A number that need not be whole.
    fn real(&mut self, number: f64);
    /// A word.
    fn word(&mut self, word: &str);
    /// The score in a record of feedback, in the words of the index of scores.
    fn score(&mut self);
    /// ` IN (…)`, or what means the same, of ids.
    fn in_ids(&mut self, ids: &[Uuid]);
    /// ` IN (…)`, or what means the same, of words.
    fn in_words(&mut self, words: &[String]);
    /// The name in this column is this one, as the index of names has it.
    fn is_named(&mut self, column: &str, name: &str);
    /// The text in this column has this shape.
    fn is_like(&mut self, column: &str, shape: &Shape);
    /// `runs r WHERE …`, or what means the same: the runs of a project of a tenant with one of these ids in a column, each id
    /// looked up.
    fn one_by_one(&mut self, of: (Uuid, Uuid), by: By, ids: &[Uuid]);
    /// Names the index to use, where databases are told.
    fn by_index(&mut self, index: &str);
}

/// Which run of a trace is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Relation {
    /// Its root.
    Root,
    /// Any.
    Any,
}

/// What runs are looked up by, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum By {
    /// Their ids.
    Run,
    /// Their traces.
    Trace,
    /// Their traces, and only roots are looked for.
    TraceOfRoots,
}

impl By {
    /// The column, and the index if it is not the key.
    pub(in crate::store) fn column(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Run => ("run_id", None),
            Self::Trace => ("trace_id", Some("runs_by_trace")),
            Self::TraceOfRoots => ("trace_id", Some("runs_roots")),
        }
    }
}

/// How the runs of a search are reached.
#[derive(Debug, Clone)]
pub(in crate::store) enum Way {
    /// Along an index, in order.
    Along(Ordered),
    /// One by one, when this holds of them all.
    Runs(Vec<Uuid>, Clause),
    /// Trace by trace, when of each it is known that its root passes, or that some run of it does.
    Traces(Vec<Uuid>, Option<Relation>),
}

/// The statement of a search: run, project, trace and start of each run.
pub(in crate::store) fn search(sql: &mut dyn Statement, tenant: TenantId, search: &Search, way: &Way) {
    sql.sql("SELECT r.run_id, r.project_id, r.trace_id, r.start_at FROM ");
    among(sql, tenant, search, way);
    let is_new = |part: &&Clause| match way {
        Way::Runs(_, known) => *part != known,
        Way::Along(_) | Way::Traces(..) => true,
    };
    for part in search.run.conjuncts().filter(|part| **part != Clause::Always).filter(is_new) {
        sql.sql(" AND ");
        clause(sql, "r", part);
    }
    for (part, relation) in [(&search.root, Relation::Root), (&search.tree, Relation::Any)] {
        let is_known = matches!(way, Way::Traces(_, Some(known)) if *known == relation);
        if *part != Clause::Always && !is_known {
            sql.sql(" AND EXISTS (SELECT 1 FROM runs t");
            sql.by_index("runs_by_trace");
            sql.sql(
                " WHERE t.tenant_id = r.tenant_id AND t.project_id = r.project_id AND t.trace_id = r.trace_id AND ",
            );
            of_trace(sql, part, relation);
            sql.sql(")");
        }
    }
    // SQLite would rather read all of a project in this order than sort a few runs; what is computed no index is by.
    let start_at = if matches!(way, Way::Runs(..)) { "+r.start_at" } else { "r.start_at" };
    let (than, order) = if search.newest_first { ("<", "DESC") } else { (">", "ASC") };
    if let Some((start, run)) = search.after {
        sql.sql(&format!(" AND ({start_at}, r.run_id) {than} ("));
        sql.number(start.0);
        sql.sql(", ");
        sql.id(run.0);
        sql.sql(")");
    }
    sql.sql(&format!(" ORDER BY {start_at} {order}, r.run_id {order} LIMIT "));
    sql.number(search.limit.into());
}

fn among(sql: &mut dyn Statement, tenant: TenantId, search: &Search, way: &Way) {
    if let Within::Runs(runs) = &search.within {
        let runs: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        sql.sql("run_bodies b CROSS JOIN runs r WHERE r.tenant_id = b.tenant_id AND r.project_id = b.project_id ");
        sql.sql("AND r.run_id = b.run_id AND b.tenant_id = ");
        sql.id(tenant.0);
        sql.sql(" AND b.run_id");
        return sql.in_ids(&runs);
    }
    match (&search.within, way) {
        (Within::Project(project), Way::Runs(runs, _)) => {
            return sql.one_by_one((tenant.0, project.0), By::Run, runs);
        }
        (Within::Project(project), Way::Traces(traces, _)) => {
            let are_roots =
                search.run.conjuncts().any(|part| *part == Clause::Column(Column::IsRoot, Test::Flag(true)));
            let by = if are_roots { By::TraceOfRoots } else { By::Trace };
            return sql.one_by_one((tenant.0, project.0), by, traces);
        }
        _ => {}
    }
    sql.sql("runs r");
    match (&search.within, way) {
        (Within::Trace(_), _) => sql.by_index("runs_by_trace"),
        (_, Way::Along(by)) => sql.by_index(by.name()),
        _ => {}
    }
    sql.sql(" WHERE r.tenant_id = ");
    sql.id(tenant.0);
    match &search.within {
        Within::Project(project) => {
            sql.sql(" AND r.project_id = ");
            sql.id(project.0);
        }
        Within::Trace(trace) => {
            // The index by trace begins with the project.
            sql.sql(" AND r.project_id IN (SELECT project_id FROM projects WHERE tenant_id = ");
            sql.id(tenant.0);
            sql.sql(") AND r.trace_id = ");
            sql.id(trace.0);
        }
        Within::Runs(_) => {}
    }
}

/// The statement that counts something, as far as it is few: it gives the ids.
pub(in crate::store) fn probe(sql: &mut dyn Statement, tenant: TenantId, probe: &Probe<'_>) {
    match probe {
        Probe::Judged(tests) => {
            let by_score = tests.iter().any(|test| matches!(test, FeedbackTest::Score(..)));
            sql.sql("SELECT DISTINCT f.run_id FROM feedback f");
            sql.by_index(if by_score { "feedback_by_score" } else { "feedback_by_key" });
            sql.sql(" WHERE f.run_id IS NOT NULL AND f.tenant_id = ");
            sql.id(tenant.0);
            for test in *tests {
                sql.sql(" AND ");
                feedback(sql, test);
            }
        }
        Probe::Traces { project, of, relation, by } => {
            sql.sql("SELECT DISTINCT t.trace_id FROM runs t");
            sql.by_index(by.of_traces());
            sql.sql(" WHERE t.tenant_id = ");
            sql.id(tenant.0);
            sql.sql(" AND t.project_id = ");
            sql.id(project.0);
            sql.sql(" AND ");
            of_trace(sql, of, *relation);
        }
    }
    sql.sql(" LIMIT ");
    sql.number(i64::from(FEW).saturating_add(1));
}

/// The statement that finds the traces of a project in which these runs are.
pub(in crate::store) fn relatives(sql: &mut dyn Statement, tenant: TenantId, project: ProjectId, runs: &[Uuid]) {
    sql.sql("SELECT DISTINCT r.trace_id FROM ");
    sql.one_by_one((tenant.0, project.0), By::Run, runs);
}

/// What holds of a run of the trace.
fn of_trace(sql: &mut dyn Statement, part: &Clause, relation: Relation) {
    if relation == Relation::Root {
        sql.sql("(t.is_root OR t.run_id = t.trace_id) AND ");
    }
    clause(sql, "t", part);
}

fn clause(sql: &mut dyn Statement, of: &str, part: &Clause) {
    match part {
        Clause::Always => sql.sql("(1 = 1)"),
        Clause::Never => sql.sql("(1 = 0)"),
        Clause::All(parts) => joined(sql, of, parts, " AND "),
        Clause::Any(parts) => joined(sql, of, parts, " OR "),
        Clause::Not(inner) => {
            sql.sql("(NOT ");
            clause(sql, of, inner);
            sql.sql(")");
        }
        Clause::Column(column, test) => tested(sql, of, *column, test),
        Clause::Feedback(tests) => {
            sql.sql("EXISTS (SELECT 1 FROM feedback f WHERE f.tenant_id = ");
            sql.sql(&format!("{of}.tenant_id AND f.run_id = {of}.run_id"));
            for test in tests {
                sql.sql(" AND ");
                feedback(sql, test);
            }
            sql.sql(")");
        }
    }
}

fn joined(sql: &mut dyn Statement, of: &str, parts: &[Clause], word: &str) {
    sql.sql("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.sql(word);
        }
        clause(sql, of, part);
    }
    sql.sql(")");
}

fn tested(sql: &mut dyn Statement, of: &str, column: Column, test: &Test) {
    let name = expression(of, column);
    if *test == Test::Nothing {
        return sql.sql(&format!("({name} IS NULL)"));
    }
    sql.sql("(");
    if matches!(column, Column::Parent | Column::End | Column::Latency) {
        sql.sql(&format!("{name} IS NOT NULL AND "));
    }
    match test {
        Test::Nothing => {}
        Test::Ids(ids) => {
            sql.sql(&name);
            match ids.as_slice() {
                [id] => {
                    sql.sql(" = ");
                    sql.id(*id);
                }
                ids => sql.in_ids(ids),
            }
        }
        Test::Words(words) => match (column, words.as_slice()) {
            (Column::Name, [word]) => sql.is_named(&name, word),
            // Said in so many words, for an index that holds only these.
            (Column::Status, [word]) if word == Status::Error.as_str() => sql.sql(&format!("{name} = 'error'")),
            (_, [word]) => {
                sql.sql(&format!("{name} = "));
                sql.word(word);
            }
            (_, words) => {
                sql.sql(&name);
                sql.in_words(words);
            }
        },
        Test::Flag(true) => sql.sql(&name),
        Test::Flag(false) => sql.sql(&format!("NOT {name}")),
        Test::Order(order, number) => compared(sql, &name, sign(*order), *number),
        Test::Number(number) => compared(sql, &name, "=", *number),
        Test::Like(shape) => sql.is_like(&name, shape),
    }
    sql.sql(")");
}

fn compared(sql: &mut dyn Statement, name: &str, sign: &str, number: i64) {
    sql.sql(&format!("{name} {sign} "));
    sql.number(number);
}

fn sign(order: Order) -> &'static str {
    match order {
        Order::Gt => ">",
        Order::Gte => ">=",
        Order::Lt => "<",
        Order::Lte => "<=",
    }
}

fn expression(of: &str, column: Column) -> String {
    let name = match column {
        Column::Id => "run_id",
        Column::Trace => "trace_id",
        Column::Project => "project_id",
        Column::Parent => "parent_run_id",
        Column::Name => "name",
        Column::RunType => "run_type",
        Column::Status => "status",
        Column::IsRoot => "is_root",
        Column::Start => "start_at",
        Column::End => "end_at",
        Column::Latency => return format!("({of}.end_at - {of}.start_at)"),
    };
    format!("{of}.{name}")
}

fn feedback(sql: &mut dyn Statement, test: &FeedbackTest) {
    match test {
        FeedbackTest::Words { column, words, negated } => worded(sql, *column, words, *negated),
        FeedbackTest::Score(order, number) => {
            sql.score();
            sql.sql(&format!(" {} ", sign(*order)));
            sql.real(*number);
        }
    }
}

fn worded(sql: &mut dyn Statement, column: FeedbackColumn, words: &[String], negated: bool) {
    let name = match column {
        FeedbackColumn::Key => "f.key",
        FeedbackColumn::Source => "f.source",
    };
    sql.sql(if negated { "NOT (" } else { "(" });
    if column == FeedbackColumn::Source {
        sql.sql("f.source IS NOT NULL AND ");
    }
    match words {
        [word] => {
            sql.sql(&format!("{name} = "));
            sql.word(word);
        }
        words => {
            sql.sql(name);
            sql.in_words(words);
        }
    }
    sql.sql(")");
}
