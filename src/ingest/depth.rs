//! How deeply JSON is nested, counted before anything that could recurse reads it.

use crate::ingest::error::Invalid;

/// Refuses a document that is nested more deeply than the limit. Text that is not JSON passes: the parser says why.
pub(crate) fn check(field: &str, json: &[u8], limit: u32) -> Result<(), Invalid> {
    // Nothing is nested deeper than it has brackets. Counting them is much faster than following them.
    let brackets = json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if u32::try_from(brackets).is_ok_and(|brackets| brackets <= limit) {
        return Ok(());
    }
    let mut depth = 0_u32;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth = depth.saturating_add(1);
                if depth > limit {
                    return Err(Invalid::new(field, format!("is nested more than {limit} levels deep")));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn nesting_up_to_the_limit_passes_and_one_more_does_not() {
        assert!(check("inputs", b"[[[1]]]", 3).is_ok());
        assert!(check("inputs", b"[[[[1]]]]", 3).is_err());
        assert!(check("inputs", &vec![b'['; 10_000_000], 128).is_err());
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        assert!(check("inputs", br#"{"a":"[[[[\"[[[\\"}"#, 1).is_ok());
    }
}
