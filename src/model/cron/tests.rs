use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::parser::CronParser;
use proptest::prelude::*;

use super::{CronError, CronExpression};
use crate::model::time::Timestamp;

fn next(expression: &str, zone: &str, after: &str) -> String {
    let expression = CronExpression::parse(expression).unwrap();
    let zone: Tz = zone.parse().unwrap();
    expression.next_after(zone, Timestamp::parse(after).unwrap()).unwrap().to_string()
}

fn refusal(expression: &str) -> String {
    CronExpression::parse(expression).unwrap_err().to_string()
}

/// All instants of `[from, until)` by croner.
fn by_croner(expression: &str, zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Timestamp> {
    let cron = CronParser::new().parse(expression).unwrap();
    let mut found = Vec::new();
    let mut at = from.with_timezone(&zone);
    loop {
        at = cron.find_next_occurrence(&at, false).unwrap();
        if at >= until {
            return found;
        }
        found.push(Timestamp::from_chrono(at.to_utc()));
    }
}

/// The same by us.
fn by_us(expression: &str, zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Timestamp> {
    let cron = CronExpression::parse(expression).unwrap();
    let mut found = Vec::new();
    let mut at = Timestamp::from_chrono(from);
    while let Some(next) = cron.next_after(zone, at).filter(|next| *next < Timestamp::from_chrono(until)) {
        found.push(next);
        at = next;
    }
    found
}

fn agree(expression: &str, zone: &str, from: &str, until: &str) {
    let zone: Tz = zone.parse().unwrap();
    let from = from.parse().unwrap();
    let until = until.parse().unwrap();
    assert_eq!(
        by_us(expression, zone, from, until),
        by_croner(expression, zone, from, until),
        "{expression} in {zone}"
    );
}

const EXPRESSIONS: &[&str] = &[
    "30 2 * * *",
    "0 2 * * *",
    "59 1 * * *",
    "30 1 * * *",
    "0 9 * * 1-5",
    "0 0 * * 0",
    "0 0 * * 7",
    "15 2 * * FRI-SUN",
    "30 2 13 * 5",
    "30 1,2 * * *",
    "0 */2 * * *",
    "0 * * * *",
    "*/30 * * * *",
    "*/7 * * * *",
    "10-20/5 0-3 * * *",
    "30 2 */2 * 1,3",
    "30 2 29 2 *",
    "0 0 1 1,7 *",
    "20 1 * 3,4,10,11 *",
    "0 30 2 * * *",
    "*/20 30 1 * * *",
];

const ZONES: &[&str] = &["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"];

#[test]
fn a_year_with_both_clock_changes_agrees_with_croner_in_four_zones() {
    for zone in ZONES {
        for expression in EXPRESSIONS {
            agree(expression, zone, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        }
    }
}

#[test]
fn every_minute_around_each_clock_change_agrees_with_croner() {
    for (zone, from, until) in [
        ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T09:00:00Z"),
        ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-01T08:00:00Z"),
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T03:00:00Z"),
        ("Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T13:00:00Z", "2026-04-04T17:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T13:00:00Z", "2026-10-03T17:00:00Z"),
    ] {
        for expression in ["* * * * *", "*/10 * * * * *", "1-59/13 * * * *", "0,30 2 * * *"] {
            agree(expression, zone, from, until);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_expression_from_any_start_near_a_clock_change_agrees_with_croner(
        minute in prop_oneof![Just("*/15".to_owned()), (0..60u32).prop_map(|minute| minute.to_string())],
        hour in prop_oneof![Just("*".to_owned()), Just("0-4".to_owned()), (0..4u32).prop_map(|hour| hour.to_string())],
        day in prop_oneof![Just("*".to_owned()), (1..29u32).prop_map(|day| day.to_string())],
        weekday in prop_oneof![Just("*".to_owned()), (0..8u32).prop_map(|day| day.to_string())],
        zone in prop::sample::select(ZONES),
        change in prop::sample::select(&["2026-03-08", "2026-11-01", "2026-03-29", "2026-10-25", "2026-04-05", "2026-10-04"][..]),
        offset in -100_000..100_000i64,
    ) {
        let zone: Tz = zone.parse().unwrap();
        let midnight = Timestamp::parse(change).unwrap().to_chrono();
        let from = midnight + chrono::TimeDelta::seconds(offset);
        let until = from + chrono::TimeDelta::days(3);
        let expression = format!("{minute} {hour} {day} * {weekday}");
        prop_assert_eq!(by_us(&expression, zone, from, until), by_croner(&expression, zone, from, until));
    }
}

#[test]
fn a_time_the_clock_jumps_over_happens_right_after_the_jump() {
    assert_eq!(next("30 2 * * *", "America/New_York", "2026-03-08T06:00:00Z"), "2026-03-08T07:00:00.000000Z");
}

#[test]
fn a_time_the_clock_shows_twice_happens_the_first_time() {
    assert_eq!(next("30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z"), "2026-11-01T05:30:00.000000Z");
    assert_eq!(next("30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z"), "2026-11-02T06:30:00.000000Z");
}

#[test]
fn half_hours_go_on_through_the_repeated_hour() {
    let mut at = "2026-11-01T05:00:00Z".to_owned();
    for expected in ["05:30", "06:00", "06:30", "07:00"] {
        at = next("*/30 * * * *", "America/New_York", &at);
        assert_eq!(at, format!("2026-11-01T{expected}:00.000000Z"));
    }
}

#[test]
fn a_fraction_of_a_second_does_not_repeat_or_skip_an_instant() {
    assert_eq!(next("* * * * * *", "UTC", "2026-01-01T00:00:00.5Z"), "2026-01-01T00:00:01.000000Z");
    assert_eq!(next("0 0 * * *", "UTC", "2025-12-31T23:59:59.999999Z"), "2026-01-01T00:00:00.000000Z");
    assert_eq!(next("0 0 * * *", "UTC", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00.000000Z");
}

#[test]
fn nicknames_are_read() {
    assert_eq!(next("@weekly", "UTC", "2026-11-22T08:00:00Z"), "2026-11-29T00:00:00.000000Z");
}

#[test]
fn a_wrong_number_of_fields_is_refused() {
    assert_eq!(CronExpression::parse("* * *").unwrap_err(), CronError::FieldCount { found: 3 });
    assert_eq!(CronExpression::parse("").unwrap_err(), CronError::FieldCount { found: 0 });
    assert!(refusal("* * * * * * *").contains("5 fields"));
}

#[test]
fn an_error_says_which_field_and_why() {
    assert_eq!(refusal("61 * * * *"), "minute `61`: `61` is not a number from 0 to 59");
    assert_eq!(refusal("0 24 * * *"), "hour `24`: `24` is not a number from 0 to 23");
    assert_eq!(refusal("0 0 0 * *"), "day-of-month `0`: `0` is not a number from 1 to 31");
    assert_eq!(refusal("0 0 * FOO *"), "month `FOO`: `FOO` is not a number from 1 to 12, or a name such as `jan`");
    assert_eq!(refusal("0 0 * * 1-8"), "day-of-week `1-8`: `8` is not a number from 0 to 7, or a name such as `sun`");
    assert_eq!(refusal("*/0 * * * *"), "minute `*/0`: the step `0` is not a number from 1 to 59");
    assert_eq!(refusal("5/10 * * * *"), "minute `5/10`: a step needs a range: write `5-59/...` or `*/...`");
    assert_eq!(
        refusal("0 0 * * SAT-MON"),
        "day-of-week `SAT-MON`: the range `SAT-MON` runs backwards: write two ranges with a comma"
    );
    assert_eq!(refusal("1,,2 * * * *"), "minute `1,,2`: a value is missing");
    assert_eq!(refusal("0 0 L * *"), "day-of-month `L`: `L`, `W` and `#` are not supported");
    assert_eq!(refusal("0 0 * * 5#2"), "day-of-week `5#2`: `L`, `W` and `#` are not supported");
    assert_eq!(refusal("? * * * *"), "minute `?`: `?` is not a number from 0 to 59");
}

#[test]
fn a_date_no_calendar_has_is_refused() {
    assert_eq!(refusal("0 0 31 2 *"), "no date ever matches day-of-month `31` in month `2`");
    assert!(CronExpression::parse("0 0 29 2 *").is_ok());
    assert!(CronExpression::parse("0 0 31 2 FRI").is_ok());
}
