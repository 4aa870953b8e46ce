//! What a migration may do to a schema that older binaries still use: add, and nothing else, unless it says that they
//! must stop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The migration that brought the rule. What came before it is not bound by it.
const RULE: i64 = 3;

/// A migration's statements, in capitals and single blanks, without comments.
fn statements(text: &str) -> Vec<String> {
    let bare: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let statements = bare.join(" ").to_uppercase();
    let plain = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    statements.split(';').map(plain).filter(|statement| !statement.is_empty()).collect()
}

/// The table that a statement makes or changes.
fn table_of(statement: &str) -> &str {
    let behind = ["CREATE TABLE ", "ALTER TABLE ", " ON "];
    let rest = behind.iter().find_map(|words| statement.split_once(words)).map_or("", |(_, rest)| rest);
    let names = ["IF", "NOT", "EXISTS", "ONLY"];
    rest.split([' ', '(']).find(|word| !names.contains(word)).unwrap_or_default()
}

/// What older binaries would stumble over.
fn breaking(statements: &[String]) -> Vec<&String> {
    let new: BTreeSet<&str> =
        statements.iter().filter(|statement| statement.starts_with("CREATE TABLE ")).map(|s| table_of(s)).collect();
    let is_breaking = |statement: &&String| {
        let words = format!(" {statement} ");
        let has = |phrase: &str| words.contains(&format!(" {phrase} "));
        if statement.starts_with("CREATE TABLE ") {
            return false;
        }
        if statement.starts_with("ALTER TABLE ") || statement.starts_with("CREATE UNIQUE INDEX ") {
            let is_harmless = statement.starts_with("ALTER TABLE ")
                && !["DROP", "RENAME", "TYPE", "CONSTRAINT", "UNIQUE", "CHECK", "PRIMARY", "FOREIGN", "REFERENCES"]
                    .into_iter()
                    .any(has)
                && (!has("NOT NULL") || (has("DEFAULT") && !has("SET NOT NULL")));
            return !is_harmless && !new.contains(table_of(statement));
        }
        ["DROP ", "TRUNCATE ", "DELETE ", "CREATE TRIGGER ", "CREATE RULE ", "REVOKE "]
            .iter()
            .any(|begin| statement.starts_with(begin))
    };
    statements.iter().filter(is_breaking).collect()
}

/// Whether the migration tells older binaries to stop.
fn raises(version: i64, statements: &[String]) -> bool {
    let raise = format!("UPDATE COUNTERS SET VALUE = {version} WHERE NAME = 'LEAST_VERSION'");
    statements.contains(&raise)
}

/// The migrations of a backend by their versions.
fn migrations(backend: &str) -> BTreeMap<i64, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let version = name.split('_').next().unwrap().parse().unwrap();
        (version, statements(&fs::read_to_string(&path).unwrap()))
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

#[test]
fn a_migration_only_adds_unless_it_raises_the_least_version() {
    for backend in ["sqlite", "postgres"] {
        for (version, statements) in migrations(backend).into_iter().filter(|(version, _)| *version > RULE) {
            let breaking = breaking(&statements);
            assert!(
                breaking.is_empty() || raises(version, &statements),
                "migrations/{backend}/{version:04} is not for binaries that do not know it: {breaking:#?}\nEither only \
                 add (docs/adr/0009), or have it also say\n  UPDATE counters SET value = {version} WHERE name = \
                 'least_version';"
            );
        }
    }
}

#[test]
fn both_backends_ask_for_the_same_least_version() {
    let raised = |backend: &str| -> BTreeSet<i64> {
        let raises = |(version, statements): (i64, Vec<String>)| raises(version, &statements).then_some(version);
        migrations(backend).into_iter().filter_map(raises).collect()
    };
    assert_eq!(raised("sqlite"), raised("postgres"));
}

#[test]
fn what_breaks_older_binaries_is_told_from_what_does_not() {
    for (harmless, sql) in [
        (true, "CREATE TABLE moods (id BLOB NOT NULL PRIMARY KEY, mood TEXT NOT NULL) WITHOUT ROWID;"),
        (true, "create table moods (id uuid not null); create unique index moods_by_id on moods (id);"),
        (true, "-- DROP TABLE runs;\nCREATE INDEX runs_by_mood ON runs (tenant_id, mood);"),
        (true, "ALTER TABLE runs ADD COLUMN mood TEXT;"),
        (true, "ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL DEFAULT '';"),
        (true, "INSERT INTO counters (name, value) VALUES ('moods', 0);"),
        (false, "ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL;"),
        (false, "ALTER TABLE runs\n  ALTER COLUMN mood SET NOT NULL;"),
        (false, "ALTER TABLE runs ALTER COLUMN mood TYPE BIGINT;"),
        (false, "ALTER TABLE runs RENAME COLUMN mood TO temper;"),
        (false, "ALTER TABLE runs DROP COLUMN name;"),
        (false, "ALTER TABLE runs ADD CONSTRAINT short CHECK (length(name) < 9);"),
        (false, "CREATE UNIQUE INDEX runs_by_name ON runs (tenant_id, name);"),
        (false, "DROP TABLE runs;"),
        (false, "DROP INDEX projects_by_name;"),
        (false, "DELETE FROM matches;"),
        (false, "CREATE TRIGGER t AFTER INSERT ON runs BEGIN SELECT 1; END;"),
    ] {
        assert_eq!(breaking(&statements(sql)).is_empty(), harmless, "{sql}");
    }
    let raising = "DROP TABLE moods; UPDATE counters  SET value = 12\n WHERE name = 'least_version';";
    assert!(raises(12, &statements(raising)) && !raises(13, &statements(raising)));
}
