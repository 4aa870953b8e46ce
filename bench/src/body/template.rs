//! Texts with holes of fixed width: whatever fills them, the length stays.

/// What goes into a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hole {
    /// The run's id.
    Id,
    /// The id of its trace, which is its root's.
    Trace,
    /// When the trace began, as paths have it.
    TraceBegun,
    /// When the run began, as paths have it.
    Begun,
    /// When the run began.
    Start,
    /// When it ended.
    End,
    /// The number of its project.
    Project,
}

/// Characters that stand for holes while a template is written: nothing else uses them.
const MARKS: [(char, Hole); 7] = [
    ('\u{e000}', Hole::Id),
    ('\u{e001}', Hole::Trace),
    ('\u{e002}', Hole::TraceBegun),
    ('\u{e003}', Hole::Begun),
    ('\u{e004}', Hole::Start),
    ('\u{e005}', Hole::End),
    ('\u{e006}', Hole::Project),
];

impl Hole {
    /// The character that stands for it.
    pub(crate) fn mark(self) -> char {
        MARKS.iter().find(|(_, hole)| *hole == self).map_or(' ', |(mark, _)| *mark)
    }

    /// How many bytes it takes.
    fn width(self) -> usize {
        match self {
            Self::Id | Self::Trace => 36,
            Self::TraceBegun | Self::Begun => 22,
            Self::Start | Self::End => 32,
            Self::Project => 5,
        }
    }
}

/// What fills the holes.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) id: [u8; 36],
    pub(crate) trace: [u8; 36],
    pub(crate) trace_begun: [u8; 22],
    pub(crate) begun: [u8; 22],
    pub(crate) start: [u8; 32],
    pub(crate) end: [u8; 32],
    pub(crate) project: [u8; 5],
}

impl Values {
    fn of(&self, hole: Hole) -> &[u8] {
        match hole {
            Hole::Id => &self.id,
            Hole::Trace => &self.trace,
            Hole::TraceBegun => &self.trace_begun,
            Hole::Begun => &self.begun,
            Hole::Start => &self.start,
            Hole::End => &self.end,
            Hole::Project => &self.project,
        }
    }
}

/// A text with holes.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pieces: Vec<(Vec<u8>, Hole)>,
    tail: Vec<u8>,
    length: usize,
}

impl Template {
    /// The template a text with marks stands for.
    pub(crate) fn of(text: &str) -> Self {
        let (mut pieces, mut piece, mut length) = (Vec::new(), String::new(), 0_usize);
        for letter in text.chars() {
            match MARKS.iter().find(|(mark, _)| *mark == letter) {
                Some((_, hole)) => {
                    length = length.saturating_add(piece.len()).saturating_add(hole.width());
                    pieces.push((std::mem::take(&mut piece).into_bytes(), *hole));
                }
                None => piece.push(letter),
            }
        }
        length = length.saturating_add(piece.len());
        Self { pieces, tail: piece.into_bytes(), length }
    }

    /// How long it is, filled.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Appends it, filled.
    pub(crate) fn fill(&self, values: &Values, out: &mut Vec<u8>) {
        for (text, hole) in &self.pieces {
            out.extend_from_slice(text);
            out.extend_from_slice(values.of(*hole));
        }
        out.extend_from_slice(&self.tail);
    }
}
