//! Two versions on one schema, as the real binary. A newer version is imitated by what it would do: a further migration,
//! entered in the migrator's books.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _};

use crate::replicas::{BOUND, Shared, rest, send, within};
use crate::support::home::Home;
use crate::support::server::{Server, Settings, runhook};

/// What a newer version adds.
const ADDED: &str = "
    ALTER TABLE runs ADD COLUMN mood TEXT;
    ALTER TABLE deliveries ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
    CREATE TABLE moods (tenant_id UUID NOT NULL, mood TEXT NOT NULL, PRIMARY KEY (tenant_id, mood));
    CREATE INDEX runs_by_mood ON runs (tenant_id, mood);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9001, 'moods', true, '00', 0);";

/// What it does when older versions must not go on.
const RAISED: &str = "
    UPDATE counters SET value = 9002 WHERE name = 'least_version';
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9002, 'no more names', true, '00', 0);";

/// The same for SQLite, where bytes are written as such.
fn of_sqlite(statements: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(statements.replace("'00'", "x'00'"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_goes_on_and_starts_beside_a_newer_one_that_only_added() {
    let Some(shared) = Shared::begin().await else { return };
    let before = shared.replica();
    let mut sent = BTreeSet::from([3, 4, 5, 6]);
    assert_eq!(send(&before, &[3, 4, 5, 6]).await, 202);
    within(BOUND, "notifications", shared.all_notified(&sent)).await;
    shared.database.sql(ADDED).await;
    let after = shared.replica();
    for round in 2_usize..12 {
        let (left, right): (Vec<usize>, Vec<usize>) =
            ((6 * round..6 * round + 3).collect(), (6 * round + 3..6 * round + 6).collect());
        assert_eq!(tokio::join!(send(&before, &left), send(&after, &right)), (202, 202));
        sent.extend(left.into_iter().chain(right));
    }
    within(BOUND, "notifications", shared.all_notified(&sent)).await;
    rest(&after).await;
    shared.check_once(&sent);
    let (code, said) = shared.command(&["migrate"]);
    assert!(code == 0 && said.contains("is up to date, at version 9001"), "{code}: {said}");
    let (code, said) = shared.command(&["doctor"]);
    assert!(code == 0 && said.contains("at schema version 9001"), "{code}: {said}");
    for server in [before, after] {
        let (status, log) = server.stop();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_stops_and_does_not_start_where_a_newer_one_did_more_than_add() {
    let Some(shared) = Shared::begin().await else { return };
    let server = shared.replica();
    assert_eq!(send(&server, &[3]).await, 202);
    shared.database.sql(RAISED).await;
    let (status, log) =
        within(BOUND, "the end", async { tokio::task::spawn_blocking(|| server.ended()).await.unwrap() }).await;
    assert_eq!(status.code(), Some(3), "{log}");
    let said = "the database was written by a newer version of runhook: its schema is 9002";
    assert!(log.contains(said) && log.contains("less than 9002") && log.contains("Start the newer version"), "{log}");
    let refused = Server::start_in(Arc::clone(&shared.home), shared.settings(&shared.database.url, &[]));
    let refused = refused.err().expect("too old");
    assert!(refused.status.code() == Some(3) && refused.log.contains(said), "{}", refused.log);
    for (command, expected) in [("migrate", 3), ("doctor", 1)] {
        let (code, said) = shared.command(&[command]);
        assert!(code == expected && said.contains("newer version of runhook"), "{command}: {code}: {said}");
    }
}

#[tokio::test]
async fn an_embedded_server_starts_on_a_newer_schema_that_only_added_and_on_no_other() {
    let home = Arc::new(Home::embedded());
    let server = Server::start_in(home, Settings::default()).expect("a first start");
    let file = server.data_dir().join("runhook.db");
    let home = server.kill9();
    let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::raw_sql(of_sqlite(ADDED)).execute(&mut connection).await.unwrap();
    let server = Server::start_in(Arc::clone(&home), Settings::default()).expect("only added");
    assert_eq!(send(&server, &[1, 2, 3]).await, 202);
    server.kill9();
    sqlx::raw_sql(of_sqlite(RAISED)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let refused = Server::start_in(Arc::clone(&home), Settings::default()).err().expect("too old");
    assert!(refused.log.contains("runhook.db was written by a newer version of runhook"), "{}", refused.log);
    let doctor = runhook().arg("doctor").current_dir(home.path()).output().unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.status.code() == Some(1) && said.contains("newer version of runhook"), "{said}");
}
