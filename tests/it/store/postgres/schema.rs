//! Two schemas that must stay one, and statements that must fit them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use runhook::store::sqlite::SqliteStore;
use runhook::store::transfer::TABLES;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqlSafeStr as _, SqliteConnection};

use super::Replica;

/// A table's columns, each with whether it may be null, and its primary key in order.
#[derive(Debug, Default, PartialEq)]
struct Table {
    columns: BTreeMap<String, bool>,
    key: Vec<String>,
}

type Tables = BTreeMap<String, Table>;

async fn tables_of_sqlite() -> Tables {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runhook.db");
    let (_store, writer) = SqliteStore::open(&file).await.unwrap();
    drop(writer);
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let columns = "SELECT t.name, c.name, c.\"notnull\" = 0 AND c.pk = 0, c.pk FROM pragma_table_list t \
                   JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' \
                   AND t.name <> '_sqlx_migrations' ORDER BY t.name, c.pk";
    let mut tables = Tables::new();
    for row in sqlx::query(columns).fetch_all(&mut connection).await.unwrap() {
        let (column, place): (String, i64) = (row.get(1), row.get(3));
        let table = tables.entry(row.get(0)).or_default();
        if place > 0 {
            table.key.push(column.clone());
        }
        table.columns.insert(column, row.get(2));
    }
    tables
}

async fn tables_of_postgres(replica: &Replica) -> Tables {
    let mut connection = replica.database.connect().await;
    let columns = "SELECT table_name::text, column_name::text, is_nullable = 'YES' FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
    let mut tables = Tables::new();
    for row in sqlx::query(columns).fetch_all(&mut connection).await.unwrap() {
        tables.entry(row.get(0)).or_default().columns.insert(row.get(1), row.get(2));
    }
    let keys = "SELECT k.table_name::text, k.column_name::text FROM information_schema.table_constraints c \
                JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name) \
                WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations' \
                ORDER BY k.table_name, k.ordinal_position";
    for row in sqlx::query(keys).fetch_all(&mut connection).await.unwrap() {
        tables.entry(row.get(0)).or_default().key.push(row.get(1));
    }
    tables
}

#[tokio::test]
async fn both_backends_have_the_same_tables_columns_and_keys() {
    let Some(replica) = Replica::open().await else { return };
    let mut of_sqlite = tables_of_sqlite().await;
    // SQLite numbers the rows of a table by a key of one column; in PostgreSQL keys begin with the tenant.
    let waiting = of_sqlite.get_mut("waiting_parts").unwrap();
    assert_eq!(waiting.key, ["position"]);
    waiting.key.insert(0, "tenant_id".into());
    let mut of_postgres = tables_of_postgres(&replica).await;
    // The one process that has a file keeps its schedulers' leases in memory.
    assert!(of_postgres.remove("project_leases").is_some());
    let names = |tables: &Tables| tables.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&of_sqlite), names(&of_postgres));
    for (name, table) in &of_sqlite {
        assert_eq!(Some(table), of_postgres.get(name), "{name}");
    }
    replica.close().await;
}

#[tokio::test]
async fn every_table_is_copied_from_a_file_into_postgres() {
    let Some(replica) = Replica::open().await else { return };
    let mut there: BTreeSet<String> = tables_of_postgres(&replica).await.into_keys().collect();
    // What schedulers hold for a moment is not in a file.
    there.remove("project_leases");
    let copied = BTreeSet::from(TABLES.map(str::to_owned));
    assert_eq!(there, copied, "the schema's tables, and those that `runhook migrate --from` copies");
    replica.close().await;
}

/// The complete statements among the constants of a source file.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for constant in source.split("const ").skip(1) {
        let Some(constant) = constant.split(';').next() else { continue };
        // Odd pieces between quotation marks are literals; one with an escaped mark is put together again.
        let marked = constant.replace("\\\"", "\u{1}");
        for literal in marked.split('"').skip(1).step_by(2) {
            let literal = literal.replace('\u{1}', "\"");
            let pieces: Vec<&str> = literal.split("\\\n").map(str::trim_start).collect();
            let text = pieces.concat();
            let begins = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "TRUNCATE "];
            if begins.iter().any(|word| text.starts_with(word)) && !text.ends_with("= ") {
                found.push(text);
            }
        }
    }
    found
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let Some(replica) = Replica::open().await else { return };
    let mut connection = replica.database.connect().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let mut prepared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for statement in statements(&std::fs::read_to_string(&path).unwrap()) {
            if let Err(error) = connection.prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await {
                panic!("{}: {statement}\n{error}", path.display());
            }
            prepared += 1;
        }
    }
    assert!(prepared > 80, "only {prepared} statements were found");
    replica.close().await;
}
