//! Reading the database. It is the checker's own reading: plain columns of the tables, and nothing of Runhook's code.

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::check::evidence::{Change, Evidence, Group, Match, Message, Progress, Project, Rule, Window};

/// An open database.
pub(crate) enum Source {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Id(Uuid),
    Number(i64),
    Text(String),
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Id,
    Number,
    Text,
}

use Kind::{Id, Number, Text};

impl Source {
    /// Opens the database at a URL, `sqlite://FILE` or `postgres://…`.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        if let Some(file) = url.strip_prefix("sqlite://") {
            let options = SqliteConnectOptions::new().filename(file).read_only(true);
            let connection = SqliteConnection::connect_with(&options).await;
            Ok(Self::Sqlite(connection.with_context(|| format!("cannot open {file}"))?))
        } else if url.starts_with("postgres") {
            Ok(Self::Postgres(PgConnection::connect(url).await.context("cannot connect to the database")?))
        } else {
            bail!("the database is sqlite://FILE or postgres://…")
        }
    }

    /// Hands every row of a statement over.
    async fn rows(
        &mut self,
        sql: &'static str,
        kinds: &[Kind],
        mut take: impl FnMut(&[Cell]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut cells = Vec::with_capacity(kinds.len());
        match self {
            Self::Sqlite(connection) => {
                let mut rows = sqlx::query(sql).fetch(connection);
                while let Some(row) = rows.try_next().await.context(sql)? {
                    cells.clear();
                    for (at, kind) in kinds.iter().enumerate() {
                        cells.push(sqlite_cell(&row, at, *kind).context(sql)?);
                    }
                    take(&cells)?;
                }
            }
            Self::Postgres(connection) => {
                let mut rows = sqlx::query(sql).fetch(connection);
                while let Some(row) = rows.try_next().await.context(sql)? {
                    cells.clear();
                    for (at, kind) in kinds.iter().enumerate() {
                        cells.push(postgres_cell(&row, at, *kind).context(sql)?);
                    }
                    take(&cells)?;
                }
            }
        }
        Ok(())
    }

    /// Reads everything the judge asks for.
    pub(crate) async fn read(&mut self, evidence: &mut Evidence) -> anyhow::Result<()> {
        self.read_runs(evidence).await?;
        self.read_rules(evidence).await?;
        self.read_progress(evidence).await?;
        self.read_messages(evidence).await
    }

    async fn read_runs(&mut self, evidence: &mut Evidence) -> anyhow::Result<()> {
        let sql = "SELECT project_id, name, last_seq FROM projects";
        self.rows(sql, &[Id, Text, Number], |cells| {
            if let [Cell::Id(id), Cell::Text(name), Cell::Number(last)] = cells {
                evidence.projects.insert(*id, Project { name: name.clone(), last_seq: *last });
            }
            Ok(())
        })
        .await?;
        self.rows("SELECT project_id, run_id FROM runs", &[Id, Id], |cells| {
            if let [Cell::Id(project), Cell::Id(run)] = cells {
                evidence.runs.push((*project, *run));
            }
            Ok(())
        })
        .await?;
        self.rows("SELECT run_id FROM feedback WHERE run_id IS NOT NULL", &[Id], |cells| {
            if let [Cell::Id(run)] = cells {
                evidence.feedback.push(*run);
            }
            Ok(())
        })
        .await?;
        self.rows("SELECT project_id, seq, run_id FROM changes", &[Id, Number, Id], |cells| {
            if let [Cell::Id(project), Cell::Number(seq), Cell::Id(run)] = cells {
                evidence.changes.push(Change { project: *project, seq: *seq, run: *run });
            }
            Ok(())
        })
        .await
    }

    async fn read_rules(&mut self, evidence: &mut Evidence) -> anyhow::Result<()> {
        self.rows("SELECT rule_id, key, state, rule FROM rules", &[Id, Text, Text, Text], |cells| {
            if let [Cell::Id(id), Cell::Text(key), Cell::Text(state), Cell::Text(rule)] = cells {
                evidence.rules.push(rule_of(*id, key, state, rule)?);
            }
            Ok(())
        })
        .await?;
        let sql = "SELECT project_id, rule_id, start_seq FROM rule_starts";
        self.rows(sql, &[Id, Id, Number], |cells| {
            if let [Cell::Id(project), Cell::Id(rule), Cell::Number(start)] = cells {
                evidence.starts.insert((*project, *rule), *start);
            }
            Ok(())
        })
        .await
    }

    async fn read_progress(&mut self, evidence: &mut Evidence) -> anyhow::Result<()> {
        let sql = "SELECT project_id, cadence, settle_us, seq FROM group_cursors";
        self.rows(sql, &[Id, Text, Number, Number], |cells| {
            if let [Cell::Id(project), Cell::Text(cadence), Cell::Number(settle), Cell::Number(seq)] = cells {
                let timing = timing(&serde_json::from_str(cadence)?, *settle);
                evidence.cursors.insert(Group { project: *project, timing }, *seq);
            }
            Ok(())
        })
        .await?;
        let sql = "SELECT project_id, progress, after_seq, through_seq FROM windows";
        self.rows(sql, &[Id, Text, Number, Number], |cells| {
            if let [Cell::Id(project), Cell::Text(progress), Cell::Number(after), Cell::Number(through)] = cells {
                let progress = progress_of(*project, progress)?;
                evidence.windows.push(Window { progress, after: *after, through: *through });
            }
            Ok(())
        })
        .await
    }

    async fn read_messages(&mut self, evidence: &mut Evidence) -> anyhow::Result<()> {
        self.rows("SELECT rule_id, run_id FROM matches", &[Id, Id], |cells| {
            if let [Cell::Id(rule), Cell::Id(run)] = cells {
                evidence.matches.push(Match { rule: *rule, run: *run });
            }
            Ok(())
        })
        .await?;
        let sql = "SELECT message_id, rule_id, CAST(runs AS BIGINT) FROM messages";
        self.rows(sql, &[Id, Id, Number], |cells| {
            if let [Cell::Id(id), Cell::Id(rule), Cell::Number(runs)] = cells {
                evidence.messages.push(Message { id: *id, rule: *rule, runs: *runs });
            }
            Ok(())
        })
        .await?;
        let sql = "SELECT CAST(state AS BIGINT), COUNT(*) FROM deliveries GROUP BY state";
        self.rows(sql, &[Number, Number], |cells| {
            if let [Cell::Number(state), Cell::Number(count)] = cells {
                let state = match state {
                    0 => "pending",
                    1 => "delivered",
                    2 => "failed",
                    _ => "in a state nobody knows",
                };
                evidence.deliveries.insert(state, u64::try_from(*count).unwrap_or_default());
            }
            Ok(())
        })
        .await
    }
}

