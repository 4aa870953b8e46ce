//! Searching runs. SQLite keeps no statistics here, so it is told which index to use.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use crate::filter::sql::{Piece, Shape};
use crate::model::id::TenantId;
use crate::store::row::{Cells, json_text};
use crate::store::search::path::{FEW, Few, Ordered, Probe, probes};
use crate::store::search::render::{self, By, Statement, Way};
use crate::store::search::{Found, Search, Within};
use crate::store::sqlite::row::id_list;
use crate::store::{Result, records};

impl Statement for QueryBuilder<Sqlite> {
    fn sql(&mut self, words: &str) {
        self.push(words);
    }

    fn id(&mut self, id: Uuid) {
        self.push_bind(id);
    }

    fn number(&mut self, number: i64) {
        self.push_bind(number);
    }

    fn real(&mut self, number: f64) {
        self.push_bind(number);
    }

    fn word(&mut self, word: &str) {
        self.push_bind(word.to_owned());
    }

    fn score(&mut self) {
        self.push("CASE WHEN json_valid(f.body) THEN json_extract(f.body, '$.score') END");
    }

    fn in_ids(&mut self, ids: &[Uuid]) {
        self.push(" IN (SELECT unhex(value) FROM json_each(").push_bind(id_list(ids.iter().copied())).push("))");
    }

    fn in_words(&mut self, words: &[String]) {
        // Text is always JSON; an empty list stands for what cannot happen.
        let list = json_text(words).unwrap_or_else(|_| "[]".to_owned());
        self.push(" IN (SELECT value FROM json_each(").push_bind(list).push("))");
    }

    fn is_named(&mut self, column: &str, name: &str) {
        self.push(column).push(" = ").push_bind(name.to_owned());
    }

    fn is_like(&mut self, column: &str, shape: &Shape) {
        // GLOB stops reading where a text has the character with the number 0.
        let (join, cut) = if shape.in_doubt { (" OR ", "> 0") } else { (" AND ", "= 0") };
        self.push(column).push(" GLOB ").push_bind(glob(shape)).push(join);
        self.push("instr(").push(column).push(", char(0)) ").push(cut);
    }

    fn one_by_one(&mut self, (tenant, project): (Uuid, Uuid), by: By, ids: &[Uuid]) {
        let (column, index) = by.column();
        // From each id to its runs: `CROSS JOIN` keeps the order.
        self.push("json_each(").push_bind(id_list(ids.iter().copied())).push(") way CROSS JOIN runs r");
        if let Some(index) = index {
            self.by_index(index);
        }
        self.push(" WHERE r.tenant_id = ").push_bind(tenant).push(" AND r.project_id = ").push_bind(project);
        self.push(" AND r.").push(column).push(" = unhex(way.value)");
    }

    fn by_index(&mut self, index: &str) {
        self.push(" INDEXED BY ").push(index);
    }
}

fn glob(shape: &Shape) -> String {
    let mut pattern = String::new();
    for piece in &shape.pieces {
        match piece {
            Piece::Any => pattern.push('*'),
            Piece::One => pattern.push('?'),
            Piece::Text(text) => {
                for c in text.chars() {
                    match c {
                        '*' | '?' | '[' => pattern.extend(['[', c, ']']),
                        c => pattern.push(c),
                    }
                }
            }
        }
    }
    pattern
}

pub(super) async fn search(readers: &SqlitePool, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
    if search.is_vain() {
        return Ok(Vec::new());
    }
    let way = way(readers, tenant, search).await?;
    let rows = statement(tenant, search, &way).build().fetch_all(readers).await?;
    rows.iter().map(records::found).collect()
}

/// The statement of a search.
pub(super) fn statement(tenant: TenantId, search: &Search, way: &Way) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("");
    render::search(&mut sql, tenant, search, way);
    sql
}

/// The statement that counts something.
pub(super) fn count(tenant: TenantId, probe: &Probe<'_>) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("");
    render::probe(&mut sql, tenant, probe);
    sql
}

/// The shortest way to the runs of a search.
async fn way(readers: &SqlitePool, tenant: TenantId, search: &Search) -> Result<Way> {
    if !matches!(search.within, Within::Project(_)) {
        return Ok(Way::Along(Ordered::Start));
    }
    for (probe, few) in probes(search) {
        let found = ids(&count(tenant, &probe).build().fetch_all(readers).await?)?;
        if found.len() > FEW as usize {
            continue;
        }
        return Ok(match few {
            Few::Runs(known) => Way::Runs(found, known.clone()),
            Few::Traces(relation) => Way::Traces(found, Some(relation)),
            Few::Relatives(project) => {
                let mut sql = QueryBuilder::new("");
                render::relatives(&mut sql, tenant, project, &found);
                Way::Traces(ids(&sql.build().fetch_all(readers).await?)?, None)
            }
        });
    }
    Ok(Way::Along(Ordered::of(&search.run)))
}

fn ids(rows: &[SqliteRow]) -> Result<Vec<Uuid>> {
    rows.iter().map(|row| Cells::of("runs", row).take()).collect()
}
