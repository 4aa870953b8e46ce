//! Filters that people, documentation and tools have written.

use runhook::filter::{Filter, Mode};

/// (where it comes from, the filter)
fn corpus() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../fixtures/filters.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[2], columns[5])
        })
        .collect()
}

#[test]
fn every_filter_ever_published_parses_and_survives_printing() {
    let corpus = corpus();
    assert!(corpus.len() > 60, "the fixture has {} lines", corpus.len());
    for (_, text) in corpus {
        let filter = match Filter::parse(text, Mode::Lenient) {
            Ok((filter, _)) => filter,
            Err(problems) => panic!("{text}: {problems:?}"),
        };
        let printed = filter.to_string();
        assert_eq!(Filter::parse(&printed, Mode::Lenient).map(|(filter, _)| filter), Ok(filter), "{text} as {printed}");
    }
}

#[test]
fn what_the_hosted_service_refuses_is_accepted_with_a_warning_in_strict_mode() {
    let refused: Vec<_> = corpus().into_iter().filter(|(evidence, _)| evidence.contains("live-refused")).collect();
    assert!(refused.len() >= 5);
    for (_, text) in refused {
        let warned = |mode| {
            let (_, problems) = Filter::parse(text, mode).unwrap();
            problems.iter().any(|problem| problem.code == "hosted-refuses")
        };
        assert!(warned(Mode::Strict), "{text}");
        assert!(!warned(Mode::Lenient), "{text}");
    }
}

#[test]
fn what_the_hosted_service_accepted_is_no_cause_for_a_warning() {
    let accepted: Vec<_> = corpus().into_iter().filter(|(evidence, _)| evidence.contains("live-accepted")).collect();
    assert!(accepted.len() >= 4);
    for (_, text) in accepted {
        let (_, problems) = Filter::parse(text, Mode::Strict).unwrap();
        assert_eq!(problems, [], "{text}");
    }
}

#[test]
fn everything_the_hosted_service_was_seen_to_refuse_is_warned_of() {
    for text in [
        "not(eq(name, \"a\"))",
        "neq(tags, \"a\")",
        "has(feedback_key, \"a\")",
        "has(metadata, \"a\")",
        "neq(error, null)",
        "eq(error, true)",
        "gt(total_tokens, 5)",
        "eq(execution_order, 1)",
        "search(name, \"a\")",
        "nlike(name, \"a%\")",
        "eq(name, bare)",
        "gt(latency, 5s)",
        "EQ(name, \"a\")",
    ] {
        let (_, problems) = Filter::parse(text, Mode::Strict).unwrap();
        assert!(problems.iter().any(|problem| problem.code == "hosted-refuses"), "{text}: {problems:?}");
    }
}
