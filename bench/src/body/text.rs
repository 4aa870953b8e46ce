//! Text that packs about as well as what people and models write: words drawn so that few are frequent and many rare.

use crate::draw::Draw;

const SYLLABLES: [&str; 32] = [
    "an", "ber", "co", "de", "en", "fi", "gan", "ho", "in", "jor", "ka", "le", "mi", "no", "or", "pre", "qui", "re",
    "st", "ti", "un", "ver", "wa", "x", "ya", "zo", "th", "ing", "er", "al", "su", "ment",
];

const WORDS: u64 = 50_000;

/// Appends words until `bytes` more bytes are there, to the byte.
pub(super) fn fill(draw: &mut Draw, bytes: usize, out: &mut String) {
    let end = out.len().saturating_add(bytes);
    while out.len() < end {
        match draw.below(6) {
            0 => out.push_str(&draw.below(100_000).to_string()),
            _ => word(draw, out),
        }
        out.push(' ');
    }
    out.truncate(end);
}

fn word(draw: &mut Draw, out: &mut String) {
    let number = frequent_first(draw);
    let mut syllables = Draw::seeded(number);
    let length = if number < 64 { 1 } else { 2 + number % 3 };
    for _ in 0..length {
        let at = usize::try_from(syllables.below(32)).unwrap_or_default();
        out.push_str(SYLLABLES.get(at).copied().unwrap_or_default());
    }
}

/// The number of a word: 0 is the most frequent (Zipf's law with exponent 1).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
fn frequent_first(draw: &mut Draw) -> u64 {
    ((WORDS as f64).powf(draw.share()) as u64).min(WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_asked_for_and_the_same_for_the_same_seed() {
        let text = |seed| {
            let mut out = String::new();
            fill(&mut Draw::seeded(seed), 700, &mut out);
            out
        };
        assert_eq!(text(3).len(), 700);
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
