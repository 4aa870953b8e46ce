//! A folder of rule files that the server keeps to: applied at the start, and again when a file changes.
//!
//! The folder is the truth for the rules that came from it: what is taken out of it is removed. A folder with an error
//! changes nothing, and the log says what is wrong, once. Watching only wakes the loop: every pass reads the folder and
//! compares, so a missed event costs time. A changed folder is applied when two readings agree, because editors and
//! `git pull` write in steps. A folder that links lead to in a circle is read once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use tokio::sync::watch;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::native::premises::FolderState;
use crate::api::native::rules::{Outcome, Purpose, Request, apply};
use crate::api::problem::Problem;
use crate::filter::report::Style;
use crate::rule_file::plan::{Action, FOLDER, Prune};
use crate::rule_file::{FileReport, SourceFile};
use crate::task::{self, Activity, Next, Poke};

/// How long a changed folder must stay as it is.
const QUIET: Duration = Duration::from_millis(100);

/// What variables stand for.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Why rule files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file is not text.
    #[error("{} is not a rule file: line {line} is not UTF-8 text", .path.display())]
    NotText {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
    },
    /// The folder cannot be watched.
    #[error("cannot watch {}: {cause}", .path.display())]
    Unwatchable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: notify::Error,
    },
    /// The rules could not be applied now.
    #[error("the rules of {} could not be applied: {detail}", .path.display())]
    NotNow {
        /// The folder.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// Keeps a tenant's rules to a folder.
pub struct RulesFolder {
    api: Api,
    path: PathBuf,
    variables: Variables,
    /// What was applied, or refused, last.
    done: Option<Vec<SourceFile>>,
    /// What was read last, when it still has to be read again.
    seen: Option<Vec<SourceFile>>,
    /// How it stood when it was applied, or refused, last.
    stands: Option<FolderState>,
    /// How others see it stand.
    state: watch::Sender<Option<FolderState>>,
    /// Watches as long as it lives.
    _watcher: RecommendedWatcher,
}

impl RulesFolder {
    /// Watches a folder. A change pokes the loop that this activity is run by; `state` says how the folder stands.
    pub fn watch(
        api: Api,
        path: &Path,
        variables: Variables,
        poke: Poke,
        state: watch::Sender<Option<FolderState>>,
    ) -> Result<Self, FolderError> {
        let unreadable = |cause| FolderError::Unreadable { path: path.to_owned(), cause };
        let path = path.canonicalize().map_err(unreadable)?;
        let unwatchable = |cause| FolderError::Unwatchable { path: path.clone(), cause };
        // Reading the files is an event of its own; only what may have changed them wakes the loop.
        let wake = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                poke.poke();
            }
        };
        let mut watcher = notify::recommended_watcher(wake).map_err(unwatchable)?;
        watcher.watch(&path, RecursiveMode::Recursive).map_err(unwatchable)?;
        Ok(Self { api, path, variables, done: None, seen: None, stands: None, state, _watcher: watcher })
    }

    async fn apply(&mut self, files: Vec<SourceFile>) -> Result<(), FolderError> {
        let origin = format!("{FOLDER}{}/", self.path.display());
        let request = Request {
            files: &files,
            variables: self.variables.as_ref(),
            origin: FOLDER,
            prune: Prune::Origin(&origin),
            purpose: Purpose::Apply,
        };
        match apply(&self.api, &By::server(), request).await {
            Ok(outcome) => {
                self.tell(&outcome);
                warn(&outcome.reports);
                let problems = outcome.reports.iter().map(|report| report.problems.len()).sum();
                self.note(files.len(), problems, None);
            }
            Err(problem) if problem.status.is_client_error() => {
                self.complain(&problem);
                self.note(files.len(), counted(&problem), Some(problem.detail));
            }
            Err(problem) => return Err(FolderError::NotNow { path: self.path.clone(), detail: problem.detail }),
        }
        self.done = Some(files);
        Ok(())
    }

    /// Lets others see how the folder stands: applied, unless there is an error.
    fn note(&mut self, files: usize, problems: usize, error: Option<String>) {
        let looked_at = self.api.clock.now();
        let before = self.stands.as_ref().and_then(|state| state.applied_at);
        let applied_at = if error.is_none() { Some(looked_at) } else { before };
        let state = FolderState { path: self.path.clone(), looked_at, applied_at, files, problems, error };
        self.stands = Some(state);
        self.state.send_replace(self.stands.clone());
    }

    /// Lets others see that what is in the folder now is not known, or not in force.
    fn note_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let (looked_at, error) = (self.api.clock.now(), Some(error.to_string()));
        let known = self.stands.clone().unwrap_or_else(|| FolderState {
            path: self.path.clone(),
            looked_at,
            applied_at: None,
            files: 0,
            problems: 0,
            error: None,
        });
        self.state.send_replace(Some(FolderState { looked_at, error, ..known }));
    }

    async fn look(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        let path = self.path.clone();
        let files = match task::blocking(move || read_folder(&path)).await? {
            // As wrong as any other mistake in a file: told, and nothing changes until the file does.
            Err(error @ FolderError::NotText { .. }) => {
                tracing::error!(folder = %self.path.display(), "rules not applied: {error}");
                self.note_failure(&error);
                return Ok(Next::Idle);
            }
            files => files?,
        };
        if self.done.as_ref() == Some(&files) {
            self.seen = None;
            self.state.send_replace(self.stands.clone());
            return Ok(Next::Idle);
        }
        if self.done.is_some() && self.seen.as_ref() != Some(&files) {
            self.seen = Some(files);
            return Ok(Next::At(self.api.clock.now().after(QUIET)));
        }
        self.seen = None;
        self.apply(files).await?;
        Ok(Next::Idle)
    }

    fn tell(&self, outcome: &Outcome) {
        let count = |action| outcome.items.iter().filter(|item| item.action == action).count();
        tracing::info!(
            folder = %self.path.display(),
            created = count(Action::Create),
            updated = count(Action::Update),
            removed = count(Action::Remove),
            unchanged = count(Action::Unchanged),
            "rules applied"
        );
    }

    fn complain(&self, problem: &Problem) {
        let rendered = problem.more.get("rendered").and_then(Value::as_str).unwrap_or_default();
        tracing::error!(folder = %self.path.display(), "rules not applied: {}\n{rendered}", problem.detail);
    }
}

