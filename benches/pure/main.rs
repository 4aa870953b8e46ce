//! What the pure parts cost.
//!
//! In time, on one core: `cargo bench --bench pure -- [NAME]`. In instructions, which do not depend on how busy the machine
//! is: `benches/check`, which runs `--counted NAME` of this under callgrind for every name that `--names` tells.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what goes wrong in a measurement is a panic with the place it happened"
)]

mod case;
mod files;
mod filters;
mod matching;
mod messages;
mod rules;
mod runs;
mod way_in;

use std::hint::black_box;
use std::io::{self, Write as _};

use case::{Case, Size, Turn};
use criterion::{Criterion, Throughput};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(filters::CASES);
    cases.extend(files::CASES);
    cases.extend(matching::CASES);
    cases.extend(way_in::CASES);
    cases.extend(messages::CASES);
    cases
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--names", ..] => cases().iter().try_for_each(|case| writeln!(io::stdout(), "{}", case.name)),
        ["--counted", name] => {
            count(cases().iter().find(|case| case.name == *name).unwrap());
            Ok(())
        }
        _ => {
            time();
            Ok(())
        }
    }
}

fn time() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases() {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Elements(case.objects));
        // Prepared only if it is measured: some cases take a while.
        let mut turn = None;
        group.bench_function(case.unit, |bencher| {
            let turn = turn.get_or_insert_with(|| (case.prepare)(Size::Whole));
            bencher.iter(turn);
        });
        group.finish();
    }
    criterion.final_summary();
}

/// The first turn fills caches; only the second is counted.
fn count(case: &Case) {
    let mut turn = (case.prepare)(Size::Small);
    black_box(turn());
    black_box(counted(&mut turn));
}

/// Callgrind is told this name.
#[inline(never)]
fn counted(turn: &mut Turn) -> usize {
    black_box(turn())
}
