//! What the load and the sink remember, and the files in which they hand it to the checker: little-endian binary
//! records behind a line that says which.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use uuid::Uuid;

const ACKS: &[u8; 16] = b"runhook-acks-01\n";
const NOTICES: &[u8; 16] = b"runhook-told-02\n";

/// Something the server said it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Of which run.
    pub(crate) run: Uuid,
    /// Whether it is feedback about the run, and not the run.
    pub(crate) feedback: bool,
    /// When it should have been sent, in microseconds since the epoch.
    pub(crate) intended: u64,
    /// When the answer came.
    pub(crate) acked: u64,
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// When, in microseconds since the epoch.
    pub(crate) at: u64,
    /// Its `webhook-id`.
    pub(crate) message: Uuid,
    /// The rule it is from.
    pub(crate) rule: Uuid,
    /// The endpoint it came to, where that has a number.
    pub(crate) endpoint: Option<u16>,
    /// What the sink answered.
    pub(crate) status: u16,
    /// The runs it tells.
    pub(crate) runs: Vec<Uuid>,
}

/// Writes acknowledgements to a file.
pub(crate) fn write_acks(file: &Path, acks: &[Ack]) -> anyhow::Result<()> {
    write(file, ACKS, |out| {
        acks.iter().try_for_each(|ack| {
            out.write_all(&[u8::from(ack.feedback)])?;
            out.write_all(ack.run.as_bytes())?;
            put(out, ack.intended)?;
            put(out, ack.acked)
        })
    })
}

/// Writes what arrived to a file.
pub(crate) fn write_notices(file: &Path, notices: &[Notice]) -> anyhow::Result<()> {
    write(file, NOTICES, |out| {
        notices.iter().try_for_each(|notice| {
            put(out, notice.at)?;
            out.write_all(notice.message.as_bytes())?;
            out.write_all(notice.rule.as_bytes())?;
            put(out, notice.endpoint.map_or(u64::MAX, u64::from))?;
            put(out, notice.status.into())?;
            put(out, notice.runs.len() as u64)?;
            notice.runs.iter().try_for_each(|run| out.write_all(run.as_bytes()))
        })
    })
}

/// Reads a file of acknowledgements.
pub(crate) fn read_acks(file: &Path) -> anyhow::Result<Vec<Ack>> {
    read(file, ACKS, |source| {
        let Some([feedback]) = next::<1>(source)? else { return Ok(None) };
        let ack = Ack { feedback: feedback == 1, run: id(source)?, intended: number(source)?, acked: number(source)? };
        Ok(Some(ack))
    })
}

/// Reads a file of what arrived.
pub(crate) fn read_notices(file: &Path) -> anyhow::Result<Vec<Notice>> {
    read(file, NOTICES, |source| {
        let Some(at) = next::<8>(source)? else { return Ok(None) };
        let (message, rule) = (id(source)?, id(source)?);
        let endpoint = u16::try_from(number(source)?).ok();
        let status = u16::try_from(number(source)?).unwrap_or_default();
        let runs = (0..number(source)?).map(|_| id(source)).collect::<io::Result<_>>()?;
        Ok(Some(Notice { at: u64::from_le_bytes(at), message, rule, endpoint, status, runs }))
    })
}

fn write(file: &Path, kind: &[u8], records: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let name = || format!("cannot write {}", file.display());
    let mut out = BufWriter::new(File::create(file).with_context(name)?);
    out.write_all(kind).and_then(|()| records(&mut out)).and_then(|()| out.flush()).with_context(name)
}

fn read<T>(
    file: &Path,
    kind: &[u8; 16],
    mut record: impl FnMut(&mut dyn Read) -> io::Result<Option<T>>,
) -> anyhow::Result<Vec<T>> {
    let name = || format!("cannot read {}", file.display());
    let mut source = BufReader::new(File::open(file).with_context(name)?);
    if next::<16>(&mut source).with_context(name)?.as_ref() != Some(kind) {
        let kind = String::from_utf8_lossy(kind);
        bail!("{} does not begin with `{}`: it is another file", file.display(), kind.trim_end());
    }
    let mut records = Vec::new();
    while let Some(one) = record(&mut source).with_context(name)? {
        records.push(one);
    }
    Ok(records)
}

/// The next bytes, or nothing at the very end.
fn next<const N: usize>(source: &mut dyn Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        match source.read(rest)? {
            0 if rest.len() == N => return Ok(None),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => rest = rest.get_mut(read..).unwrap_or_default(),
        }
    }
    Ok(Some(bytes))
}

fn number(source: &mut dyn Read) -> io::Result<u64> {
    next(source)?.map(u64::from_le_bytes).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

fn id(source: &mut dyn Read) -> io::Result<Uuid> {
    next(source)?.map(Uuid::from_bytes).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

fn put(out: &mut dyn Write, number: u64) -> io::Result<()> {
    out.write_all(&number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (acks, notices) = (dir.path().join("acks"), dir.path().join("notices"));
        let ack = Ack { run: Uuid::from_u128(7), feedback: true, intended: 3, acked: 9 };
        let (message, rule) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let told = |endpoint, runs| Notice { at: 5, message, rule, endpoint, status: 200, runs };
        let told = vec![told(None, vec![]), told(Some(0), vec![Uuid::from_u128(7), Uuid::from_u128(8)])];
        write_acks(&acks, &[ack, ack]).unwrap();
        write_notices(&notices, &told).unwrap();
        assert_eq!(read_acks(&acks).unwrap(), [ack, ack]);
        assert_eq!(read_notices(&notices).unwrap(), told);
    }

    #[test]
    fn a_file_that_was_cut_or_is_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("acks");
        write_acks(&file, &[Ack { run: Uuid::nil(), feedback: false, intended: 0, acked: 0 }]).unwrap();
        assert!(read_notices(&file).unwrap_err().to_string().contains("another file"));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(read_acks(&file).is_err());
    }
}