fn sqlite_cell(row: &SqliteRow, at: usize, kind: Kind) -> sqlx::Result<Cell> {
    Ok(match kind {
        Id => Cell::Id(row.try_get(at)?),
        Number => Cell::Number(row.try_get(at)?),
        Text => Cell::Text(row.try_get(at)?),
    })
}

fn postgres_cell(row: &PgRow, at: usize, kind: Kind) -> sqlx::Result<Cell> {
    Ok(match kind {
        Id => Cell::Id(row.try_get(at)?),
        Number => Cell::Number(row.try_get(at)?),
        Text => Cell::Text(row.try_get(at)?),
    })
}

fn rule_of(id: Uuid, key: &str, state: &str, rule: &str) -> anyhow::Result<Rule> {
    let rule: Value = serde_json::from_str(rule).with_context(|| format!("rule {key}"))?;
    let member = |name: &str| rule.get(name).with_context(|| format!("rule {key} has no `{name}`"));
    Ok(Rule {
        id,
        key: key.to_owned(),
        project: member("project")?.as_str().unwrap_or_default().to_owned(),
        timing: timing(member("cadence")?, micros(member("settle")?)),
        active: state == "active",
        tells: member("endpoints")?.as_array().is_some_and(|endpoints| !endpoints.is_empty()),
    })
}

fn progress_of(project: Uuid, progress: &str) -> anyhow::Result<Progress> {
    let value: Value = serde_json::from_str(progress)?;
    if let Some(rule) = value.get("span").and_then(Value::as_str) {
        return Ok(Progress::Span(project, rule.parse()?));
    }
    let group = value.get("group").with_context(|| format!("a window's progress is {progress}"))?;
    let cadence = group.get("cadence").context("a window's group has no cadence")?;
    let settle = micros(group.get("settle").context("a window's group has no settle")?);
    Ok(Progress::Group(Group { project, timing: timing(cadence, settle) }))
}

/// A duration as it is stored: seconds and nanoseconds.
fn micros(duration: &Value) -> i64 {
    let part = |name: &str| duration.get(name).and_then(Value::as_i64).unwrap_or_default();
    part("secs").saturating_mul(1_000_000).saturating_add(part("nanos") / 1000)
}

/// Cadence and settle time, as one text.
fn timing(cadence: &Value, settle_micros: i64) -> String {
    format!("{cadence} settled {settle_micros}")
}
