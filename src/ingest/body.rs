//! A request's body on its way in, within its limits.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use crate::config::Limits;
use crate::ingest::budget::{Budget, Share};
use crate::ingest::decode::Decoder;
use crate::ingest::error::IngestError;

/// How long a sender may be silent in the middle of a body. It holds a place that others wait for.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a whole body may take, however steadily it drips.
const LONGEST: Duration = Duration::from_mins(5);

/// The body as it comes off the connection.
type Raw = Pin<Box<dyn Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// A request that brings runs or feedback.
pub struct Incoming {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub encoding: Option<String>,
    /// `Content-Length`; chunked bodies have none.
    pub length: Option<u64>,
    /// The body, still encoded.
    pub body: Raw,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// A body being decoded, with both its sizes counted.
struct Reader {
    body: Raw,
    decoder: Decoder,
    pending: Bytes,
    sent: u64,
    sent_limit: u64,
    decoded: u64,
    decoded_limit: u64,
    ended: bool,
    deadline: Instant,
    share: Arc<Share>,
}

/// A body that covers its bytes for as long as it is in memory.
struct Kept {
    bytes: BytesMut,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Incoming {
    /// The decoded body as it arrives, covered by the share. Fails at once when the headers already say that it will not
    /// be read.
    pub(crate) fn decoded(
        self,
        limits: &Limits,
        share: Arc<Share>,
    ) -> Result<impl Stream<Item = Result<Bytes, IngestError>> + Send + 'static, IngestError> {
        let mut reader = Reader {
            decoder: Decoder::for_encoding(self.encoding.as_deref())?,
            body: self.body,
            pending: Bytes::new(),
            sent: 0,
            sent_limit: limits.request_bytes,
            decoded: 0,
            decoded_limit: limits.decompressed_bytes,
            ended: false,
            deadline: Instant::now() + LONGEST,
            share,
        };
        reader.count_sent(self.length.unwrap_or(0))?;
        reader.share.cover(reader.sent.max(1))?;
        reader.sent = 0;
        Ok(stream::try_unfold(reader, |mut reader| async move {
            let chunk = reader.next().await?;
            Ok(chunk.map(|chunk| (chunk, reader)))
        }))
    }

    /// The whole decoded body, which is covered until its last part is dropped.
    pub(crate) async fn collect(self, limits: &Limits, budget: &Budget) -> Result<Bytes, IngestError> {
        let (share, length) = (budget.share(), self.length);
        let mut chunks = std::pin::pin!(self.decoded(limits, Arc::clone(&share))?);
        // The length is covered by now. A packed body grows beyond it, and the buffer with it.
        let mut whole = BytesMut::with_capacity(length.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(Bytes::from_owner(Kept { bytes: whole, _share: share }))
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, IngestError> {
        loop {
            if let Some(chunk) = self.decoder.step(&mut self.pending)? {
                self.count_decoded(chunk.len() as u64)?;
                // Decoding is pure computation; without this a large body would keep its thread to itself.
                tokio::task::coop::consume_budget().await;
                return Ok(Some(chunk));
            }
            if self.ended {
                return Ok(None);
            }
            match tokio::time::timeout_at(self.deadline.min(Instant::now() + SILENCE), self.body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.count_sent(chunk.len() as u64)?;
                    self.pending = chunk;
                }
                Ok(None) => {
                    self.ended = true;
                    self.decoder.finish()?;
                }
                Ok(Some(Err(_))) | Err(_) => return Err(IngestError::Interrupted),
            }
        }
    }

    fn count_sent(&mut self, bytes: u64) -> Result<(), IngestError> {
        self.sent = self.sent.saturating_add(bytes);
        within("request body", self.sent, self.sent_limit)
    }

    fn count_decoded(&mut self, bytes: u64) -> Result<(), IngestError> {
        self.decoded = self.decoded.saturating_add(bytes);
        within("decompressed request body", self.decoded, self.decoded_limit)?;
        self.share.cover(self.decoded)
    }
}

fn within(what: &'static str, bytes: u64, limit: u64) -> Result<(), IngestError> {
    if bytes > limit { Err(IngestError::TooLarge { what, limit }) } else { Ok(()) }
}
