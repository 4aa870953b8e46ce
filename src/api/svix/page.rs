//! Pages: `limit`, `iterator` and `order` as they are asked, and lists as they are answered.

use std::fmt::Display;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::problem::Problem;
use crate::model::time::Timestamp;

use super::Answer;

/// Things on a page, unless asked otherwise.
const PAGE: u32 = 50;

/// Things on the largest page.
const LARGEST: u32 = 250;

/// Things looked at in one read where a page is narrowed by what no index knows.
const BATCH: u32 = 256;

/// Reads for one page.
const READS: u32 = 20;

/// Which way a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// One page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    data: Vec<T>,
    iterator: Option<String>,
    prev_iterator: Option<String>,
    done: bool,
}

impl<T> Listed<T> {
    pub(super) fn new(data: Vec<T>, iterator: Option<String>, done: bool) -> Self {
        Self { data, iterator, prev_iterator: None, done }
    }

    /// A page of things of which one more was read than it holds.
    pub(super) fn cut<S>(mut found: Vec<S>, limit: u32, mark: impl Fn(&S) -> String, shown: impl Fn(S) -> T) -> Self {
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let done = found.len() <= size;
        found.truncate(size);
        let iterator = found.last().map(mark);
        Self::new(found.into_iter().map(shown).collect(), iterator, done)
    }
}

/// How many things are wanted.
pub(super) fn limit(asked: Option<u32>) -> Answer<u32> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=LARGEST => Ok(limit),
        _ => Err(Problem::invalid(format!("`limit` is a number from 1 to {LARGEST}"))
            .with("loc", serde_json::json!(["query", "limit"]))
            .into()),
    }
}

/// Reads what a page gave as `iterator`.
pub(super) fn iterator<T: FromStr>(text: Option<&str>) -> Answer<Option<T>> {
    text.filter(|text| !text.is_empty()).map(|text| text.parse().map_err(|_| wrong_iterator().into())).transpose()
}

pub(super) fn wrong_iterator() -> Problem {
    Problem::invalid("`iterator` is not what a page gave").with("loc", serde_json::json!(["query", "iterator"]))
}

/// An instant of a query.
pub(super) fn instant(name: &str, text: Option<&str>) -> Answer<Option<Timestamp>> {
    let wrong = |error: crate::model::time::InvalidTime| {
        Problem::invalid(error.to_string()).with("loc", serde_json::json!(["query", name]))
    };
    Ok(text.map(Timestamp::parse).transpose().map_err(wrong)?)
}

/// A place in a list of what was told: an instant and an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(pub(super) Timestamp, pub(super) Uuid, pub(super) u32);

impl Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}_{}", self.0.0, self.1.simple(), self.2)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('_');
        let mut next = || parts.next().ok_or(());
        let at = next()?.parse().map_err(|_| ())?;
        let id = next()?.parse().map_err(|_| ())?;
        Ok(Self(Timestamp(at), id, next()?.parse().map_err(|_| ())?))
    }
}

/// A list of which pages hold what passes.
#[async_trait]
pub(super) trait Narrowed: Sync {
    /// What it holds.
    type Item: Send + Sync;

    /// Reads on behind a place.
    async fn fetch(&self, behind: Option<Mark>, limit: u32) -> crate::store::Result<Vec<Self::Item>>;

    /// Where something stands.
    fn mark(&self, item: &Self::Item) -> Mark;

    /// Whether it passes.
    async fn passes(&self, item: &Self::Item) -> Answer<bool>;
}

/// A page of what passes, where the next one begins, and whether there is none. A list of which little passes is gone through
/// in several pages, of which some may be empty.
pub(super) async fn narrowed<L: Narrowed>(
    list: &L,
    limit: u32,
    from: Option<Mark>,
) -> Answer<(Vec<L::Item>, Option<String>, bool)> {
    let (size, mut kept, mut behind) = (usize::try_from(limit).unwrap_or(usize::MAX), Vec::new(), from);
    for _ in 0..READS {
        let found = list.fetch(behind, BATCH).await?;
        let is_last = found.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
        for one in found {
            if !list.passes(&one).await? {
                behind = Some(list.mark(&one));
            } else if kept.len() < size {
                behind = Some(list.mark(&one));
                kept.push(one);
            } else {
                return Ok((kept, behind.map(|mark| mark.to_string()), false));
            }
        }
        if is_last {
            return Ok((kept, behind.map(|mark| mark.to_string()), true));
        }
    }
    Ok((kept, behind.map(|mark| mark.to_string()), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers to 600, of which hundreds pass.
    struct Numbers;

    #[async_trait]
    impl Narrowed for Numbers {
        type Item = u32;

        async fn fetch(&self, behind: Option<Mark>, limit: u32) -> crate::store::Result<Vec<u32>> {
            let from = behind.map_or(0, |mark| mark.2);
            Ok((from + 1..=600).take(usize::try_from(limit).unwrap()).collect())
        }

        fn mark(&self, item: &u32) -> Mark {
            Mark(Timestamp(0), Uuid::nil(), *item)
        }

        async fn passes(&self, item: &u32) -> Answer<bool> {
            Ok(item.is_multiple_of(100))
        }
    }

    #[test]
    fn a_mark_comes_back() {
        let mark = Mark(Timestamp(-5), Uuid::from_u128(7), 3);
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert!("x".parse::<Mark>().is_err() && "1_2".parse::<Mark>().is_err());
    }

    #[tokio::test]
    async fn a_narrowed_page_ends_where_the_next_begins() {
        let (mut behind, mut seen) = (None, Vec::new());
        loop {
            let (kept, iterator, done) = narrowed(&Numbers, 4, behind).await.unwrap();
            seen.push(kept);
            behind = iterator.map(|text| text.parse().unwrap());
            if done {
                break;
            }
        }
        assert_eq!(seen, [vec![100, 200, 300, 400], vec![500, 600]]);
    }
}
