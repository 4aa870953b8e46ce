//! Pages: `limit`, `iterator` and `order` as they are asked, and lists as they are answered.

use std::fmt::Display;
use std::str::FromStr;

use async_trait::async_trait;
use axum::Json;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::problem::Problem;
use crate::model::time::Timestamp;
use crate::store::catalog::Page;

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
enum Order {
    Ascending,
    Descending,
}

/// Where a page begins: behind a place, or, where a page's `prevIterator` is given back, before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start<T> {
    pub(super) at: Option<T>,
    pub(super) back: bool,
}

/// What a `prevIterator` begins with, and no other iterator does.
const BACK: char = '~';

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

    /// The same, which can be gone back from.
    pub(super) fn between(data: Vec<T>, prev_iterator: Option<String>, iterator: Option<String>, done: bool) -> Self {
        Self { data, iterator, prev_iterator, done }
    }
}

/// What is asked of a list that goes either way.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    limit: Option<u32>,
    iterator: Option<String>,
    order: Option<Order>,
}

/// How a page is made of what was read for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    limit: u32,
    back: bool,
}

impl Paging {
    /// What is to be read: one more than the page holds, and against the list's order where it goes back.
    pub(super) fn read<T: FromStr>(&self) -> Answer<(Page<T>, Cut)> {
        let limit = limit(self.limit)?;
        let Start { at: after, back } = iterator(self.iterator.as_deref())?;
        let descending = (self.order == Some(Order::Descending)) ^ back;
        Ok((Page { after, descending, limit: limit.saturating_add(1) }, Cut { limit, back }))
    }
}

impl Cut {
    pub(super) fn listed<S, T>(
        self,
        mut found: Vec<S>,
        mark: impl Fn(&S) -> String,
        shown: impl Fn(S) -> T,
    ) -> Json<Listed<T>> {
        let size = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let done = found.len() <= size;
        found.truncate(size);
        if self.back {
            found.reverse();
        }
        let (first, last) = (found.first().map(|one| format!("{BACK}{}", mark(one))), found.last().map(&mark));
        Json(Listed::between(found.into_iter().map(shown).collect(), first, last, done))
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

/// Reads what a page gave as `iterator` or as `prevIterator`.
pub(super) fn iterator<T: FromStr>(text: Option<&str>) -> Answer<Start<T>> {
    let text = text.unwrap_or_default();
    let (text, back) = text.strip_prefix(BACK).map_or((text, false), |text| (text, true));
    if text.is_empty() && !back {
        return Ok(Start { at: None, back });
    }
    Ok(Start { at: Some(text.parse().map_err(|_| wrong_iterator())?), back })
}

/// The same, of a list that only goes on.
pub(super) fn onward<T: FromStr>(text: Option<&str>) -> Answer<Option<T>> {
    let start = iterator(text)?;
    if start.back { Err(wrong_iterator().into()) } else { Ok(start.at) }
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

    /// Reads on behind a place, or back from it.
    async fn fetch(&self, from: Start<Mark>, limit: u32) -> crate::store::Result<Vec<Self::Item>>;

    /// Where something stands.
    fn mark(&self, item: &Self::Item) -> Mark;

    /// Whether it passes.
    async fn passes(&self, item: &Self::Item) -> Answer<bool>;
}

/// A page of what passes.
pub(super) struct Narrow<T> {
    pub(super) found: Vec<T>,
    prev: Option<Mark>,
    next: Option<Mark>,
    done: bool,
}

impl<T> Narrow<T> {
    /// The page, as what it holds is shown.
    pub(super) fn listed<S>(&self, data: Vec<S>) -> Listed<S> {
        let prev = self.prev.map(|mark| format!("{BACK}{mark}"));
        Listed::between(data, prev, self.next.map(|mark| mark.to_string()), self.done)
    }
}

/// A page of what passes, where the pages on either side begin, and whether there is none on this way. A list of which little
/// passes is gone through in several pages, of which some may be empty.
pub(super) async fn narrowed<L: Narrowed>(list: &L, limit: u32, from: Start<Mark>) -> Answer<Narrow<L::Item>> {
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut seen, mut done) = (Vec::new(), from.at, false);
    'reads: for _ in 0..READS {
        let read = list.fetch(Start { at: seen, ..from }, BATCH).await?;
        done = read.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
        for one in read {
            let passes = list.passes(&one).await?;
            if passes && found.len() == size {
                done = false;
                break 'reads;
            }
            seen = Some(list.mark(&one));
            if passes {
                found.push(one);
            }
        }
        if done {
            break;
        }
    }
    let first = found.first().map(|one| list.mark(one)).or(from.at);
    if from.back {
        found.reverse();
        return Ok(Narrow { found, prev: seen, next: first, done });
    }
    Ok(Narrow { found, prev: first, next: seen, done })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers to 600, of which hundreds pass.
    struct Numbers;

    #[async_trait]
    impl Narrowed for Numbers {
        type Item = u32;

        async fn fetch(&self, from: Start<Mark>, limit: u32) -> crate::store::Result<Vec<u32>> {
            let at = from.at.map_or(0, |mark| mark.2);
            let limit = usize::try_from(limit).unwrap();
            Ok(if from.back { (1..at).rev().take(limit).collect() } else { (at + 1..=600).take(limit).collect() })
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
    async fn a_narrowed_page_ends_where_the_next_begins_and_can_be_gone_back_from() {
        let (mut from, mut seen) = (Start { at: None, back: false }, Vec::new());
        let mut ends = Vec::new();
        loop {
            let page = narrowed(&Numbers, 4, from).await.unwrap();
            ends.push(page.prev);
            from.at = page.next;
            seen.push(page.found);
            if page.done {
                break;
            }
        }
        assert_eq!(seen, [vec![100, 200, 300, 400], vec![500, 600]]);
        let back = narrowed(&Numbers, 3, Start { at: ends[1], back: true }).await.unwrap();
        assert_eq!((&back.found, back.done), (&vec![200, 300, 400], false));
        assert_eq!(back.next.unwrap().2, 400, "from there it goes on as before");
        let first = narrowed(&Numbers, 3, Start { at: back.prev, back: true }).await.unwrap();
        assert_eq!((first.found, first.done), (vec![100], true));
        let text = format!("{BACK}{}", ends[1].unwrap());
        assert_eq!(iterator::<Mark>(Some(&text)).unwrap(), Start { at: ends[1], back: true });
        assert!(onward::<Mark>(Some(&text)).is_err() && iterator::<Mark>(Some("~")).is_err());
    }
}
