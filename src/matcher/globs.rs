//! Which of many globs fit a name: found by the text they begin with, or else by the text they end with, so that only
//! those without either are all tried.

use std::collections::{BTreeMap, HashMap};

use crate::model::glob::Glob;

const WILD: [char; 2] = ['*', '?'];

/// Globs, and something for each.
#[derive(Debug, Clone)]
pub(super) struct Globs<T> {
    by_start: HashMap<String, Shelf<T>>,
    /// Those that begin with a wildcard.
    by_end: HashMap<String, Shelf<T>>,
}

/// By pattern.
type Shelf<T> = BTreeMap<String, (Glob, T)>;

impl<T> Default for Globs<T> {
    fn default() -> Self {
        Self { by_start: HashMap::new(), by_end: HashMap::new() }
    }
}

impl<T> Globs<T> {
    /// Sets what is kept for a pattern.
    pub(super) fn insert(&mut self, pattern: &str, value: T) {
        let (shelves, text) = self.shelves(pattern);
        let kept = shelves.entry(text.to_owned()).or_default();
        kept.insert(pattern.to_owned(), (Glob::parse(pattern), value));
    }

    /// Forgets a pattern.
    pub(super) fn remove(&mut self, pattern: &str) {
        let (shelves, text) = self.shelves(pattern);
        if let Some(kept) = shelves.get_mut(text) {
            kept.remove(pattern);
            if kept.is_empty() {
                shelves.remove(text);
            }
        }
    }

    fn shelves<'p>(&mut self, pattern: &'p str) -> (&mut HashMap<String, Shelf<T>>, &'p str) {
        match pattern.split(WILD).next() {
            Some(start) if !start.is_empty() => (&mut self.by_start, start),
            _ => (&mut self.by_end, pattern.rsplit(WILD).next().unwrap_or_default()),
        }
    }

    /// What is kept for the patterns that fit a name.
    pub(super) fn of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s T> {
        let places = || (0..=name.len()).filter(|at| name.is_char_boundary(*at));
        let starts = places().filter_map(|at| name.get(..at)).filter_map(|start| self.by_start.get(start));
        let ends = places().filter_map(|at| name.get(at..)).filter_map(|end| self.by_end.get(end));
        let shelves = starts.chain(ends).flat_map(BTreeMap::values);
        shelves.filter(move |(glob, _)| glob.matches(name)).map(|(_, value)| value)
    }

    /// All that is kept.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.by_start.values().chain(self.by_end.values()).flat_map(BTreeMap::values).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_globs_that_fit_are_found_whatever_they_begin_or_end_with() {
        let patterns = [
            "support-*",
            "support-b?t",
            "*-bot",
            "*",
            "s*t",
            "?upport-bot",
            "*port*",
            "é*",
            "support-*x",
            "billing-*",
            "??",
        ];
        let mut globs = Globs::default();
        for pattern in patterns {
            globs.insert(pattern, pattern);
        }
        globs.insert("*gone", "*gone");
        globs.remove("*gone");
        globs.remove("*never");
        for name in ["support-bot", "billing-bot", "", "é", "éx-bot", "s", "st", "billing-", "gone"] {
            let mut found: Vec<&str> = globs.of(name).copied().collect();
            let mut fit: Vec<&str> =
                patterns.into_iter().filter(|pattern| Glob::parse(pattern).matches(name)).collect();
            found.sort_unstable();
            fit.sort_unstable();
            assert_eq!(found, fit, "{name}");
        }
        assert_eq!(globs.values().count(), patterns.len());
    }
}