/// How much is wrong with files that were refused.
fn counted(problem: &Problem) -> usize {
    let reports = problem.more.get("reports").and_then(Value::as_array).into_iter().flatten();
    reports.filter_map(|report| report.get("problems").and_then(Value::as_array)).map(Vec::len).sum()
}

fn warn(reports: &[FileReport]) {
    for report in reports {
        tracing::warn!("about the rules:\n{}", report.render(Style::Plain));
    }
}

#[async_trait::async_trait]
impl Activity for RulesFolder {
    fn name(&self) -> &'static str {
        "rules folder"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        self.look().await.inspect_err(|error| self.note_failure(error.as_ref()))
    }
}

/// The rule files of a folder and of the folders in it, by name. What begins with a dot is passed over.
pub fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, FolderError> {
    let mut paths = Vec::new();
    collect(folder, &mut BTreeSet::new(), &mut paths)
        .map_err(|cause| FolderError::Unreadable { path: folder.to_owned(), cause })?;
    paths.sort();
    paths.iter().map(|path| read_file(path)).collect()
}

/// One rule file.
pub fn read_file(path: &Path) -> Result<SourceFile, FolderError> {
    let bytes = fs::read(path).map_err(|cause| FolderError::Unreadable { path: path.to_owned(), cause })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        FolderError::NotText { path: path.to_owned(), line: good.split(|byte| *byte == b'\n').count() }
    })?;
    let name = path.display().to_string();
    Ok(SourceFile { name: name.strip_prefix("./").unwrap_or(&name).to_owned(), text })
}

/// Adds a folder's files to `found`. `seen` are the folders read so far: a link may lead back up to one of them.
fn collect(folder: &Path, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if !seen.insert(folder.canonicalize()?) {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    // Links last: a folder that has two names goes by its own.
    entries.sort_by_key(|entry| (entry.file_type().is_ok_and(|kind| kind.is_symlink()), entry.file_name()));
    for path in entries.into_iter().map(|entry| entry.path()) {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, seen, found)?;
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(path);
        }
    }
    Ok(())
}
