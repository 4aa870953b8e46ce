//! The `runhook` binary: an allocator, a runtime, and the command line.

use std::io::{self, Write};
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runhook::telemetry::panics::withhold();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let run = runhook::cli::main(std::env::args_os(), Box::new(io::stdout()), Box::new(io::stderr()));
            let code = runtime.block_on(run);
            // What is still blocked in a system call must not hold the process.
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "error: the runtime could not start: {error}");
            ExitCode::from(3)
        }
    }
}
