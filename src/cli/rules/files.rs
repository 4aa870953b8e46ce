//! Rule files on disk, and the variables they name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;

use crate::app::rules_folder::{read_file, read_folder};
use crate::rule_file::{Loaded, SourceFile, load, load_strictly};

/// A variable of the environment, for files that name it. Nothing else of the environment is looked at.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok())
}

/// Reads files, and the files of folders. A path that is given twice is read once.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<SourceFile>> {
    let mut files: Vec<SourceFile> = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = read_folder(path)?;
            if found.is_empty() {
                bail!("{} holds no rule files (*.yaml, *.yml)", path.display());
            }
            files.extend(found);
        } else {
            files.push(read_file(path)?);
        }
    }
    let mut names = std::collections::BTreeSet::new();
    files.retain(|file| names.insert(file.name.clone()));
    Ok(files)
}

/// Files with what they say, and the variables they named that are set.
pub(super) struct Read {
    pub(super) loaded: Loaded,
    pub(super) variables: BTreeMap<String, String>,
}

/// Reads what files say, with variables from the environment.
pub(super) fn understand(files: &[SourceFile]) -> Read {
    understand_by(load, files)
}

/// The same, with warnings for filters that LangSmith's hosted service refuses.
pub(super) fn understand_strictly(files: &[SourceFile]) -> Read {
    understand_by(load_strictly, files)
}

type Reader = fn(&[SourceFile], &dyn Fn(&str) -> Option<String>) -> Loaded;

fn understand_by(reader: Reader, files: &[SourceFile]) -> Read {
    let variables = RefCell::new(BTreeMap::new());
    let loaded = reader(files, &|name| {
        let value = environment(name)?;
        variables.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    });
    Read { loaded, variables: variables.into_inner() }
}
