//! Searching runs. PostgreSQL cannot be told which index to use; it is told what can be indexed in the words of the
//! indexes, and what is few by its ids. Searches are all different, so they are not prepared under a name: each is planned
//! for its own values.

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::filter::sql::{Piece, Shape};
use crate::model::id::TenantId;
use crate::store::postgres::session::Session;
use crate::store::postgres::text;
use crate::store::row::Cells;
use crate::store::search::path::{FEW, Few, Ordered, Probe, probes};
use crate::store::search::render::{self, By, Statement, Way};
use crate::store::search::{Found, Search, Within};
use crate::store::{Result, records};

/// The score in a record of feedback. The first key of this name in its text is that of the record: nothing is before it in
/// which a client's own JSON could be.
const SCORE: &str = r#"CAST(replace(replace(nullif(substring(f.body from
    '"score":(null|true|false|-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)'), 'null'), 'true', '1'), 'false', '0')
    AS double precision)"#;

impl Statement for QueryBuilder<Postgres> {
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

    fn score(&mut self) {
        self.push(SCORE);
    }

    fn word(&mut self, word: &str) {
        self.push_bind(text(word).into_owned());
    }

    fn in_ids(&mut self, ids: &[Uuid]) {
        self.push(" = ANY(").push_bind(ids.to_vec()).push(")");
    }

    fn in_words(&mut self, words: &[String]) {
        let words: Vec<String> = words.iter().map(|word| text(word).into_owned()).collect();
        self.push(" = ANY(").push_bind(words).push(")");
    }

    fn is_named(&mut self, column: &str, name: &str) {
        // An entry of an index has its limits, so the one of names has only their beginnings.
        self.push("left(").push(column).push(", 100) = left(").push_bind(text(name).into_owned()).push(", 100) AND ");
        self.push(column).push(" = ").push_bind(text(name).into_owned());
    }

    fn is_like(&mut self, column: &str, shape: &Shape) {
        // What stands for the character with the number 0 may have been another.
        let (join, cut) = if shape.in_doubt { (" OR ", "> 0") } else { (" AND ", "= 0") };
        self.push(column).push(" LIKE ").push_bind(pattern(shape)).push(join);
        self.push("strpos(").push(column).push(", chr(65533)) ").push(cut);
    }

    fn one_by_one(&mut self, (tenant, project): (Uuid, Uuid), by: By, ids: &[Uuid]) {
        // `OFFSET 0` keeps the runs of each id apart; else the planner reads the table to find those of all.
        self.push("unnest(").push_bind(ids.to_vec());
        self.push(") AS way (id) CROSS JOIN LATERAL (SELECT * FROM runs WHERE tenant_id = ").push_bind(tenant);
        self.push(" AND project_id = ").push_bind(project).push(" AND ").push(by.column().0);
        self.push(if by == By::TraceOfRoots { " = way.id AND is_root" } else { " = way.id" });
        self.push(" OFFSET 0) r WHERE (1 = 1)");
    }

    fn by_index(&mut self, _index: &str) {}
}

fn pattern(shape: &Shape) -> String {
    let mut pattern = String::new();
    for piece in &shape.pieces {
        match piece {
            Piece::Any => pattern.push('%'),
            Piece::One => pattern.push('_'),
            Piece::Text(text) => {
                for c in text.chars() {
                    if matches!(c, '%' | '_' | '\\') {
                        pattern.push('\\');
                    }
                    pattern.push(c);
                }
            }
        }
    }
    pattern
}

pub(super) async fn search(reader: &mut Session, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
    if search.is_vain() {
        return Ok(Vec::new());
    }
    let way = way(reader, tenant, search).await?;
    let rows = statement(tenant, search, &way).build().persistent(false).fetch_all(reader).await?;
    rows.iter().map(records::found).collect()
}

/// The statement of a search.
pub(super) fn statement(tenant: TenantId, search: &Search, way: &Way) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    render::search(&mut sql, tenant, search, way);
    sql
}

/// The statement that counts something.
pub(super) fn count(tenant: TenantId, probe: &Probe<'_>) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    render::probe(&mut sql, tenant, probe);
    sql
}

/// The shortest way to the runs of a search.
async fn way(reader: &mut Session, tenant: TenantId, search: &Search) -> Result<Way> {
    if !matches!(search.within, Within::Project(_)) {
        return Ok(Way::Along(Ordered::Start));
    }
    for (probe, few) in probes(search) {
        let found = ids(&count(tenant, &probe).build().persistent(false).fetch_all(&mut *reader).await?)?;
        if found.len() > FEW as usize {
            continue;
        }
        return Ok(match few {
            Few::Runs(known) => Way::Runs(found, known.clone()),
            Few::Traces(relation) => Way::Traces(found, Some(relation)),
            Few::Relatives(project) => {
                let mut sql = QueryBuilder::new("");
                render::relatives(&mut sql, tenant, project, &found);
                Way::Traces(ids(&sql.build().persistent(false).fetch_all(reader).await?)?, None)
            }
        });
    }
    Ok(Way::Along(Ordered::of(&search.run)))
}

fn ids(rows: &[PgRow]) -> Result<Vec<Uuid>> {
    rows.iter().map(|row| Cells::of("runs", row).take()).collect()
}
