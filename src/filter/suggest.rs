//! "Did you mean": the nearest of the words there are.

/// How alike two words must be, from 0 to 1.
const ALIKE: f64 = 0.82;

/// The word most like this one, if any is much like it.
pub(crate) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    let mut best = (ALIKE, None);
    for candidate in known {
        let alike =
            strsim::jaro_winkler(&word, candidate).max(strsim::normalized_damerau_levenshtein(&word, candidate));
        if alike > best.0 {
            best = (alike, Some(candidate));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = || ["name", "run_type", "latency", "status"].into_iter();
        assert_eq!(nearest("latencey", known()), Some("latency"));
        assert_eq!(nearest("nmae", known()), Some("name"));
        assert_eq!(nearest("Status", known()), Some("status"));
        assert_eq!(nearest("colour", known()), None);
    }
}
