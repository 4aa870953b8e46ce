//! Run ids that say what must become of their run.
//!
//! They are UUIDs of version 7, so that a database sees what current SDKs send: 48 bits of milliseconds, then the class
//! of the run (4 bits), the number of the load (14), of the project (16) and of the run (40). Whoever finds one in a
//! database or in a notification knows without asking anyone whether its run should have matched.

use uuid::Uuid;

/// What is special about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Class {
    /// It fails.
    pub(crate) error: bool,
    /// Someone gives feedback about it.
    pub(crate) feedback: bool,
    /// And a low score.
    pub(crate) low: bool,
}

impl Class {
    fn bits(self) -> u128 {
        u128::from(self.error) | u128::from(self.feedback) << 1 | u128::from(self.low) << 2
    }

    fn of(bits: u128) -> Self {
        Self { error: bits & 1 != 0, feedback: bits & 2 != 0, low: bits & 4 != 0 }
    }
}

/// What a run's id holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunId {
    /// When it was made, in milliseconds since the epoch.
    pub(crate) millis: u64,
    /// Its class.
    pub(crate) class: Class,
    /// Which load it belongs to.
    pub(crate) load: u16,
    /// Which project it is in.
    pub(crate) project: u16,
    /// Its number in the load.
    pub(crate) serial: u64,
}

const VERSION: u128 = 0x7 << 76;
const VARIANT: u128 = 0b10 << 62;

impl RunId {
    /// The id.
    pub(crate) fn uuid(self) -> Uuid {
        let load = u128::from(self.load);
        Uuid::from_u128(
            (u128::from(self.millis) & 0xffff_ffff_ffff) << 80
                | VERSION
                | self.class.bits() << 72
                | (load >> 6 & 0xff) << 64
                | VARIANT
                | (load & 0x3f) << 56
                | u128::from(self.project) << 40
                | u128::from(self.serial) & 0xff_ffff_ffff,
        )
    }

    /// What an id holds. Ids that no load made are told apart only by their version.
    pub(crate) fn of(id: Uuid) -> Option<Self> {
        let bits = id.as_u128();
        if bits & (0xf << 76) != VERSION || bits & (0b11 << 62) != VARIANT {
            return None;
        }
        Some(Self {
            millis: low_bits(bits >> 80),
            class: Class::of(bits >> 72 & 0xf),
            load: u16::try_from((bits >> 64 & 0xff) << 6 | bits >> 56 & 0x3f).unwrap_or_default(),
            project: u16::try_from(bits >> 40 & 0xffff).unwrap_or_default(),
            serial: low_bits(bits & 0xff_ffff_ffff),
        })
    }
}

/// The id of the feedback about a run: the run's with another version, so that each tells the other.
pub(crate) fn feedback_id(run: Uuid) -> Uuid {
    Uuid::from_u128(run.as_u128() & !(0xf << 76) | 0x8 << 76)
}

/// The name of a project.
pub(crate) fn project_name(project: u16) -> String {
    format!("bench-{project:05}")
}

fn low_bits(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RunId = RunId {
        millis: 1_790_000_000_123,
        class: Class { error: true, feedback: false, low: true },
        load: 0x2abc,
        project: 517,
        serial: 0x12_3456_789a,
    };

    #[test]
    fn an_id_holds_what_was_put_in() {
        assert_eq!(RunId::of(ID.uuid()), Some(ID));
        assert_eq!(ID.uuid().get_version_num(), 7);
    }

    #[test]
    fn the_feedback_about_a_run_has_an_id_of_its_own_that_is_no_run_s() {
        let feedback = feedback_id(ID.uuid());
        assert_ne!(feedback, ID.uuid());
        assert_eq!(RunId::of(feedback), None);
    }
}
