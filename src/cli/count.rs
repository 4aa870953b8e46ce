//! Numbers of things, as people say them.

use std::fmt::Display;

/// `1 run`, `2 runs`: the number and the word for it.
pub(super) fn counted<N: Display + Copy + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let word = if number == N::from(1) { one } else { many };
    format!("{number} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        assert_eq!([0_u64, 1, 2].map(|number| counted(number, "pass", "passes")), ["0 passes", "1 pass", "2 passes"]);
    }
}
