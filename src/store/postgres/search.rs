//! Searching runs. PostgreSQL knows what its columns hold and finds its own way; it is only told what can be indexed in
//! the words of the indexes. Searches are all different, so they are not prepared under a name: each is planned for its
//! own values.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::filter::sql::{Piece, Shape};
use crate::model::id::TenantId;
use crate::store::postgres::session::Session;
use crate::store::postgres::text;
use crate::store::search::path::Ordered;
use crate::store::search::render::{self, Statement, Way};
use crate::store::search::{Found, Search};
use crate::store::{Result, records};

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
    let rows = statement(tenant, search).build().persistent(false).fetch_all(reader).await?;
    rows.iter().map(records::found).collect()
}

/// The statement of a search.
pub(super) fn statement(tenant: TenantId, search: &Search) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    render::search(&mut sql, tenant, search, &Way::Along(Ordered::Start));
    sql
}
