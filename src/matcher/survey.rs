//! Which of a rule's demands is the rarest, as far as it can be told from the rules alone.
//!
//! Where many values are asked for, each is had by few runs; where one is, it may be had by most. What has to be read of
//! every run is shared by all rules that gain by it. A guess that is wrong costs time and nothing else.

use std::collections::{HashMap, HashSet};

use crate::filter::demand::{Choice, Demands, weight};
use crate::filter::mark::{Mark, Reading};

/// What the rules of a set ask for together.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// How many values of each variable.
    values: HashMap<u64, u32>,
    /// How many rules could gain by reading `extra`, and payloads.
    readers: [u32; 2],
}

impl Survey {
    pub(super) fn of<'d>(demanded: impl Iterator<Item = &'d Demands>) -> Self {
        let (mut survey, mut seen) = (Self::default(), HashSet::new());
        for demands in demanded {
            let marks = || demands.choices.iter().flatten();
            for mark in marks().filter(|mark| seen.insert(mark.hash)) {
                *survey.values.entry(mark.variable).or_default() += 1;
            }
            for (readers, reading) in survey.readers.iter_mut().zip([Reading::Extra, Reading::Payload]) {
                *readers += u32::from(marks().any(|mark| mark.place.reading() == reading));
            }
        }
        survey
    }

    /// The choice under which a rule is looked at least often for nothing.
    pub(super) fn lightest<'d>(&self, demands: &'d Demands) -> Option<&'d Choice> {
        demands.choices.iter().min_by_key(|choice| self.weight(choice))
    }

    /// How often a rule is looked at for nothing under a choice, as far as that can be told.
    pub(super) fn weight(&self, choice: &Choice) -> u32 {
        let values = |mark: Mark| self.values.get(&mark.variable).copied().unwrap_or(1);
        let [extra, payload] = self.readers;
        let reading = |reading: Reading| match reading {
            Reading::Nothing => 0,
            Reading::Extra => reading.cost() / extra.max(1),
            Reading::Payload => reading.cost() / payload.max(1),
        };
        weight(choice, values, reading)
    }
}
