//! `runhook migrate --from`: copies a data directory into a PostgreSQL, and says what to do next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Arguments;
use super::progress::Shown;
use crate::app::transfer::{Blobs, Move, Moved, TransferFailed};
use crate::app::{DataDir, KeyFile, StartError, database_in};
use crate::cli::count::counted;
use crate::cli::{Connect, Context, Exit, Output};
use crate::config::{DatabaseUrl, Overrides};
use crate::store::transfer::{BatchSize, TransferError};

/// Copies, compares, and says so.
pub(super) async fn run(from: &str, arguments: &Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    let moving = plan(from, arguments, &context.connect)?;
    let began = Instant::now();
    let moved = moving.run(&mut Shown::new(&mut context.err, context.output == Output::Json)).await;
    let moved = match moved {
        Ok(moved) => moved,
        Err(error) if differs(&error) => {
            match context.output {
                Output::Human => writeln!(context.err, "error: {error}")?,
                Output::Json => writeln!(context.err, "{}", json!({"detail": error.to_string()}))?,
            }
            return Ok(Exit::Wrong);
        }
        Err(error) if goes_on(&error) => {
            return Err(error).context("the copy is not finished; the same command, run again, goes on with it");
        }
        Err(error) => return Err(error.into()),
    };
    match context.output {
        Output::Json => context.json(&document(&moving, &moved))?,
        Output::Human => tell(&moving, &moved, began.elapsed(), context)?,
    }
    Ok(Exit::Fine)
}

/// Everything that can be said to be wrong before anything is opened.
fn plan(from: &str, arguments: &Arguments, connect: &Connect) -> anyhow::Result<Move> {
    let (dir, file) = place(from, connect)?;
    if !file.is_file() {
        bail!("there is no database {}: name the data directory of the server to copy from", file.display());
    }
    let connect = Connect {
        data_dir: Some(dir.clone()),
        database_url: arguments.to.clone().or_else(|| connect.database_url.clone()),
        ..connect.clone()
    };
    let config = connect.config(Overrides::default())?;
    let key_file = KeyFile::at(config.key_file());
    let Some(DatabaseUrl::Postgres(to)) = config.database_url else {
        bail!("say where to: give the URL of a PostgreSQL as RUNHOOK_DATABASE_URL, or with --to");
    };
    let blob_url = config.blob_url.ok_or(StartError::BlobUrlNotNamed)?;
    let from = DataDir::take_with(&dir, &file)
        .map_err(|error| anyhow::anyhow!("{error}; stop it first: what it took in meanwhile would be missed"))?;
    Ok(Move {
        blobs: arguments.from_blobs.clone().unwrap_or_else(|| from.blobs()),
        from,
        to,
        blob_url,
        key_file,
        batch: BatchSize { rows: arguments.batch_rows, ..BatchSize::default() },
        start_over: arguments.start_over,
    })
}

/// The data directory and the database file that `--from` names.
fn place(from: &str, connect: &Connect) -> anyhow::Result<(PathBuf, PathBuf)> {
    if !from.contains("://") {
        return Ok((PathBuf::from(from), database_in(Path::new(from))));
    }
    let DatabaseUrl::Sqlite(file) = from.parse()? else {
        bail!("--from is a data directory or sqlite://PATH; a PostgreSQL is copied with its own tools");
    };
    let beside = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = connect.data_dir.clone().unwrap_or_else(|| beside.to_owned());
    Ok((dir, file))
}

/// Whether the two sides are not the same.
fn differs(error: &TransferFailed) -> bool {
    matches!(error, TransferFailed::Rows(TransferError::Differs { .. }) | TransferFailed::BlobDiffers(_))
}

/// Whether the same command may get further.
fn goes_on(error: &TransferFailed) -> bool {
    use crate::store::StoreError::{Busy, Full, Unavailable};
    match error {
        TransferFailed::Rows(TransferError::Store(error)) => matches!(error, Busy { .. } | Full | Unavailable(_)),
        TransferFailed::Blob { .. } => true,
        _ => false,
    }
}

fn document(moving: &Move, moved: &Moved) -> serde_json::Value {
    let table = |compared: &crate::app::transfer::Compared| json!({"table": compared.table, "rows": compared.rows, "checksum": compared.checksum});
    let blobs = match moved.blobs {
        Some(Blobs::Copied(count)) => json!({"copied": count}),
        Some(Blobs::Same) => json!({"same": true}),
        None => json!(null),
    };
    json!({
        "from": moving.from.database().display().to_string(),
        "to": moving.to.to_string(),
        "finished_before": moved.blobs.is_none(),
        "tables": moved.tables.iter().map(table).collect::<Vec<_>>(),
        "blobs": blobs,
    })
}

fn tell(moving: &Move, moved: &Moved, took: Duration, context: &mut Context) -> anyhow::Result<()> {
    let (from, to) = (moving.from.path().display(), &moving.to);
    let out = &mut context.out;
    let rows = counted(moved.tables.iter().map(|table| table.rows).sum::<u64>(), "row", "rows");
    let (tables, seconds) = (moved.tables.len(), took.as_secs_f64());
    let agree = format!("{rows} of {tables} tables are in {to}; counts and checksums agree ({seconds:.1} s)");
    match moved.blobs {
        None => writeln!(out, "{from} was copied into {to} before, and compared; nothing was done")?,
        Some(Blobs::Same) => writeln!(out, "{agree}\nblobs stay where they are, in {}", moving.blobs.display())?,
        Some(Blobs::Copied(count)) => {
            writeln!(out, "{agree}\n{} copied and read back", counted(count, "blob", "blobs"))?;
        }
    }
    writeln!(out, "\nnext: start replicas, each with")?;
    writeln!(out, "  RUNHOOK_DATABASE_URL  the URL of {to}")?;
    writeln!(out, "  --key-file            a copy of {}: its keys open the data", moving.key_file.path().display())?;
    writeln!(out, "  --blob-url            as it was given now")?;
    writeln!(out, "do not start a server on {from} again: it would send what the replicas send")?;
    Ok(())
}
