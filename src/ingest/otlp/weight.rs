//! How many messages a protobuf request holds, counted before any of them is built: an empty one is two bytes on the wire
//! and a hundred in memory.

/// What is counted, and where each kind of it is found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Any,
    List,
    Pairs,
}

/// The deepest that is looked. What is deeper is not decoded either.
const DEEPEST: u32 = 100;

/// What a request holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Messages of all kinds.
    pub(super) messages: usize,
    /// Spans.
    pub(super) spans: usize,
}

impl Weight {
    /// Of a request. What is broken is counted up to where it breaks.
    pub(super) fn of(request: &[u8]) -> Self {
        let mut weight = Self::default();
        weight.count(Kind::Request, request, 0);
        weight
    }

    /// Whether so many bytes can mean so many messages: even a flag in a list takes four.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.messages <= (bytes / 4).saturating_add(1000)
    }

    fn count(&mut self, kind: Kind, mut wire: &[u8], depth: u32) -> Option<()> {
        while !wire.is_empty() {
            let key = varint(&mut wire)?;
            let inside = match key & 7 {
                0 => {
                    varint(&mut wire)?;
                    continue;
                }
                1 => take(&mut wire, 8).map(|_| None)?,
                2 => {
                    let length = usize::try_from(varint(&mut wire)?).ok()?;
                    Some(take(&mut wire, length)?)
                }
                5 => take(&mut wire, 4).map(|_| None)?,
                _ => return None,
            };
            if let (Some(inside), Some(child)) = (inside, kind.child(key >> 3)) {
                self.messages = self.messages.saturating_add(1);
                self.spans = self.spans.saturating_add(usize::from(child == Kind::Span));
                if depth < DEEPEST {
                    self.count(child, inside, depth.saturating_add(1));
                }
            }
        }
        Some(())
    }
}

impl Kind {
    fn child(self, tag: u64) -> Option<Self> {
        match (self, tag) {
            (Self::Request, 1) => Some(Self::ResourceSpans),
            (Self::ResourceSpans, 1) => Some(Self::Resource),
            (Self::ResourceSpans, 2) => Some(Self::ScopeSpans),
            (Self::ScopeSpans, 1) => Some(Self::Scope),
            (Self::ScopeSpans, 2) => Some(Self::Span),
            (Self::Span, 11) => Some(Self::Event),
            (Self::Span, 13) => Some(Self::Link),
            (Self::Resource | Self::Pairs, 1) | (Self::Scope | Self::Event, 3) | (Self::Link, 4) | (Self::Span, 9) => {
                Some(Self::Pair)
            }
            (Self::Pair, 2) | (Self::List, 1) => Some(Self::Any),
            (Self::Any, 5) => Some(Self::List),
            (Self::Any, 6) => Some(Self::Pairs),
            _ => None,
        }
    }
}

fn varint(wire: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70_u32).step_by(7) {
        let (byte, rest) = wire.split_first()?;
        *wire = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(wire: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = wire.split_at_checked(bytes)?;
    *wire = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_before_they_are_built() {
        // resource_spans { scope_spans { spans {} spans { attributes { value { array_value { values {} } } } } } }
        let any = [0x12, 0x04, 0x2a, 0x02, 0x0a, 0x00];
        let pair = [&[0x4a, 0x06][..], &any].concat();
        let scope = [&[0x12, 0x00, 0x12, 0x08][..], &pair].concat();
        let request = [&[0x0a, 0x0e, 0x12, 0x0c][..], &scope].concat();
        assert_eq!(Weight::of(&request), Weight { messages: 8, spans: 2 });
    }

    #[test]
    fn what_is_empty_does_not_fit_and_what_is_broken_ends_the_count() {
        let empty: Vec<u8> = [0x0a, 0x00].repeat(10_000);
        assert!(!Weight::of(&empty).fits(empty.len()));
        assert_eq!(Weight::of(&[0x0a, 0xff, 0xff]), Weight::default());
        assert_eq!(Weight::of(&[0xff; 30]), Weight::default());
        assert!(Weight::default().fits(0));
    }
}
